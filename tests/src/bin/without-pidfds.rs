//! `without-pidfds PROGRAM WORDS...`: executes a program as on a kernel without pidfds.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (program, words) = words
        .split_first()
        .ok_or("usage: without-pidfds PROGRAM WORDS...")?;
    offshoot_tests::seccomp::without_pidfds()?;
    Err(Command::new(program).args(words).exec().into())
}
