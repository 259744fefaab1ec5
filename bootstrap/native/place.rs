//! Placement of a program where it can be executed, and no other process can name or change it.
//!
//! A sealed memfd if the kernel allows executable ones, else a file that is unlinked before
//! anything is written to it. Must never leave a name behind, and must never touch stdin.

use crate::sys;

/// Stores `length` bytes at `from`. Returns a read-only or sealed descriptor that survives exec, or
/// a negative number. /proc shows `title` for a memfd. Files are created in `folder`, where they
/// are called `name` until they are unlinked.
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
    // SAFETY: as promised by the caller; all descriptors belong to this function.
    unsafe {
        let mut writer = sys::memfd(title, sys::MFD_EXEC | sys::MFD_SEALABLE);
        if writer == sys::EINVAL {
            writer = sys::memfd(title, sys::MFD_SEALABLE);
        }
        let mut reader = writer;
        if writer < 0 {
            // memfd is unknown or must not be executable: use a file, opened twice because a file
            // that is open for writing cannot be executed. O_TMPFILE would need /proc for the
            // second opening.
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
