//! `refuse-calls ERRNO CALL[,CALL...] PROGRAM WORDS...`: executes a program whose system calls of
//! these names fail with ENOSYS or EPERM, as below a seccomp filter or on an older kernel.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

const USAGE: &str = "usage: refuse-calls ENOSYS|EPERM CALL[,CALL...] PROGRAM WORDS...";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [errno, calls, program, words @ ..] = words.as_slice() else {
        return Err(USAGE.into());
    };
    let errno = match errno.as_str() {
        "ENOSYS" => libc::ENOSYS,
        "EPERM" => libc::EPERM,
        _ => return Err(USAGE.into()),
    };
    let calls: Option<Vec<_>> = calls.split(',').map(number).collect();
    offshoot_tests::seccomp::refuse(&calls.ok_or("unknown system call")?, errno)?;
    Err(Command::new(program).args(words).exec().into())
}

fn number(name: &str) -> Option<libc::c_long> {
    Some(match name {
        "memfd_create" => libc::SYS_memfd_create,
        "execveat" => libc::SYS_execveat,
        "pidfd_open" => libc::SYS_pidfd_open,
        "pidfd_send_signal" => libc::SYS_pidfd_send_signal,
        "close_range" => libc::SYS_close_range,
        _ => return None,
    })
}
