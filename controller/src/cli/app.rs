//! The life of a command: its log, and its tree until the work is done or a signal ends it.
//!
//! The main thread owns the tree and waits for the end of the work or for a signal. Other threads
//! do the work, so that a thread that blocks cannot keep the tree alive.

use super::event::{Event, Events};
use super::exit::{TRANSPORT, misused};
use super::ui::{interrupts, jobs, notes, question, signals, verbose};
use offshoot::{Context, Filter, Router};
use signal_hook::consts::SIGQUIT;
use std::process::exit;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The longest time for the end of the tree.
const LONGEST_END: Duration = Duration::from_secs(10);

/// Starts logging to stderr and returns the filter for the agents. It is that of `OFFSHOOT_LOG`,
/// where `-v` sets the least level for all targets that the variable does not name. Without both,
/// warnings are logged.
pub(super) fn start_log(verbose: u8) -> Filter {
    let environment = offshoot::filter_from_env()
        .unwrap_or_else(|error| misused(error))
        .unwrap_or_default();
    let by_options = 2 + verbose.min(3);
    let filter = match environment.others() {
        Some(others) if verbose == 0 || others >= by_options => environment,
        _ => environment.with_others(by_options),
    };
    if let Err(error) = offshoot::log_to_writer_by(&filter, || notes::Notes) {
        misused(error);
    }
    filter
}

/// Starts a tree, runs `work` on another thread, and ends this program when the work returns. The
/// first signal is passed on to the running programs, which have `grace` to end. A second signal,
/// or one while no program runs, ends the tree at once. The tree ends before this program does.
pub(super) fn with_tree(
    log: Filter,
    grace: Duration,
    work: impl FnOnce(&Context, &Events) -> i32 + Send + 'static,
) -> ! {
    let (events, ending) = mpsc::channel();
    let failed = |error: &dyn std::fmt::Display| -> ! {
        notes::tell(&error.to_string());
        exit(TRANSPORT)
    };
    // Before other threads start, because threads inherit the mask of blocked signals.
    if let Err(error) = jobs::watch().and_then(|()| signals::watch(events.clone())) {
        failed(&error);
    }
    let router = match Router::builder().log_filter(log).start() {
        Ok(router) => router,
        Err(error) => failed(&error),
    };
    let root: Context = (*router).clone();
    jobs::set_tree(&root);
    let worker = std::thread::Builder::new()
        .name("work".into())
        .spawn(move || {
            let status = work(&root, &events);
            // If the main thread no longer listens, it is ending this program already.
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
                notes::silence();
                break 128 + signal;
            }
            Err(RecvTimeoutError::Timeout) => {
                let seconds = grace.as_secs();
                signals::give_up();
                notes::tell(&format!(
                    "killed: still running {seconds} s after signal {passed}; --grace gives more time"
                ));
                notes::silence();
                break 128 + passed;
            }
            // The worker has panicked. Its panic message is on stderr.
            Err(RecvTimeoutError::Disconnected) => break TRANSPORT,
        }
    };
    question::close();
    // The end of the tree has its own time limits. This limit is for a bug in them: the agents end
    // anyway when our side of their links closes.
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
