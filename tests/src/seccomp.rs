//! System calls that are refused to a thread and everything it starts.

use std::io;

fn line(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).expect("codes are small"), jt, jf, k }
}

/// Has the kernel refuse these calls with `errno` to the thread that asks, and to all that it
/// starts.
///
/// # Errors
/// As the kernel gives them.
pub fn refuse(calls: &[libc::c_long], errno: i32) -> io::Result<()> {
    let number = |value: libc::c_long| u32::try_from(value).map_err(io::Error::other);
    // The number of the call stands first in what a filter is shown.
    let mut lines = vec![line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for (index, call) in calls.iter().enumerate() {
        let to_refusal = u8::try_from(calls.len() - index).map_err(io::Error::other)?;
        lines.push(line(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number(*call)?, to_refusal, 0));
    }
    lines.push(line(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0));
    let refused = libc::SECCOMP_RET_ERRNO | number(errno.into())?;
    lines.push(line(libc::BPF_RET | libc::BPF_K, refused, 0, 0));
    let len = u16::try_from(lines.len()).map_err(io::Error::other)?;
    let filter = libc::sock_fprog { len, filter: lines.as_mut_ptr() };
    // SAFETY: plain numbers, and a filter whose lines live until it was taken.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) == 0
    };
    if set { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes the kernel one of before Linux 5.1 for the thread that asks, and for all that it starts,
/// as far as processes go: without pidfds, and without a call that closes many descriptors.
///
/// # Errors
/// As the kernel gives them.
pub fn without_pidfds() -> io::Result<()> {
    let calls = [libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal, libc::SYS_close_range];
    refuse(&calls, libc::ENOSYS)
}
