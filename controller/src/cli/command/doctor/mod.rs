//! `offshoot doctor`: walks the hops to each target, asks every context what it has, and advises.
//!
//! The probes are programs that the contexts run: `run.rs` bounds their output and their time,
//! `context.rs` has those about a context and reads their answers, `advice.rs` judges the answers,
//! and `steps.rs` takes a hop once more for the times of its steps. Nothing of this is
//! part of an agent.

mod advice;
mod context;
mod run;
mod steps;
mod units;

use super::contract::Command;
use super::plan::quoted;
use super::streams::small_thread;
use crate::cli::app::{start_log, with_tree};
use crate::cli::args::Connection;
use crate::cli::connect::{Passwords, Paths};
use crate::cli::exit::{ADVICE, NO_READER, TRANSPORT, misused};
use crate::cli::ui::notes::tell;
use crate::cli::ui::outlet::Outlet;
use advice::Advice;
use clap::Args;
use context::{Row, Seen};
use offshoot::{Context, Error, harmless, stock};
use run::LIMIT;
use serde_json::{Value, json};
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use steps::Steps;
use units::{ms, readable};

const ABOUT: &str = "\
Walk the hops to one or more targets and report on each: whether and how fast it connects, and what
its context has: platform, user, login shell, places that execute, memory files, interpreters,
limits, memory, clock, sudo, start-up files, ssh. What fails or is slow has a line of advice.

The probes are shell scripts. Each may take 10 seconds and print 64 KiB. They write for a moment to
the places where an agent can start, and call `sudo -n true`, which sudo logs. A tool that is
missing and a file that cannot be read are reported as unknown.";

const EXAMPLES: &str = "\
Exit status:
  0    nothing to advise
  1    there is advice
  255  a hop failed; the report has the reason and the way out
  2    the command line was wrong

Examples:
  offshoot doctor web1/sudo
  offshoot doctor --steps web1
  offshoot doctor --json web1 web2 | jq -c '{context, advice}'";

/// The number of round trips of which the median is reported.
const TRIPS: usize = 5;

/// Report what each hop to a target connects to, and what to change there
#[derive(Args, Debug)]
#[command(long_about = ABOUT, after_long_help = EXAMPLES)]
pub(super) struct Doctor {
    #[command(flatten)]
    connection: Connection,
    /// Take each hop a few times more, for the time of each of its steps, and of ssh with and
    /// without the option `fast`
    #[arg(long)]
    steps: bool,
    /// Print one JSON object for each hop
    #[arg(long)]
    json: bool,
    /// The targets, each a path of hops: see `offshoot help targets`
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
}

impl Command for Doctor {
    const NAME: &str = "doctor";

    fn run(self) -> ! {
        let log = start_log(self.connection.verbose);
        let targets = self.targets.iter().map(String::as_str);
        let passwords = Passwords::Read {
            stdin_is_forwarded: false,
        };
        let paths = Paths::plan(targets, &self.connection, passwords)
            .unwrap_or_else(|error| misused(error));
        let visits = paths.numbers().map(|_| OnceLock::new()).collect();
        let round = Arc::new(Round {
            steps: self.steps,
            options: self
                .connection
                .words()
                .iter()
                .map(|word| quoted(word) + " ")
                .collect(),
            paths,
            visits,
        });
        with_tree(log, Duration::ZERO, move |root, _| {
            match show(&round, root, self.json) {
                Ok(status) => status,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => NO_READER,
                Err(error) => {
                    tell(&format!("writing the output: {error}"));
                    TRANSPORT
                }
            }
        })
    }
}

/// The visits to all hops.
struct Round {
    steps: bool,
    /// The options of this command line that a further one needs as well, with a space behind each.
    options: String,
    paths: Paths,
    /// The findings behind each hop, by its number. Several targets share some.
    visits: Vec<OnceLock<Visit>>,
}

/// The findings behind a hop.
enum Visit {
    /// The hop failed: the sentence, and the last lines that it printed.
    Failed(String, Vec<String>),
    Reached(Box<Reached>),
}

/// A context that was reached.
struct Reached {
    context: String,
    connected: Duration,
    /// The median of the round trips.
    trip: Duration,
    rows: Vec<Row>,
    advice: Vec<Advice>,
}

/// Visits all targets, prints the reports in their order, and returns the exit status.
fn show(round: &Arc<Round>, root: &Context, json: bool) -> io::Result<i32> {
    let stdout = Outlet::stdout()?;
    let targets = 0..round.paths.targets.len();
    let threads: Vec<_> = targets
        .map(|target| {
            let (round, root) = (Arc::clone(round), root.clone());
            small_thread(move || round.walk(target, &root))
        })
        .collect::<io::Result<_>>()?;
    let (mut shown, mut status) = (Vec::new(), 0);
    for (target, thread) in threads.into_iter().enumerate() {
        // A panic of the thread is on stderr.
        thread
            .join()
            .map_err(|_| io::Error::other("a visit has failed"))?;
        let hops = round.paths.hops(target);
        let mut text = format!("{}\n", harmless(&round.paths.targets[target]));
        for (at, hop) in hops.iter().enumerate() {
            let visit = round.visits[*hop].get();
            status = status.max(visit.map_or(0, Visit::status));
            let place = (round.paths.targets[target].as_str(), at + 1, hops.len());
            let again = shown.contains(hop);
            shown.push(*hop);
            match (json, visit) {
                (true, Some(visit)) if !again => stdout.write_object(visit.as_json(place))?,
                (true, _) => {}
                (false, _) => {
                    let (number, of) = (at + 1, hops.len());
                    let name = harmless(&round.paths.hop(*hop).bare().to_string());
                    text.push_str(&format!("  hop {number} of {of}: {name}\n"));
                    text.push_str(&match visit {
                        None => row("", "not tried"),
                        Some(_) if again => row("", "see above"),
                        Some(visit) => visit.as_text(),
                    });
                }
            }
        }
        if !json {
            let end = if target + 1 < round.paths.targets.len() {
                "\n"
            } else {
                ""
            };
            stdout.write(format!("{text}{end}").as_bytes())?;
        }
    }
    Ok(status)
}

