//! System calls that are refused to a thread and everything it starts.

use std::io;

fn line(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter {
        code: u16::try_from(code).expect("codes are small"),
        jt,
        jf,
        k,
    }
}

/// Makes these system calls fail with `errno` in the calling thread and its children.
///
/// # Errors
/// Returns the errors of the kernel.
pub fn refuse(calls: &[libc::c_long], errno: i32) -> io::Result<()> {
    let number = |value: libc::c_long| u32::try_from(value).map_err(io::Error::other);
    // The system call number is the first field of `seccomp_data`.
    let mut lines = vec![line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for (index, call) in calls.iter().enumerate() {
        let to_refusal = u8::try_from(calls.len() - index).map_err(io::Error::other)?;
        lines.push(line(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            number(*call)?,
            to_refusal,
            0,
        ));
    }
    lines.push(line(
        libc::BPF_RET | libc::BPF_K,
        libc::SECCOMP_RET_ALLOW,
        0,
        0,
    ));
    let refused = libc::SECCOMP_RET_ERRNO | number(errno.into())?;
    lines.push(line(libc::BPF_RET | libc::BPF_K, refused, 0, 0));
    let len = u16::try_from(lines.len()).map_err(io::Error::other)?;
    let filter = libc::sock_fprog {
        len,
        filter: lines.as_mut_ptr(),
    };
    // SAFETY: plain numbers, and a filter whose lines live until it was taken.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const filter,
            ) == 0
    };
    if set {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Simulates a kernel before Linux 5.1 for the calling thread and its children: no pidfds and no
/// `close_range`.
///
/// # Errors
/// Returns the errors of the kernel.
pub fn without_pidfds() -> io::Result<()> {
    let calls = [
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_send_signal,
        libc::SYS_close_range,
    ];
    refuse(&calls, libc::ENOSYS)
}
