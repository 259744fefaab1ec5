//! Puts a program where it can be executed although nobody else can name or change it.
//!
//! A sealed memfd where the kernel allows one that is executable, else a file that loses its name before anything is
//! written to it. Must never leave a name behind, and must never touch stdin.

use crate::sys;

/// Stores `length` bytes at `from` and returns a read-only or sealed descriptor that survives exec, or a negative
/// number. `title` is what /proc shows of a memfd; `folder` is where a file may be made, and `name` what it is
/// called for as long as it takes to unlink it.
///
/// # Safety
/// `from` must be readable for `length` bytes; `title`, `folder` and `name` must be C strings.
#[inline(always)]
pub unsafe fn place(
    from: *const u8,
    length: usize,
    title: *const u8,
    folder: *const u8,
    name: *const u8,
) -> isize {
    // SAFETY: the caller's promises, passed on; every descriptor here is this function's own.
    unsafe {
        let mut writer = sys::memfd(title, sys::MFD_EXEC | sys::MFD_SEALABLE);
        if writer == sys::EINVAL {
            writer = sys::memfd(title, sys::MFD_SEALABLE);
        }
        let mut reader = writer;
        if writer < 0 {
            // memfd unknown, or forbidden to be executable: a file, opened twice because a file that is open for
            // writing cannot be executed. O_TMPFILE would need /proc for the second opening.
            let at = sys::open(sys::AT_FDCWD, folder, sys::O_FOLDER);
            writer = sys::open(at, name, sys::O_NEW);
            if writer < 0 {
                return writer;
            }
            reader = sys::open(at, name, sys::O_RDONLY);
            sys::unlink(at, name, 0);
        }
        if sys::write(writer, from, length) != length as isize {
            return -1;
        }
        if reader == writer {
            sys::seal(writer);
        } else {
            sys::close(writer);
        }
        reader
    }
}
