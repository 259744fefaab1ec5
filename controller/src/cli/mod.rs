//! The command line: what a person types, and what they see. It only uses the library's public parts.
//!
//! The main thread holds the tree and waits for the end, whether the work's own or a signal's; the work is done by
//! other threads, so nothing they wait for can keep the tree alive.

mod args;
mod command;
mod connect;
mod targets;
mod ui;

use args::{Action, Arguments, Subject};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};
use command::{ping, run};
use offshoot::{Context, Filter, Router};
use signal_hook::consts::SIGQUIT;
use std::process::exit;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use ui::{interrupts, jobs, output, password, signals, verbose};

/// What ends this program.
enum Event {
    /// The work is done, with this exit status.
    Finished(i32),
    /// A signal asks for it.
    Signal(i32),
}

/// Where the threads of the work say that all is over.
type Events = mpsc::Sender<Event>;

/// Exit status: the command line was wrong.
const USAGE: i32 = 2;
/// Exit status: a target could not be reached or was lost.
const TRANSPORT: i32 = 255;

/// How long programs have to end after the first signal, in seconds.
const GRACE: u32 = 10;

/// The longest that the end of the tree may take.
const LONGEST_END: Duration = Duration::from_secs(10);

/// The program.
pub fn main() -> ! {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| refuse(error));
    match arguments.action {
        Action::Run(run) => run::main(run),
        Action::Ping(ping) => ping::main(ping),
        Action::Help { subject } => explain(subject),
    }
}

/// Ends with what clap has to say, and with what it cannot know: options of ssh, and that the words after a missing `--` look
/// like options.
fn refuse(error: clap::Error) -> ! {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let run = words.first().is_some_and(|word| word == "run");
    let forgotten = run && !words.iter().any(|word| word == "--");
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => print(error.render().to_string().trim_end()),
        ErrorKind::UnknownArgument => {
            let said = |kind| match error.get(kind) {
                Some(ContextValue::String(text)) => Some(offshoot::harmless(text)),
                _ => None,
            };
            let option = said(ContextKind::InvalidArg).unwrap_or_default();
            let similar = said(ContextKind::SuggestedArg);
            let verb =
                words.first().map(|word| offshoot::harmless(&word.to_string_lossy())).unwrap_or_default();
            match (args::of_ssh(&option), similar) {
                _ if forgotten => {
                    eprintln!("offshoot: {option} is no option of offshoot run.");
                    forgot_separator()
                }
                (Some(sentence), _) => misused(format!("{option}: {sentence}")),
                (None, Some(similar)) => misused(format!("{option} is no option; is {similar} meant?")),
                (None, None) => misused(format!("{option} is no option; see offshoot {verb} --help")),
            }
        }
        ErrorKind::InvalidValue if forgotten => {
            // clap writes to stderr itself; nothing can be done where it is closed.
            let _ = error.print();
            forgot_separator()
        }
        _ => error.exit(),
    }
}

fn forgot_separator() -> ! {
    eprintln!("\nThe program and its arguments stand after `--`: offshoot run web1 -- ls -l");
    exit(USAGE)
}

fn explain(subject: Option<Subject>) -> ! {
    let mut command = Arguments::command();
    command.build();
    let mut long = |name: &str| {
        command
            .find_subcommand_mut(name)
            .map(|command| command.render_long_help().to_string())
            .unwrap_or_default()
    };
    let text = match subject {
        Some(Subject::Targets) => args::TARGETS.to_owned(),
        Some(Subject::Run) => long("run"),
        Some(Subject::Ping) => long("ping"),
        None => command.render_long_help().to_string(),
    };
    print(text.trim_end())
}

/// Prints what was asked for, and ends.
fn print(text: &str) -> ! {
    let printed = output::Outlet::stdout().and_then(|stdout| stdout.write(format!("{text}\n").as_bytes()));
    match printed {
        // A reader that has seen enough is no error.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            output::tell(&format!("writing the output: {error}"));
            exit(TRANSPORT)
        }
        _ => exit(0),
    }
}

/// Ends because the command line is wrong.
fn misused(message: impl std::fmt::Display) -> ! {
    eprintln!("offshoot: {message}");
    exit(USAGE)
}

/// Sends log records to stderr, and gives the filter for those of the agents: what `OFFSHOOT_LOG` says, and for all that it has no
/// word about what the options say, but never less than these.
fn start_log(verbose: u8) -> Filter {
    let said = Filter::of_environment().unwrap_or_else(|error| misused(error)).unwrap_or_default();
    let by_options = 2 + verbose.min(3);
    let filter = match said.others() {
        Some(others) if verbose == 0 || others >= by_options => said,
        _ => said.with_others(by_options),
    };
    if let Err(error) = offshoot::log_to_writer_by(&filter, || output::Notes) {
        misused(error);
    }
    filter
}

/// Grows a tree, has the work done in it by another thread, and ends the program when the work is over or a signal comes that
/// no program is left to answer within `grace`, in any case with the tree gone.
fn with_tree(
    log: Filter,
    grace: Duration,
    work: impl FnOnce(&Context, &Events) -> i32 + Send + 'static,
) -> ! {
    let (events, ending) = mpsc::channel();
    let failed = |error: &dyn std::fmt::Display| -> ! {
        output::tell(&error.to_string());
        exit(TRANSPORT)
    };
    // First, for threads take over which signals are blocked.
    if let Err(error) = jobs::watch().and_then(|()| signals::watch(events.clone())) {
        failed(&error);
    }
    let router = match Router::builder().log_filter(log).start() {
        Ok(router) => router,
        Err(error) => failed(&error),
    };
    let root: Context = (*router).clone();
    jobs::tell(&root);
    let worker = std::thread::Builder::new().name("work".into()).spawn(move || {
        let status = work(&root, &events);
        // Where the main thread listens no more it is ending the program already.
        let _ = events.send(Event::Finished(status));
    });
    if let Err(error) = worker {
        failed(&error);
    }
    let (mut end, mut passed): (Option<Instant>, i32) = (None, 0);
    let status = loop {
        let event = match end {
            None => ending.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(end) => ending.recv_timeout(end.saturating_duration_since(Instant::now())),
        };
        match event {
            Ok(Event::Finished(status)) => break status,
            Ok(Event::Signal(signal)) if signal != SIGQUIT && interrupts::pass_on(signal) => {
                end = Some(Instant::now() + grace);
                passed = signal;
            }
            Ok(Event::Signal(signal)) => {
                signals::give_up();
                output::hush();
                break 128 + signal;
            }
            Err(RecvTimeoutError::Timeout) => {
                let seconds = grace.as_secs();
                signals::give_up();
                output::tell(&format!(
                    "ended by force: not done {seconds} s after signal {passed}; --grace gives more time"
                ));
                output::hush();
                break 128 + passed;
            }
            // The worker has panicked, which it has said itself.
            Err(RecvTimeoutError::Disconnected) => break TRANSPORT,
        }
    };
    password::restore();
    // The tree's own end is bounded; this holds should that ever fail. What is below ends with our side of its links.
    let watch = std::thread::Builder::new().spawn(move || {
        std::thread::sleep(LONGEST_END);
        exit(status)
    });
    if let Err(error) = watch {
        failed(&error);
    }
    drop(router);
    verbose::finish();
    exit(status)
}
