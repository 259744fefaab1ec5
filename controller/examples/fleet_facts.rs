//! `fleet_facts HOST...`: prints facts about each host, as one line of JSON as soon as the host has
//! answered.
//!
//! A host that fails has a line as well, so there are as many lines as hosts; the exit status is 1
//! if a host failed.

use offshoot::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fs;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// The time limit for a host, from its first hop to its answer.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Serialize, Deserialize)]
struct Facts {
    host: String,
    kernel: String,
    /// From /etc/os-release.
    system: String,
    processors: usize,
    memory_kib: u64,
    load: f64,
    uptime_s: u64,
    /// File systems mounted from a device: mount point and type.
    mounts: BTreeMap<String, String>,
}

/// One function collects all facts: one round trip for each host.
#[offshoot::remote]
fn look() -> io::Result<Facts> {
    let read = |path: &str| {
        let text = fs::read_to_string(path);
        text.map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
    };
    let first = |text: String| {
        text.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let system = read("/etc/os-release").unwrap_or_default();
    let system = system
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or("unknown");
    let memory = read("/proc/meminfo")?;
    let memory = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .unwrap_or_default();
    let mounts = read("/proc/self/mounts")?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (device, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
        device
            .starts_with('/')
            .then(|| (place.to_owned(), kind.to_owned()))
    });
    Ok(Facts {
        host: read("/proc/sys/kernel/hostname")?.trim_end().to_owned(),
        kernel: read("/proc/sys/kernel/osrelease")?.trim_end().to_owned(),
        system: system.trim_matches('"').to_owned(),
        processors: std::thread::available_parallelism()?.get(),
        memory_kib: first(memory.to_owned()).parse().unwrap_or(0),
        load: first(read("/proc/loadavg")?).parse().unwrap_or(0.0),
        uptime_s: first(read("/proc/uptime")?).parse::<f64>().unwrap_or(0.0) as u64,
        mounts: mounts.collect(),
    })
}

/// A line of the output: the given name, and either facts or an error.
#[derive(Serialize)]
struct Line<'a> {
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    facts: Option<Facts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn collect() -> Result<ExitCode, Box<dyn StdError>> {
    let hosts: Vec<String> = std::env::args().skip(1).collect();
    let router = Router::builder().own_image().start()?;
    let answers = Select::default();
    for host in &hosts {
        let call = router
            .ssh(host)
            .timeout(PATIENCE)
            .start()?
            .context()
            .within(PATIENCE)
            .start(look {});
        let host = host.clone();
        answers.add(call.map_items(move |(_, outcome)| (host.clone(), outcome)));
    }
    let mut status = ExitCode::SUCCESS;
    for (target, outcome) in answers {
        let (facts, error) = match outcome {
            Ok(facts) => (Some(facts), None),
            Err(error) => {
                status = ExitCode::FAILURE;
                (None, Some(error.to_string()))
            }
        };
        println!(
            "{}",
            serde_json::to_string(&Line {
                target: &target,
                facts,
                error
            })?
        );
    }
    Ok(status)
}

fn main() -> ExitCode {
    offshoot::init();
    collect().unwrap_or_else(|error| {
        eprintln!("fleet_facts: {error}");
        ExitCode::FAILURE
    })
}
