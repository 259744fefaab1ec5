//! `offshoot ping`: the time to connect, and the round trip time of an empty call.

use super::contract::Command;
use crate::cli::app::{start_log, with_tree};
use crate::cli::args::Connection;
use crate::cli::connect::{Passwords, Paths};
use crate::cli::event::Events;
use crate::cli::exit::{NO_READER, TRANSPORT, misused};
use crate::cli::ui::notes::tell;
use crate::cli::ui::outlet::Outlet;
use clap::Args;
use offshoot::harmless;
use offshoot::{Context, stock};
use serde_json::Value;
use std::io;
use std::time::{Duration, Instant};

const ABOUT: &str = "\
Measure the round trip time to a target: first the time to connect, and then the time of an empty
call and its reply.";

const EXAMPLES: &str = "\
Examples:
  offshoot ping web1
  offshoot ping -c 100 deploy@web1/sudo
  offshoot ping --json local/sudo";

/// Measure the round trip time to a target
#[derive(Args, Debug)]
#[command(long_about = ABOUT, after_long_help = EXAMPLES)]
pub(super) struct Ping {
    #[command(flatten)]
    connection: Connection,
    /// The number of round trips
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Print one JSON object: target, connect_ms, count, min_us, median_us, max_us
    #[arg(long)]
    json: bool,
    /// The target, a path of hops: see `offshoot help targets`
    #[arg(value_name = "TARGET")]
    target: String,
}

impl Command for Ping {
    const NAME: &str = "ping";

    fn run(self) -> ! {
        let log = start_log(self.connection.verbose);
        let passwords = Passwords::Read {
            stdin_is_forwarded: false,
        };
        let paths = Paths::plan([self.target.as_str()], &self.connection, passwords)
            .unwrap_or_else(|error| misused(error));
        with_tree(log, Duration::ZERO, move |root, _: &Events| {
            measure(&self, &paths, root)
        })
    }
}

/// Connects, measures, prints the times, and returns the exit status.
fn measure(ping: &Ping, paths: &Paths, root: &Context) -> i32 {
    let target = &ping.target;
    let failed = |sentence: String, output: Vec<String>| {
        if ping.json {
            let object = [
                ("target", target.as_str().into()),
                ("error", Value::from(sentence)),
            ];
            let output = (!output.is_empty()).then(|| ("output", output.into()));
            // If this cannot be written, the exit status still reports it.
            let _ = Outlet::stdout()
                .and_then(|stdout| stdout.write_object(object.into_iter().chain(output)));
        } else {
            let output: String = output
                .iter()
                .map(|line| format!("\n    | {line}"))
                .collect();
            tell(&format!("{sentence}{output}"));
        }
        TRANSPORT
    };
    let begun = Instant::now();
    paths.open(root);
    let context = match paths.wait(0, root) {
        Ok(context) => context,
        Err(failure) => {
            return failed(
                format!("cannot reach {target}: {}", failure.sentence()),
                failure.output(),
            );
        }
    };
    let connected = begun.elapsed();
    let shown = || -> io::Result<Result<(), offshoot::Error>> {
        let stdout = Outlet::stdout()?;
        if !ping.json {
            stdout.write(format!("{target}: connected in {}\n", readable(connected)).as_bytes())?;
        }
        let mut trips = Vec::new();
        for number in 1..=ping.count {
            let sent = Instant::now();
            if let Err(error) = context.call(stock::ping {}) {
                return Ok(Err(error.into()));
            }
            let trip = sent.elapsed();
            trips.push(trip);
            if !ping.json {
                stdout.write(format!("{target}: {number}: {}\n", readable(trip)).as_bytes())?;
            }
        }
        summarise(&stdout, ping, connected, &mut trips).map(Ok)
    };
    match shown() {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => failed(
            format!("lost {target}: {}", harmless(&error.to_string())),
            Vec::new(),
        ),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => NO_READER,
        Err(error) => {
            tell(&format!("writing the output: {error}"));
            TRANSPORT
        }
    }
}

/// Prints the shortest, the median and the longest round trip time.
fn summarise(
    stdout: &Outlet,
    ping: &Ping,
    connected: Duration,
    trips: &mut [Duration],
) -> io::Result<()> {
    trips.sort_unstable();
    let (Some(min), Some(max)) = (trips.first().copied(), trips.last().copied()) else {
        return Ok(());
    };
    let median = median(trips);
    if ping.json {
        let microseconds = |time: Duration| Value::from(time.as_nanos() as f64 / 1e3);
        return stdout.write_object([
            ("target", ping.target.as_str().into()),
            ("connect_ms", (connected.as_micros() as f64 / 1e3).into()),
            ("count", trips.len().into()),
            ("min_us", microseconds(min)),
            ("median_us", microseconds(median)),
            ("max_us", microseconds(max)),
        ]);
    }
    let [min, median, max] = [min, median, max].map(readable);
    let (target, count) = (&ping.target, trips.len());
    stdout.write(
        format!("{target}: {count} round trips: fastest {min}, median {median}, slowest {max}\n")
            .as_bytes(),
    )
}

/// Returns the median of sorted times.
fn median(sorted: &[Duration]) -> Duration {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2
    }
}

/// Returns a time in a readable unit, with at least three digits.
fn readable(time: Duration) -> String {
    match time.as_nanos() as f64 / 1e3 {
        us if us < 1e3 => format!("{us:.1} µs"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        let times = |list: &[u64]| {
            list.iter()
                .map(|us| Duration::from_micros(*us))
                .collect::<Vec<_>>()
        };
        assert_eq!(median(&times(&[1, 2, 9])), Duration::from_micros(2));
        assert_eq!(median(&times(&[1, 2, 4, 9])), Duration::from_micros(3));
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(readable(Duration::from_nanos(12_340)), "12.3 µs");
        assert_eq!(readable(Duration::from_micros(12_340)), "12.34 ms");
        assert_eq!(readable(Duration::from_millis(12_340)), "12.34 s");
    }
}
