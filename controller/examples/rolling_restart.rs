//! `rolling_restart [--sudo] [--at-once N] [--patience SECONDS] RESTART CHECK HOST...`: restarts a service host by host, and stops at the first
//! that does not come back.
//!
//! RESTART and CHECK are texts for a shell on each host. A host is done when CHECK succeeds there; it is tried again and again until its
//! patience is over. The first host goes alone; then so many go together as `--at-once` says.

use offshoot::prelude::*;
use serde::{Deserialize, Serialize};
use std::error::Error as StdError;
use std::fmt;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

/// How long is waited between two checks.
const PAUSE: Duration = Duration::from_millis(200);

/// Why a host is not as it should be.
#[derive(Debug, Serialize, Deserialize)]
enum Trouble {
    /// The restart itself has failed, and said this.
    Restart { status: i32, said: String },
    /// It does not come back; the check's last words.
    Check { said: String },
    /// It could not be tried.
    Offshoot(Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Restart { status, said } => write!(f, "the restart ended with {status}: {said}"),
            Trouble::Check { said } => write!(f, "it was restarted and has not come back: {said}"),
            Trouble::Offshoot(error) => error.fmt(f),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Offshoot(error)
    }
}

/// Restarts, and waits until the check succeeds: all of it on the host, so that trying again costs no round trip.
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
        // The check itself may hang; whoever has asked may have gone.
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

/// The status of a text for the shell, and the last line of what it said.
fn shell(cx: &Context, text: &str) -> offshoot::Result<(i32, String)> {
    let output = cx.command("sh").args(["-c", text]).output()?;
    let said = [output.stdout, output.stderr].concat();
    let last = String::from_utf8_lossy(&said).lines().last().unwrap_or("it said nothing").to_owned();
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
    let [restart, check, hosts @ ..] = &words[..] else { return Err(USAGE.into()) };
    let router = Router::builder().own_image().start()?;
    // All are connected before the first is touched: a host that cannot be reached is found out while nothing has happened.
    let mut places = Vec::new();
    for host in hosts {
        let user = router.ssh(host).open()?;
        places.push((host, if sudo { user.context().sudo().open()? } else { user }));
    }
    let mut up = Vec::new();
    for (host, connecting) in places {
        up.push((host, connecting.wait().map_err(|error| format!("{host}: {error}; no host was touched"))?));
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
        // All of a group are waited for, for all of them were touched.
        let mut failed = false;
        for (host, call) in calls {
            match call.wait() {
                Ok(()) => println!("{host}: restarted"),
                Err(error) => {
                    eprintln!("{host}: {error}");
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
