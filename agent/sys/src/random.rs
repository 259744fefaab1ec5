//! Random bytes.

use std::io;

/// Returns random bytes from the kernel.
///
/// # Panics
/// Panics if the kernel has no random bytes, or if `N` is more than 256.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // SAFETY: the buffer is exclusively borrowed for its length. Up to 256 bytes come whole.
    let count = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    assert_eq!(
        count,
        N as isize,
        "getrandom: {}",
        io::Error::last_os_error()
    );
    bytes
}