/// Returns a row of the table.
fn row(name: &str, value: &str) -> String {
    format!("    {name:<13} {value}\n")
}

impl Round {
    /// Visits the hops to a target, up to one that fails.
    fn walk(&self, target: usize, root: &Context) {
        let mut from = root.clone();
        for hop in self.paths.hops(target) {
            // Another target may have the same hop: the first to come makes the visit.
            self.visits[hop].get_or_init(|| self.visit(target, hop, &from, root));
            match self.paths.wait_for(hop, root) {
                Ok((context, _)) => from = context,
                Err(_) => return,
            }
        }
    }

    fn visit(&self, target: usize, hop: usize, from: &Context, root: &Context) -> Visit {
        let (context, connected) = match self.paths.wait_for(hop, root) {
            Ok(reached) => reached,
            Err(failure) => return Visit::Failed(failure.sentence(), failure.output()),
        };
        let again = self.options.clone() + &quoted(&self.paths.targets[target]);
        let trip = match trip(&context) {
            Ok(trip) => trip,
            Err(error) => {
                let sentence = format!("lost: {}", harmless(&error.to_string()));
                return Visit::Failed(sentence, Vec::new());
            }
        };
        let seen = Seen::at(&context, trip);
        let mut rows = seen.rows();
        let mut advice = advice::about(&seen, &again);
        if connected > advice::SLOW_HOP {
            advice.push(advice::slow_hop(connected, &again, self.paths.hop(hop)));
        }
        if self.steps {
            let plan = self.paths.plan_of(hop, root).ok();
            let steps = plan.and_then(|plan| Steps::of(from, &plan, connected));
            rows.extend(steps.iter().map(Steps::row));
            advice.extend(steps.iter().flat_map(Steps::advice));
            if self.paths.hop(hop).method() == "ssh" {
                rows.extend(steps::gain(&self.paths, hop, from));
            }
        }
        Visit::Reached(Box::new(Reached {
            context: harmless(context.name()),
            connected,
            trip,
            rows,
            advice,
        }))
    }
}

/// Returns the median of some round trips.
fn trip(context: &Context) -> Result<Duration, Error> {
    let mut trips = Vec::new();
    for _ in 0..TRIPS {
        let begun = Instant::now();
        context.within(LIMIT).call(stock::ping {})?;
        trips.push(begun.elapsed());
    }
    trips.sort_unstable();
    Ok(trips[TRIPS / 2])
}

impl Visit {
    fn status(&self) -> i32 {
        match self {
            Self::Failed(..) => TRANSPORT,
            Self::Reached(reached) if reached.advice.is_empty() => 0,
            Self::Reached(_) => ADVICE,
        }
    }

    fn as_text(&self) -> String {
        match self {
            Self::Failed(sentence, output) => {
                let mut text = row("failed", sentence);
                for line in output {
                    text.push_str(&row("", &format!("| {line}")));
                }
                text
            }
            Self::Reached(reached) => {
                let mut text = row(
                    "connected",
                    &format!(
                        "in {}, as {}; a round trip takes {}",
                        readable(reached.connected),
                        reached.context,
                        readable(reached.trip)
                    ),
                );
                for found in &reached.rows {
                    text.push_str(&row(found.name, &found.text));
                }
                for advice in &reached.advice {
                    text.push_str(&row("ADVICE", &advice.text));
                }
                text
            }
        }
    }

    fn as_json(&self, (target, hop, of): (&str, usize, usize)) -> Vec<(&'static str, Value)> {
        let mut members: Vec<(&'static str, Value)> = vec![
            ("target", target.into()),
            ("hop", hop.into()),
            ("of", of.into()),
        ];
        match self {
            Self::Failed(sentence, output) => {
                members.push(("error", sentence.as_str().into()));
                members.push(("output", output.as_slice().into()));
            }
            Self::Reached(reached) => {
                members.push(("context", reached.context.as_str().into()));
                members.push(("connect_ms", ms(reached.connected)));
                members.push(("ping_ms", ms(reached.trip)));
                let rows = reached.rows.iter();
                members.extend(rows.map(|row| (row.key, row.value.clone())));
                let advice = reached.advice.iter();
                let advice =
                    advice.map(|advice| json!({ "about": advice.about, "text": advice.text }));
                members.push(("advice", advice.collect()));
            }
        }
        members
    }
}
