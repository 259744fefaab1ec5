//! Byte strings for the C library.

use std::ffi::CString;
use std::io;

/// Returns a byte string as a C string.
///
/// # Errors
/// Returns `EINVAL` if the text contains a NUL byte, which would truncate it.
pub fn c_string(text: &[u8]) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}
