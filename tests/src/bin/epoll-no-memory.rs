//! `epoll-no-memory FROM TO PROGRAM WORDS...`: executes a program for which `epoll_ctl` fails with
//! `ENOMEM` when it adds a descriptor in `FROM..TO`.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Where the number, the operation and the descriptor of `epoll_ctl` stand in `seccomp_data`, on a
/// little-endian machine.
const NUMBER: u32 = 0;
const OPERATION: u32 = 16 + 8;
const DESCRIPTOR: u32 = 16 + 16;

fn line(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter {
        code: u16::try_from(code).expect("codes are small"),
        jt,
        jf,
        k,
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, program, words @ ..] = words.as_slice() else {
        return Err("usage: epoll-no-memory FROM TO PROGRAM WORDS...".into());
    };
    let (load, equal, least) = (
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K,
    );
    let refused = libc::SECCOMP_RET_ERRNO | u32::try_from(libc::ENOMEM)?;
    let mut lines = [
        line(load, NUMBER, 0, 0),
        line(equal, u32::try_from(libc::SYS_epoll_ctl)?, 0, 6),
        line(load, OPERATION, 0, 0),
        line(equal, u32::try_from(libc::EPOLL_CTL_ADD)?, 0, 4),
        line(load, DESCRIPTOR, 0, 0),
        line(least, from.parse()?, 0, 2),
        line(least, to.parse()?, 1, 0),
        line(libc::BPF_RET | libc::BPF_K, refused, 0, 0),
        line(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let filter = libc::sock_fprog {
        len: u16::try_from(lines.len())?,
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
    if !set {
        return Err(std::io::Error::last_os_error().into());
    }
    Err(Command::new(program).args(words).exec().into())
}
