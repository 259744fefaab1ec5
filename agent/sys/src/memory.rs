//! Memory files: sealed copies of images and agents.

use crate::fd::{owned, write_all};
use memfd::{FileSeal, Memfd};
use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;

/// The use of a memory file.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Use {
    /// Reading only.
    Read,
    /// Reading and execution.
    Execute,
}

/// Creates a memory file with `bytes`, sealed against any change.
///
/// # Errors
/// Returns an error if the kernel refuses the file, the memory or the seals.
pub fn sealed_memfd(name: &CStr, bytes: &[u8], purpose: Use) -> io::Result<OwnedFd> {
    // The crate `memfd` lacks this flag. Without it, `vm.memfd_noexec=1` makes the file
    // non-executable.
    const MFD_EXEC: libc::c_uint = 0x10;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let create = |flags: libc::c_uint| {
        // SAFETY: `name` is a valid C string for the length of the call.
        owned(unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags) })
    };
    let fd = match purpose {
        Use::Read => create(flags)?,
        Use::Execute => match create(flags | MFD_EXEC) {
            // Kernels before 6.3 neither know nor need the flag.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => create(flags)?,
            other => other?,
        },
    };
    write_all(&fd, bytes)?;
    let file =
        Memfd::try_from_file(fd.into()).map_err(|_| io::Error::from(io::ErrorKind::Unsupported))?;
    file.add_seals(&[
        FileSeal::SealShrink,
        FileSeal::SealGrow,
        FileSeal::SealWrite,
        FileSeal::SealSeal,
    ])
    .map_err(io::Error::other)?;
    Ok(file.into_file().into())
}
