//! `sigpipe-default JOIN_PEER FOLDER`: a program that SIGPIPE would end, as it would end most
//! programs not started by Rust.
//!
//! It loses hosts, and trees that it has joined, while it writes to them, and prints that it is
//! still running.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use offshoot::{Router, stock};

fn lose_hosts() -> Result<(), Box<dyn Error>> {
    let router = Router::new()?;
    for _ in 0..20 {
        let context = router.local().connect()?;
        let agent = context.call(stock::facts {})?.process;
        let mut cat = context.command("cat").spawn()?;
        let mut stdin = cat.stdin.take().ok_or("not taken yet")?;
        kill(Pid::from_raw(i32::try_from(agent)?), Signal::SIGKILL)?;
        while stdin.write_all(b"x").is_ok() {}
        while context.call(stock::ping {}).is_ok() {}
    }
    Ok(())
}

fn lose_trees(peer: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    for number in 0..10 {
        let path = folder.join(number.to_string());
        let mut listener = Command::new(peer)
            .arg("listen")
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut first = String::new();
        BufReader::new(listener.stdout.take().ok_or("it is piped")?).read_line(&mut first)?;
        let router = Router::builder().join(&path)?;
        listener.kill()?;
        // Each connect requests an id from the tree.
        while router.local().start().is_ok() {}
        listener.wait()?;
        std::fs::remove_file(&path)?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [peer, folder] = words.as_slice() else {
        return Err("usage: sigpipe-default JOIN_PEER FOLDER".into());
    };
    // SAFETY: a plain disposition; what Rust's start-up code has changed is changed back.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    lose_hosts()?;
    println!("no host has ended it");
    lose_trees(peer, Path::new(folder))?;
    println!("no tree has ended it");
    Ok(())
}
