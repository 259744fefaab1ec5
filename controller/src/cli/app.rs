//! What all commands share: their log, and the tree in which they work until that is done or a signal ends it.
//!
//! The main thread holds the tree and waits for the end, whether the work's own or a signal's; the work is done by
//! other threads, so nothing they wait for can keep the tree alive.

use super::event::{Event, Events};
use super::exit::{TRANSPORT, misused};
use super::ui::{interrupts, jobs, notes, question, signals, verbose};
use offshoot::{Context, Filter, Router};
use signal_hook::consts::SIGQUIT;
use std::process::exit;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The longest that the end of the tree may take.
const LONGEST_END: Duration = Duration::from_secs(10);

/// Sends log records to stderr, and gives the filter for those of the agents: what `OFFSHOOT_LOG` says, and for all that it has no
/// word about what the options say, but never less than these.
pub fn start_log(verbose: u8) -> Filter {
    let said = offshoot::filter_from_env().unwrap_or_else(|error| misused(error)).unwrap_or_default();
    let by_options = 2 + verbose.min(3);
    let filter = match said.others() {
        Some(others) if verbose == 0 || others >= by_options => said,
        _ => said.with_others(by_options),
    };
    if let Err(error) = offshoot::log_to_writer_by(&filter, || notes::Notes) {
        misused(error);
    }
    filter
}

/// Grows a tree, has the work done in it by another thread, and ends the program when the work is over or a signal comes that
/// no program is left to answer within `grace`, in any case with the tree gone.
pub fn with_tree(
    log: Filter,
    grace: Duration,
    work: impl FnOnce(&Context, &Events) -> i32 + Send + 'static,
) -> ! {
    let (events, ending) = mpsc::channel();
    let failed = |error: &dyn std::fmt::Display| -> ! {
        notes::tell(&error.to_string());
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
                notes::hush();
                break 128 + signal;
            }
            Err(RecvTimeoutError::Timeout) => {
                let seconds = grace.as_secs();
                signals::give_up();
                notes::tell(&format!(
                    "ended by force: not done {seconds} s after signal {passed}; --grace gives more time"
                ));
                notes::hush();
                break 128 + passed;
            }
            // The worker has panicked, which it has said itself.
            Err(RecvTimeoutError::Disconnected) => break TRANSPORT,
        }
    };
    question::restore();
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
