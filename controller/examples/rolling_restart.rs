//! `rolling_restart [--sudo] [--at-once N] [--patience SECONDS] RESTART CHECK HOST...`: restarts a
//! service host by host, and stops at the first host that does not come back.
//!
//! RESTART and CHECK are commands for a shell on each host. A host is done when CHECK succeeds
//! there; it is repeated until `--patience` has passed. The first host goes alone; then `--at-once`
//! sets how many go together.

use offshoot::prelude::*;
use serde::{Deserialize, Serialize};
use std::error::Error as StdError;
use std::fmt;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// The pause between two checks.
const PAUSE: Duration = Duration::from_millis(200);

/// The reason why a host failed.
#[derive(Debug, Serialize, Deserialize)]
enum Trouble {
    /// The restart itself failed, with this output.
    Restart { status: i32, said: String },
    /// The host does not come back; the last output of the check.
    Check { said: String },
    /// The restart could not be tried.
    Offshoot(Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restart { status, said } => {
                write!(f, "the restart ended with {status}: {said}")
            }
            Self::Check { said } => write!(f, "it was restarted and has not come back: {said}"),
            Self::Offshoot(error) => error.fmt(f),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Offshoot(error)
    }
}

/// Restarts, and waits until the check succeeds: all of it on the host, so that a repeated check
/// costs no round trip.
#[offshoot::remote]
fn restart_and_check(
    cx: &Context,
    restart: String,
    check: String,
    patience: Duration,
) -> Result<(), Trouble> {
    let (status, said) = shell(cx, &restart)?;
    if status != 0 {
        return Err(Trouble::Restart { status, said });
    }
    let mut waited = Duration::ZERO;
    loop {
        // The check itself may hang, and the call may have been cancelled.
        cx.check()?;
        let said = match shell(&cx.within(patience), &check) {
            Ok((0, _)) => return Ok(()),
            Ok((_, said)) => said,
            Err(error) => error.to_string(),
        };
        if waited >= patience {
            return Err(Trouble::Check { said });
        }
        thread::sleep(PAUSE);
        waited += PAUSE;
    }
}

/// The status of a shell command, and the last line of its output.
fn shell(cx: &Context, text: &str) -> offshoot::Result<(i32, String)> {
    let output = cx.command("sh").args(["-c", text]).output()?;
    let said = [output.stdout, output.stderr].concat();
    let last = String::from_utf8_lossy(&said)
        .lines()
        .last()
        .unwrap_or("it said nothing")
        .to_owned();
    Ok((output.status.shell_code(), last))
}

const USAGE: &str =
    "usage: rolling_restart [--sudo] [--at-once N] [--patience SECONDS] RESTART CHECK HOST...";

fn roll() -> Result<ExitCode, Box<dyn StdError>> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let (mut sudo, mut at_once, mut patience) = (false, 1, 30);
    while words.first().is_some_and(|word| word.starts_with("--")) {
        match words.remove(0).as_str() {
            "--sudo" => sudo = true,
            "--at-once" if !words.is_empty() => at_once = words.remove(0).parse::<usize>()?.max(1),
            "--patience" if !words.is_empty() => patience = words.remove(0).parse()?,
            _ => return Err(USAGE.into()),
        }
    }
    let [restart, check, hosts @ ..] = &words[..] else {
        return Err(USAGE.into());
    };
    let router = Router::builder().own_image().start()?;
    // Connect all hosts before touching the first: an unreachable host is found before anything has
    // happened.
    let mut places = Vec::new();
    for host in hosts {
        let user = router.ssh(host).start()?;
        places.push((
            host,
            if sudo {
                user.context().sudo().start()?
            } else {
                user
            },
        ));
    }
    let mut up = Vec::new();
    for (host, connecting) in places {
        up.push((
            host,
            connecting
                .wait()
                .map_err(|error| format!("{host}: {error}; no host was touched"))?,
        ));
    }

    let mut left = &up[..];
    let mut size = 1;
    while !left.is_empty() {
        let (group, after) = left.split_at(size.min(left.len()));
        let calls: Vec<_> = group
            .iter()
            .map(|(host, place)| {
                let (restart, check) = (restart.clone(), check.clone());
                (
                    host,
                    place.start(restart_and_check {
                        restart,
                        check,
                        patience: Duration::from_secs(patience),
                    }),
                )
            })
            .collect();
        // Wait for the whole group, because all of its hosts were touched.
        let mut failed = false;
        for (host, call) in calls {
            match call.wait() {
                Ok(()) => println!("{host}: restarted"),
                Err(error) => {
                    match error {
                        // The function's own words, without its name and that of the context.
                        CallError::Function { error, .. } => eprintln!("{host}: {error}"),
                        CallError::Failed(error) => eprintln!("{host}: {error}"),
                    }
                    failed = true;
                }
            }
        }
        if failed {
            let untouched: Vec<&str> = after.iter().map(|(host, _)| host.as_str()).collect();
            if !untouched.is_empty() {
                eprintln!("stopped; not touched: {}", untouched.join(" "));
            }
            return Ok(ExitCode::FAILURE);
        }
        (left, size) = (after, at_once);
    }
    Ok(ExitCode::SUCCESS)
}

fn main() -> ExitCode {
    offshoot::init();
    roll().unwrap_or_else(|error| {
        eprintln!("rolling_restart: {error}");
        ExitCode::FAILURE
    })
}
