//! `slow-path [--round-trip MS] [--rate MBIT] -- COMMAND...`: runs a command that reaches the host
//! `far` over a path with a delay.
//!
//! `cargo xtask slow-path` starts it in the sandbox. Ends with the command's exit status.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use offshoot_tests::Sshd;
use offshoot_tests::delay::DelayedPath;
use offshoot_tests::scratch::write_file;
use offshoot_tests::users::{DEPLOY, client_key};

const USAGE: &str = "usage: slow-path [--round-trip MS] [--rate MBIT] -- COMMAND...";

/// What root at `near` logs in with.
const KEY: &str = "/root/.ssh/id_ed25519";

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    offshoot_tests::require_sandbox();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let end = words.iter().position(|word| word == "--").ok_or(USAGE)?;
    let (program, arguments) = words[end + 1..].split_first().ok_or(USAGE)?;
    let (mut round_trip, mut rate) = (250, None);
    for setting in words[..end].chunks(2) {
        match setting {
            [key, value] if key == "--round-trip" => round_trip = value.parse()?,
            [key, value] if key == "--rate" => rate = Some(value.parse()?),
            _ => return Err(USAGE.into()),
        }
    }
    let link = std::env::current_exe()?.with_file_name("delay-link");
    let path = DelayedPath::with_rate(&link, Duration::from_millis(round_trip), rate);
    let user = format!("User {}", DEPLOY.name);
    let _far = Sshd::named("far")
        .client_line(user)
        .inside(&path.far, DelayedPath::FAR)
        .start();
    if !Path::new(KEY).exists() {
        std::fs::create_dir_all(Path::new(KEY).with_file_name(""))?;
        write_file(Path::new(KEY), std::fs::read(client_key())?, 0o600);
    }
    let mut command = Command::new(program);
    let status = path
        .near
        .enter_on_exec(command.args(arguments))
        .status()
        .map_err(|error| format!("{program}: {error}"))?;
    let code = status
        .code()
        .or(status.signal().map(|signal| 128 + signal))
        .unwrap_or(255);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(255)))
}
