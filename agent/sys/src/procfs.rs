//! Reading of small files and directories, mostly under /proc.
//!
//! Replaces std's functions, whose error texts, escapes and buffers take a fortieth of an agent.

use crate::c_string::c_string;
use crate::errno::result;
use crate::fd::owned;
use crate::fd::read;
use std::ffi::CStr;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;

/// Opens an existing file, closed on exec. `mode` is `O_RDONLY` or `O_RDWR`.
///
/// # Errors
/// Returns an error if the file cannot be opened.
pub fn open(path: &str, mode: libc::c_int) -> io::Result<OwnedFd> {
    let path = c_string(path.as_bytes())?;
    // SAFETY: a C string for the length of the call, and plain numbers.
    owned(unsafe { libc::open(path.as_ptr(), mode | libc::O_CLOEXEC) }.into())
}

/// Returns the whole content of a file, whatever its reported length.
///
/// # Errors
/// Returns an error if the file cannot be read.
pub fn content(path: &str) -> io::Result<Vec<u8>> {
    let file = open(path, libc::O_RDONLY)?;
    let mut bytes = Vec::new();
    loop {
        let start = bytes.len();
        bytes.resize(start + 4096, 0);
        let count = read(&file, &mut bytes[start..])?.unwrap_or(0);
        bytes.truncate(start + count);
        if count == 0 {
            return Ok(bytes);
        }
    }
}

/// Returns the content of a text file; empty if it cannot be read or is not UTF-8.
pub fn text(path: &str) -> String {
    content(path)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_default()
}

/// Name of an open file, truncated to 32 bytes; for a pipe, its number.
pub type Name = [u8; 32];

/// Returns the name of the file behind a descriptor of a process.
pub fn name_of(process: &str, fd: u32) -> Name {
    let mut name = [0; 32];
    if let Ok(path) = c_string(format!("/proc/{process}/fd/{fd}").as_bytes()) {
        // SAFETY: a C string, and a buffer of the length that is passed.
        unsafe { libc::readlink(path.as_ptr(), name.as_mut_ptr().cast(), name.len()) };
    }
    name
}

/// Returns true if a process has one of these files open; false if it cannot be inspected.
pub fn holds(pid: u32, names: &[Name]) -> bool {
    let process = pid.to_string();
    numbers(&format!("/proc/{pid}/fd"))
        .into_iter()
        .any(|fd| names.contains(&name_of(&process, fd)))
}

/// Returns the entries of a directory whose names are numbers; empty if it cannot be read.
pub fn numbers(folder: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    let Ok(folder) = c_string(folder.as_bytes()) else {
        return numbers;
    };
    // SAFETY: `folder` is a C string. The stream belongs to this function until it is closed, and
    // each entry is used before the next is requested.
    unsafe {
        let entries = libc::opendir(folder.as_ptr());
        if entries.is_null() {
            return numbers;
        }
        while let Some(entry) = libc::readdir(entries).as_ref() {
            let name = CStr::from_ptr(entry.d_name.as_ptr());
            numbers.extend(name.to_str().ok().and_then(|name| name.parse::<u32>().ok()));
        }
        libc::closedir(entries);
    }
    numbers
}

/// Returns the whole content of an open file, from its start.
///
/// # Errors
/// Returns an error if the file cannot be read or is shorter than its reported length.
pub fn copy_of(fd: &OwnedFd) -> io::Result<Vec<u8>> {
    // SAFETY: `about` is a variable for the result.
    let size = unsafe {
        let mut about = std::mem::zeroed::<libc::stat>();
        result(libc::fstat(fd.as_raw_fd(), &mut about).into())?;
        about.st_size as usize
    };
    let mut bytes = vec![0; size];
    let mut at = 0;
    while at < size {
        let rest = &mut bytes[at..];
        // SAFETY: the rest of the buffer is exclusively borrowed for its length.
        let count = unsafe {
            libc::pread(
                fd.as_raw_fd(),
                rest.as_mut_ptr().cast(),
                rest.len(),
                at as libc::off_t,
            )
        };
        match result(count as libc::c_long)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => at += count as usize,
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_a_file_agrees_with_std() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/procfs.rs");
        assert_eq!(text(path), std::fs::read_to_string(path).unwrap());
        assert!(content("src/sys/none.rs").is_err());
        assert_eq!(text("src/sys/none.rs"), "");
        // A file whose reported length is 0.
        let status = text("/proc/self/status");
        assert!(
            status.contains(&format!("Pid:\t{}\n", std::process::id())),
            "{status}"
        );
        let copy = copy_of(&open(path, libc::O_RDONLY).unwrap()).unwrap();
        assert_eq!(copy, std::fs::read(path).unwrap());
    }

    #[test]
    fn the_numbers_in_proc_are_processes() {
        assert!(numbers("/proc").contains(&std::process::id()));
        assert!(numbers("src").is_empty());
        assert!(numbers("src/none").is_empty());
    }
}
