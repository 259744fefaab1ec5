//! `held-back-ssh ... COMMAND`: stands in for `ssh`, whose own setting cannot be seen while it logs
//! in.
//!
//! Opens a TCP connection to itself, says so as ssh does, and runs the command, its last argument,
//! in `sh -c` as soon as Nagle's algorithm is off for the connection. It never turns that off.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let command = std::env::args().next_back().ok_or("there is no command")?;
    if std::env::args().any(|word| word == "-G") {
        return Ok(());
    }
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let connection = TcpStream::connect(listener.local_addr()?)?;
    eprintln!("debug1: Connection established.");
    while !connection.nodelay()? {
        std::thread::yield_now();
    }
    Err(Command::new("sh").args(["-c", &command]).exec().into())
}
