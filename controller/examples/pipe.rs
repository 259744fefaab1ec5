//! `pipe [HOST]`: sorts three words in another process, streaming both ways; here, or on a host
//! through ssh.

use offshoot::prelude::*;
use std::io::{Read, Write};

fn main() -> Result<(), offshoot::Report> {
    let host = std::env::args().nth(1);
    offshoot::run(|router| {
        let context = match host {
            Some(host) => router.ssh(host).connect()?,
            None => router.local().connect()?,
        };
        let mut sort = context
            .command("sort")
            .arg("-r")
            .env("LC_ALL", "C")
            .spawn()?;
        if let Some(mut stdin) = sort.stdin.take() {
            // Dropped at the end of this block, which is the end of input.
            stdin.write_all(b"branch\nroot\nleaf\n")?;
        }
        let mut sorted = String::new();
        if let Some(mut stdout) = sort.stdout.take() {
            stdout.read_to_string(&mut sorted)?;
        }
        let status = sort.wait()?;
        print!("{sorted}");
        match status.success() {
            true => Ok(()),
            false => Err(Error::Function(format!(
                "sort ended with {}",
                status.shell_code()
            ))),
        }
    })?;
    Ok(())
}
