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

/// Returns byte strings as C strings.
///
/// # Errors
/// Returns `EINVAL` if a text contains a NUL byte.
pub fn c_strings(texts: &[impl AsRef<[u8]>]) -> io::Result<Vec<CString>> {
    let mut all = Vec::with_capacity(texts.len());
    for text in texts {
        all.push(c_string(text.as_ref())?);
    }
    Ok(all)
}
