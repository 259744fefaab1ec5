//! `fleet_top [--rounds N] [--lines N] HOST...`: the busiest processes of all hosts together, live.
//!
//! Each host sends its list every second through a channel; the newest list of each is shown. A
//! lost host is reported and then omitted. The program ends after the given number of rounds, or
//! with Ctrl-C, and its functions on the hosts end with it.

use offshoot::RecvError;
use offshoot::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fs;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Process {
    number: u32,
    name: String,
    /// Processor time since the previous list, in hundredths of a second.
    busy: u64,
    memory_kib: u64,
}

/// Sends the busiest processes of this host until the receiver is gone or the call is cancelled.
#[offshoot::remote]
fn watch(
    cx: &Context,
    every: Duration,
    lines: usize,
    to: Sender<Vec<Process>>,
) -> offshoot::Result<()> {
    let mut before = BTreeMap::new();
    loop {
        let mut now = BTreeMap::new();
        let mut list: Vec<Process> = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(number) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            // A process that has just ended is not an error.
            let Some((name, ticks, memory_kib)) = fs::read_to_string(entry.path().join("stat"))
                .ok()
                .and_then(read)
            else {
                continue;
            };
            now.insert(number, ticks);
            let busy = ticks - before.get(&number).copied().unwrap_or(ticks).min(ticks);
            list.push(Process {
                number,
                name,
                busy,
                memory_kib,
            });
        }
        list.sort_by_key(|process| {
            (
                std::cmp::Reverse((process.busy, process.memory_kib)),
                process.number,
            )
        });
        list.truncate(lines);
        // The receiver is gone, or the call was cancelled.
        to.send(&list)?;
        cx.check()?;
        before = now;
        thread::sleep(every);
    }
}

/// Name, processor time and memory, from a line of /proc/N/stat; the name may contain anything and
/// is in parentheses.
fn read(stat: String) -> Option<(String, u64, u64)> {
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some((name.to_owned(), number(11)? + number(12)?, number(21)? * 4))
}

fn show(newest: &BTreeMap<String, Vec<Process>>, lines: usize) {
    let mut all: Vec<(&str, &Process)> = newest
        .iter()
        .flat_map(|(host, list)| list.iter().map(|process| (host.as_str(), process)))
        .collect();
    all.sort_by_key(|(_, process)| std::cmp::Reverse((process.busy, process.memory_kib)));
    println!(
        "{:<12} {:>8} {:>5} {:>10}  NAME",
        "HOST", "PROCESS", "CPU%", "MEMORY"
    );
    for (
        host,
        Process {
            number,
            name,
            busy,
            memory_kib,
        },
    ) in all.into_iter().take(lines)
    {
        let name: String = name
            .chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect();
        println!("{host:<12} {number:>8} {busy:>5} {memory_kib:>6} KiB  {name}");
    }
}

fn top() -> Result<ExitCode, Box<dyn StdError>> {
    const USAGE: &str = "usage: fleet_top [--rounds N] [--lines N] HOST...";
    let mut hosts: Vec<String> = std::env::args().skip(1).collect();
    let (mut rounds, mut lines) = (usize::MAX, 20);
    while hosts.first().is_some_and(|word| word.starts_with("--")) {
        match (hosts.remove(0).as_str(), hosts.is_empty()) {
            ("--rounds", false) => rounds = hosts.remove(0).parse()?,
            ("--lines", false) => lines = hosts.remove(0).parse()?,
            _ => return Err(USAGE.into()),
        }
    }
    let router = Router::builder().own_image().start()?;
    let lists = Select::default();
    let mut calls = Vec::new();
    for host in &hosts {
        let (to, received) = router.channel::<Vec<Process>>()?;
        let place = router.ssh(host).start()?.context();
        // Kept, because dropping the reply would cancel the call.
        calls.push((
            host,
            place.start(watch {
                every: EVERY,
                lines,
                to,
            }),
        ));
        let host = host.clone();
        lists.add(received.map_items(move |list: Result<_, RecvError>| (host.clone(), list)));
    }

    let (mut newest, mut fresh) = (BTreeMap::new(), 0);
    for (host, list) in lists.clone() {
        match list {
            Ok(list) => {
                newest.insert(host, list);
                fresh += 1;
            }
            Err(error) => {
                newest.remove(&host);
                eprintln!("{host}: {error}");
            }
        }
        if fresh >= lists.len() {
            show(&newest, lines);
            (fresh, rounds) = (0, rounds - 1);
            if rounds == 0 {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    // No host sends any more.
    for (host, call) in calls {
        if let Err(error) = call.wait() {
            eprintln!("{host}: {error}");
        }
    }
    Ok(ExitCode::FAILURE)
}

fn main() -> ExitCode {
    offshoot::init();
    top().unwrap_or_else(|error| {
        eprintln!("fleet_top: {error}");
        ExitCode::FAILURE
    })
}
