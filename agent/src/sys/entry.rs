//! The first function of the stock agent, in place of std's, which does much that an agent does not need.

use std::ffi::{CStr, c_char, c_int};

/// Does what std's start would and an agent relies on: descriptors 0 to 2 are open, writing into a closed pipe is an error and no
/// signal, and the arguments are known.
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    let null = c"/dev/null".as_ptr();
    for fd in 0..3 {
        // SAFETY: plain numbers, and a text that lives as long as the program. What is opened takes the lowest free number, this.
        unsafe {
            if libc::fcntl(fd, libc::F_GETFD) < 0 && libc::open(null, libc::O_RDWR) < 0 {
                return 1;
            }
        }
    }
    // SAFETY: ignoring a signal runs nothing.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let all = (0..usize::try_from(count).unwrap_or(0)).map(|at| {
        // SAFETY: the C library gives so many texts, each with its end.
        unsafe { CStr::from_ptr(*arguments.add(at)) }.to_bytes().to_vec()
    });
    offshoot_agent::stock_main(all.collect())
}
