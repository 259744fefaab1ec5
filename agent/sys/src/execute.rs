//! The last step of a process that becomes a program, and what it reports where that fails.

use crate::owned;
use crate::read;
use std::ffi::CStr;
use std::io;

unsafe extern "C" {
    /// The environment of this process, which ends in a null pointer.
    pub static mut environ: *const *const libc::c_char;
}

/// The most of a program's file that is reported where it did not run: the first line of a script,
/// or what a program was built for.
pub const HEAD: usize = 112;

/// Why a program did not start, as far as the process that was to become it has seen. It travels as
/// it is to where the program was asked for and is explained there.
#[derive(Debug)]
pub struct NotStarted {
    pub bytes: [u8; NotStarted::START + HEAD],
    pub length: u8,
}

impl NotStarted {
    /// Where the program's file begins, behind the error's number, what was tried and what there is.
    pub const START: usize = 6;
    /// Tried last: something that is this agent's business.
    pub const AGENT: u8 = 0;
    /// Tried last: to make words, environment and directory such as the system takes.
    pub const WORDS: u8 = 1;
    /// Tried last: to go to its directory.
    pub const DIRECTORY: u8 = 2;
    /// Tried last: to execute it.
    pub const PROGRAM: u8 = 3;
    /// There is: its file.
    pub const FILE: u8 = 1;
    /// There is: a folder in its place.
    pub const FOLDER: u8 = 2;
    /// There is: somebody who may execute the file, by its mode.
    pub const EXECUTABLE: u8 = 4;
    /// There is: a mount that forbids to execute anything.
    pub const NOEXEC: u8 = 8;

    /// What failed while `tried` was tried.
    pub fn new(tried: u8, error: &io::Error) -> NotStarted {
        let mut bytes = [0; NotStarted::START + HEAD];
        bytes[..4].copy_from_slice(&error.raw_os_error().unwrap_or(libc::EINVAL).to_le_bytes());
        bytes[4] = tried;
        NotStarted { bytes, length: NotStarted::START as u8 }
    }

    /// As it travels.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The operating system's reason.
    pub fn error(&self) -> io::Error {
        let [a, b, c, d, ..] = self.bytes;
        io::Error::from_raw_os_error(i32::from_le_bytes([a, b, c, d]))
    }

    /// Notes what there is at a path. Whether it is a file.
    fn look_at(&mut self, path: &CStr) -> bool {
        // SAFETY: places of the types that the calls fill, and a C string.
        unsafe {
            let mut about = std::mem::zeroed::<libc::stat>();
            if libc::stat(path.as_ptr(), &mut about) != 0 {
                return false;
            }
            let mut mount = std::mem::zeroed::<libc::statvfs>();
            libc::statvfs(path.as_ptr(), &mut mount);
            let is = |flag: u8, so: bool| if so { flag } else { 0 };
            let kind = about.st_mode & libc::S_IFMT;
            self.bytes[5] = is(NotStarted::FILE, kind == libc::S_IFREG)
                | is(NotStarted::FOLDER, kind == libc::S_IFDIR)
                | is(NotStarted::EXECUTABLE, about.st_mode & 0o111 != 0)
                | is(NotStarted::NOEXEC, mount.f_flag & libc::ST_NOEXEC != 0);
            // Only a file: to open anything else may wait, or do something.
            if kind != libc::S_IFREG {
                return false;
            }
            let head = &mut self.bytes[NotStarted::START..];
            let file = owned(libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC).into());
            let count = file.and_then(|file| read(&file, head)).ok().flatten();
            self.length = (NotStarted::START + count.unwrap_or(0)) as u8;
            true
        }
    }
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> NotStarted {
        NotStarted::new(NotStarted::AGENT, &error)
    }
}

/// Where programs are looked for without a PATH.
const USUAL_PATH: &CStr = c"/usr/local/bin:/bin:/usr/bin";

/// Executes the program that the first word names, looked for in the folders of the PATH where it
/// has no slash. Not the C library's way, which tells neither a missing interpreter nor a folder
/// that may not be entered from a missing program.
///
/// # Safety
/// `argv` ends in a null pointer and so does `environ`; this is a process that has just been forked.
pub unsafe fn execute(argv: &[*const libc::c_char]) -> NotStarted {
    // SAFETY: C strings that live on; the buffer is as long as is said.
    unsafe {
        let name = CStr::from_ptr(argv[0]).to_bytes();
        let path = libc::getenv(c"PATH".as_ptr());
        let path = if path.is_null() { USUAL_PATH } else { CStr::from_ptr(path) }.to_bytes();
        let folders = if name.contains(&b'/') { b"" } else { path };
        let mut why = NotStarted::new(NotStarted::PROGRAM, &io::Error::from_raw_os_error(libc::ENOENT));
        let mut buffer = [0; libc::PATH_MAX as usize];
        for folder in folders.split(|byte| *byte == b':') {
            let slash = if folder.is_empty() { b"".as_slice() } else { b"/" };
            let mut at = 0;
            for part in [folder, slash, name, b"\0"] {
                // One that is too long for the system is passed over, as it would say so itself.
                if let Some(place) = buffer.get_mut(at..at + part.len()) {
                    place.copy_from_slice(part);
                }
                at += part.len();
            }
            let Ok(file) = CStr::from_bytes_until_nul(&buffer[..at.min(buffer.len())]) else { continue };
            libc::execve(file.as_ptr(), argv.as_ptr(), environ);
            let error = io::Error::last_os_error();
            let mut here = NotStarted::new(NotStarted::PROGRAM, &error);
            // The first that is there is the one that was meant, should none be better.
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

    /// Why a program does not start, in `directory` and with this PATH.
    fn refused(word: &str, directory: &str, path: &str) -> NotStarted {
        let null = || std::fs::File::options().read(true).write(true).open("/dev/null").unwrap().into();
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
        outcome.err().unwrap_or_else(|| panic!("{word} was started"))
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
        file(second.join("lost"), "#!/no/such/interpreter -x\necho", 0o755);
        file(first.join("plain"), "#!/bin/sh\n", 0o644);
        file(first.join("text"), "echo\n", 0o755);
        file(first.join("long"), &format!("#!/{}\n", "i".repeat(500)), 0o755);
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
            ("lost", libc::ENOENT, runs, "#!/no/such/interpreter -x\necho"),
            ("../two/lost", libc::ENOENT, runs, "#!/no/such/interpreter -x\necho"),
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
            // Where the tests lie may be mounted noexec.
            assert_eq!(report[5] & !N::NOEXEC, there, "{word}");
            assert_eq!(String::from_utf8_lossy(&report[N::START..]), head, "{word}");
        }
        assert_eq!(refused("long", &one, &path).as_bytes().len(), N::START + HEAD);
        let why = refused("true", &folder.join("none").display().to_string(), "/bin");
        assert_eq!((why.error().raw_os_error(), why.as_bytes()[4]), (Some(libc::ENOENT), N::DIRECTORY));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
