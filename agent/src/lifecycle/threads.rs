//! The threads of this process: only a process with one thread can become an agent.
//!
//! An agent takes over its process: standard streams, descriptors, signals, and the memory that its
//! guard is forked from. Threads that exist before would continue with all of these, and abort or
//! corrupt the agent, depending on timing. So threads are counted in the controller before anything
//! is sent, and in the agent before anything is taken over.

use offshoot_sys::procfs as files;
use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

/// The outcome of the first count.
static FOUND: OnceLock<Result<(), String>> = OnceLock::new();

/// The number of counts, with a millisecond between: a joined thread may be visible for a moment.
const LOOKS: u32 = 20;

/// Counts the threads, once in a process.
pub(crate) fn look() -> Result<(), String> {
    FOUND.get_or_init(|| check(&names)).clone()
}

/// Checks that this program can be sent as an image: that [`init`](crate::lifecycle::init) was
/// called first in `main`, so that a copy becomes an agent instead of running the program again.
///
/// # Errors
/// Returns the reason why it cannot be sent, and the solution.
pub fn initialised() -> Result<(), String> {
    match FOUND.get() {
        Some(found) => found.clone(),
        None => {
            Err("its main does not begin with `offshoot::init()`, so its copy would not become an agent"
                .into())
        }
    }
}

/// Returns the names of the threads of this process; none without /proc.
fn names() -> Vec<String> {
    let own = std::process::id();
    let mut threads = files::numbers("/proc/self/task");
    // The main thread comes first, because its name tells nothing.
    threads.sort_unstable_by_key(|thread| (*thread != own, *thread));
    threads
        .iter()
        .map(|thread| {
            files::text(&format!("/proc/self/task/{thread}/comm"))
                .trim_end()
                .to_owned()
        })
        .collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the kernel gives no event for the end of a foreign thread"
)]
fn check(names: &dyn Fn() -> Vec<String>) -> Result<(), String> {
    let mut found = names();
    for _ in 1..LOOKS {
        if found.len() <= 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
        found = names();
    }
    if found.len() <= 1 {
        return Ok(());
    }
    let mut text = format!(
        "`offshoot::init()` was called with {} threads running",
        found.len()
    );
    if let Some(other) = found.get(1).filter(|name| !name.is_empty()) {
        let _ = write!(
            text,
            ", one of them {:?}",
            offshoot_proto::text::harmless(other)
        );
    }
    text.push_str(
        ", but an agent takes over its process, which no other thread survives. Call it first in a plain main, and start \
         runtimes and threads after it: `fn main() { offshoot::init(); runtime.block_on(...) }`, without #[tokio::main]",
    );
    Err(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn named(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn one_thread_or_an_unknown_count_is_accepted() {
        assert_eq!(check(&|| named(&["main"])), Ok(()));
        assert_eq!(check(&Vec::new), Ok(()));
    }

    #[test]
    fn more_threads_are_an_error_that_shows_a_correct_main() {
        let error = check(&|| named(&["main", "tokio-rt-w\u{1b}", "x"])).unwrap_err();
        assert!(
            error.contains("with 3 threads running, one of them \"tokio-rt-w"),
            "{error}"
        );
        assert!(
            error.contains("fn main() { offshoot::init(); runtime.block_on(...) }"),
            "{error}"
        );
        assert!(!error.contains('\u{1b}'), "{error}");
        assert!(
            !check(&|| named(&["", ""]))
                .unwrap_err()
                .contains("one of them")
        );
    }

    #[test]
    fn a_thread_that_is_about_to_exit_is_not_counted() {
        let looks = Cell::new(0);
        let going = || {
            looks.set(looks.get() + 1);
            named(if looks.get() < 5 {
                &["main", "gone"]
            } else {
                &["main"]
            })
        };
        assert_eq!(check(&going), Ok(()));
        assert_eq!(looks.get(), 5);
    }

    #[test]
    fn the_threads_of_this_process_are_listed_by_name() {
        let seen = std::thread::Builder::new()
            .name("a thread".into())
            .spawn(names)
            .unwrap()
            .join()
            .unwrap();
        assert!(
            seen.len() > 1 && seen.iter().any(|name| name == "a thread"),
            "{seen:?}"
        );
        assert_eq!(
            seen.first(),
            Some(
                &files::text(&format!("/proc/self/task/{}/comm", std::process::id()))
                    .trim_end()
                    .to_owned()
            )
        );
    }
}
