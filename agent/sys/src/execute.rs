//! Execution of a program in a forked process, with a report of why it failed.

use crate::fd::owned;
use crate::fd::read;
use std::ffi::CStr;
use std::io;

unsafe extern "C" {
    /// The environment of this process, which ends in a null pointer.
    pub static mut environ: *const *const libc::c_char;
}

/// Maximum number of bytes of the program's file in a report: the first line of a script, or the
/// header that names the machine a program was built for.
pub const HEAD: usize = 112;

/// Report of a program that did not start, as seen by the forked process. Sent unchanged to the
/// caller's node, which explains it.
#[derive(Debug)]
pub struct NotStarted {
    /// Error number (4 bytes, native order), step, file flags, then the beginning of the file.
    pub bytes: [u8; Self::START + HEAD],
    /// Length of the report in bytes.
    pub length: u8,
}

impl NotStarted {
    /// Offset of the beginning of the file in a report.
    pub const START: usize = 6;
    /// Step: the agent's own preparations.
    pub const AGENT: u8 = 0;
    /// Step: conversion of arguments, environment and directory to C strings.
    pub const WORDS: u8 = 1;
    /// Step: changing the directory.
    pub const DIRECTORY: u8 = 2;
    /// Step: executing the program.
    pub const PROGRAM: u8 = 3;
    /// Flag: the path is a regular file.
    pub const FILE: u8 = 1;
    /// Flag: the path is a directory.
    pub const FOLDER: u8 = 2;
    /// Flag: the mode of the file has an execute permission.
    pub const EXECUTABLE: u8 = 4;
    /// Flag: the file system is mounted noexec.
    pub const NOEXEC: u8 = 8;

    /// Creates a report for a step that failed with `error`, without a file.
    pub fn new(tried: u8, error: &io::Error) -> Self {
        let mut bytes = [0; Self::START + HEAD];
        bytes[..4].copy_from_slice(&error.raw_os_error().unwrap_or(libc::EINVAL).to_le_bytes());
        bytes[4] = tried;
        Self {
            bytes,
            length: Self::START as u8,
        }
    }

    /// Returns the report as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Returns the system error.
    pub fn error(&self) -> io::Error {
        let [a, b, c, d, ..] = self.bytes;
        io::Error::from_raw_os_error(i32::from_le_bytes([a, b, c, d]))
    }

    /// Records what is at a path. Returns true if it is a regular file.
    fn look_at(&mut self, path: &CStr) -> bool {
        // SAFETY: each call fills a variable of the type that it expects, and `path` is a C string.
        unsafe {
            let mut about = std::mem::zeroed::<libc::stat>();
            if libc::stat(path.as_ptr(), &mut about) != 0 {
                return false;
            }
            let mut mount = std::mem::zeroed::<libc::statvfs>();
            libc::statvfs(path.as_ptr(), &mut mount);
            let is = |flag: u8, so: bool| if so { flag } else { 0 };
            let kind = about.st_mode & libc::S_IFMT;
            self.bytes[5] = is(Self::FILE, kind == libc::S_IFREG)
                | is(Self::FOLDER, kind == libc::S_IFDIR)
                | is(Self::EXECUTABLE, about.st_mode & 0o111 != 0)
                | is(Self::NOEXEC, mount.f_flag & libc::ST_NOEXEC != 0);
            // Opening anything but a regular file may block or have side effects.
            if kind != libc::S_IFREG {
                return false;
            }
            let head = &mut self.bytes[Self::START..];
            let file = owned(libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC).into());
            let count = file.and_then(|file| read(&file, head)).ok().flatten();
            self.length = (Self::START + count.unwrap_or(0)) as u8;
            true
        }
    }
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> Self {
        Self::new(Self::AGENT, &error)
    }
}

/// Search path if the environment has no PATH.
const USUAL_PATH: &CStr = c"/usr/local/bin:/bin:/usr/bin";

/// Executes the program that the first argument names, searching PATH if the name has no slash.
/// Returns only on failure.
///
/// Replaces `execvp`, which reports a missing interpreter and an inaccessible directory like a
/// missing program.
///
/// # Safety
/// `argv` and `environ` end in a null pointer, and this process has just been forked.
pub unsafe fn execute(argv: &[*const libc::c_char]) -> NotStarted {
    // SAFETY: the C strings outlive the call; the buffer has the length that is passed.
    unsafe {
        let name = CStr::from_ptr(argv[0]).to_bytes();
        let path = libc::getenv(c"PATH".as_ptr());
        let path = if path.is_null() {
            USUAL_PATH
        } else {
            CStr::from_ptr(path)
        }
        .to_bytes();
        let folders = if name.contains(&b'/') { b"" } else { path };
        let mut why = NotStarted::new(
            NotStarted::PROGRAM,
            &io::Error::from_raw_os_error(libc::ENOENT),
        );
        let mut buffer = [0; libc::PATH_MAX as usize];
        for folder in folders.split(|byte| *byte == b':') {
            let slash = if folder.is_empty() {
                b"".as_slice()
            } else {
                b"/"
            };
            let mut at = 0;
            for part in [folder, slash, name, b"\0"] {
                // Paths longer than PATH_MAX are skipped; the kernel would refuse them.
                if let Some(place) = buffer.get_mut(at..at + part.len()) {
                    place.copy_from_slice(part);
                }
                at += part.len();
            }
            let Ok(file) = CStr::from_bytes_until_nul(&buffer[..at.min(buffer.len())]) else {
                continue;
            };
            libc::execve(file.as_ptr(), argv.as_ptr(), environ);
            let error = io::Error::last_os_error();
            let mut here = NotStarted::new(NotStarted::PROGRAM, &error);
            // Report the first existing candidate, unless a later one can be executed.
            if (here.look_at(file) && why.bytes[5] == 0) || name.contains(&b'/') {
                why = here;
            }
        }
        why
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spawn::{Image, Start, start};
    use std::ffi::CString;

    /// Returns the report of a program that does not start, in `directory` and with this PATH.
    fn refused(word: &str, directory: &str, path: &str) -> NotStarted {
        let null = || {
            std::fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/null")
                .unwrap()
                .into()
        };
        let outcome = start(&Start {
            image: Image::Named,
            argv: vec![CString::new(word).unwrap()],
            env: Some(vec![CString::new(format!("PATH={path}")).unwrap()]),
            directory: Some(CString::new(directory).unwrap()),
            stdio: [null(), null(), null()],
            terminal: None,
            dies_with_parent: false,
            marked: crate::spawn::Marked::No,
        });
        outcome
            .err()
            .unwrap_or_else(|| panic!("{word} was started"))
    }

    #[test]
    fn a_failed_exec_reports_the_step_errno_and_file() {
        let folder = std::env::temp_dir().join(format!("offshoot-refused-{}", std::process::id()));
        let (first, second) = (folder.join("one"), folder.join("two"));
        for folder in [&first, &second, &first.join("folder")] {
            std::fs::create_dir_all(folder).unwrap();
        }
        let file = |path: std::path::PathBuf, text: &str, mode: u32| {
            use std::os::unix::fs::PermissionsExt;
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        file(
            second.join("lost"),
            "#!/no/such/interpreter -x\necho",
            0o755,
        );
        file(first.join("plain"), "#!/bin/sh\n", 0o644);
        file(first.join("text"), "echo\n", 0o755);
        file(
            first.join("long"),
            &format!("#!/{}\n", "i".repeat(500)),
            0o755,
        );
        let path = format!(
            "{}/none:{}:{}:{}",
            folder.display(),
            "x".repeat(5000),
            first.display(),
            second.display()
        );
        let one = first.display().to_string();
        use NotStarted as N;
        let (file, runs) = (N::FILE, N::FILE | N::EXECUTABLE);
        for (word, errno, there, head) in [
            (
                "lost",
                libc::ENOENT,
                runs,
                "#!/no/such/interpreter -x\necho",
            ),
            (
                "../two/lost",
                libc::ENOENT,
                runs,
                "#!/no/such/interpreter -x\necho",
            ),
            ("plain", libc::EACCES, file, "#!/bin/sh\n"),
            ("./plain", libc::EACCES, file, "#!/bin/sh\n"),
            ("text", libc::ENOEXEC, runs, "echo\n"),
            ("folder", libc::ENOENT, 0, ""),
            ("./folder", libc::EACCES, N::FOLDER | N::EXECUTABLE, ""),
            ("./plain/x", libc::ENOTDIR, 0, ""),
            ("nothing", libc::ENOENT, 0, ""),
            ("./nothing", libc::ENOENT, 0, ""),
            ("", libc::ENOENT, 0, ""),
        ] {
            let why = refused(word, &one, &path);
            let report = why.as_bytes();
            assert_eq!(why.error().raw_os_error(), Some(errno), "{word}");
            assert_eq!(report[4], N::PROGRAM, "{word}");
            // The directory of the tests may be mounted noexec.
            assert_eq!(report[5] & !N::NOEXEC, there, "{word}");
            assert_eq!(String::from_utf8_lossy(&report[N::START..]), head, "{word}");
        }
        assert_eq!(
            refused("long", &one, &path).as_bytes().len(),
            N::START + HEAD
        );
        let why = refused("true", &folder.join("none").display().to_string(), "/bin");
        assert_eq!(
            (why.error().raw_os_error(), why.as_bytes()[4]),
            (Some(libc::ENOENT), N::DIRECTORY)
        );
        std::fs::remove_dir_all(folder).unwrap();
    }
}
