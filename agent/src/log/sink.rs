//! The log of a controller: records of contexts and of this crate go to the program's `tracing`
//! subscriber on a thread of its own.
//!
//! A subscriber may be slow, call this crate, or block for ever because stderr is not read. So no
//! thread that holds the node's lock calls it, nor does the broker: records wait here, within a
//! limit, and records that exceed the limit are counted and dropped.

use crate::log::root::arrived;
use crate::log::root::frame;
use crate::runtime::extensions::locked;
use crate::runtime::handle::NodeHandle;
use crate::runtime::log_queue::Entry;
use crate::runtime::log_queue::OWN_TARGET;
use crate::runtime::log_queue::Outlet;
use crate::runtime::panics::survive;
use offshoot_proto::log::number_of;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread::ThreadId;
use std::time::Duration;
use tracing::Level;
use tracing::level_filters::LevelFilter;

/// The most bytes that may wait.
const WAITING: usize = 2 << 20;

/// The bytes that each record counts in addition to its text.
const OVERHEAD: usize = 128;

/// The longest that the end of a tree waits for records to be written.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Default)]
struct State {
    waiting: VecDeque<Entry>,
    bytes: usize,
    lost: u64,
    /// The thread; none before the first record.
    thread: Option<ThreadId>,
    closed: bool,
    /// True once the thread has ended.
    done: bool,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

/// The queue in front of a program's subscriber.
#[derive(Default)]
pub(crate) struct Sink(Arc<Queue>);

impl Sink {
    /// Sends a node's log records to this program's subscriber.
    pub(crate) fn open(shared: &NodeHandle) {
        let _the_first_stays = shared.outlet.set(Box::new(Self::default()));
    }

    /// Adds a record. Returns true if the thread has to be started for it.
    fn push(&self, entry: Entry) -> bool {
        let mut state = self.0.lock();
        let size = OVERHEAD + entry.length();
        if state.closed {
            return false;
        }
        if state.bytes + size > WAITING {
            state.lost += 1;
            return false;
        }
        state.bytes += size;
        state.waiting.push_back(entry);
        self.0.changed.notify_all();
        state.thread.is_none()
    }
}

impl Outlet for Sink {
    fn put(&self, entry: Entry) {
        let wanted = match &entry {
            // The level is inside the record, and the sender has already applied the root's filter.
            // Without a subscriber, printed lines are still shown.
            Entry::Remote(..) => true,
            Entry::Own(level, _) => *level <= LevelFilter::current(),
            Entry::Frame(_) => Level::TRACE <= LevelFilter::current(),
        };
        if !wanted || !self.push(entry) {
            return;
        }
        let mut state = self.0.lock();
        if state.thread.is_some() {
            return;
        }
        let queue = Arc::clone(&self.0);
        let started = std::thread::Builder::new()
            .name("offshoot-log".into())
            .spawn(move || queue.write_all());
        match started {
            Ok(thread) => state.thread = Some(thread.thread().id()),
            // The next record tries again.
            Err(_) => {
                state.lost += state.waiting.len() as u64;
                state.waiting.clear();
                state.bytes = 0;
            }
        }
    }

    fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        self.0.changed.notify_all();
        let own = Some(std::thread::current().id());
        if state.thread.is_none() || state.thread == own {
            return;
        }
        let waits = |state: &mut State| !state.done;
        drop(self.0.changed.wait_timeout_while(state, PATIENCE, waits));
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Writes the records, until the queue is closed and empty.
    fn write_all(&self) {
        loop {
            let mut state = self.lock();
            while state.waiting.is_empty() && state.lost == 0 && !state.closed {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            let lost = std::mem::take(&mut state.lost);
            let Some(entry) = state.waiting.pop_front() else {
                if lost == 0 {
                    state.done = true;
                    return self.changed.notify_all();
                }
                drop(state);
                say_lost(lost);
                continue;
            };
            state.bytes -= OVERHEAD + entry.length();
            drop(state);
            if lost > 0 {
                say_lost(lost);
            }
            // A subscriber is the program's own code and may panic.
            survive(|| write(&entry));
        }
    }
}

fn say_lost(lost: u64) {
    let text =
        format!("{lost} log records were too many for the log of this program and are dropped");
    survive(|| write(&Entry::Own(Level::WARN, text)));
}

fn write(entry: &Entry) {
    macro_rules! event {
        ($name:ident, $text:expr) => {
            tracing::$name!(target: OWN_TARGET, "{}", $text)
        };
    }
    match entry {
        Entry::Remote(context, id, bytes) => arrived(context, *id, bytes),
        Entry::Frame(shown) => frame(shown),
        Entry::Own(level, text) => {
            let text = offshoot_proto::text::harmless(text);
            match number_of(*level) {
                1 => event!(error, text),
                2 => event!(warn, text),
                3 => event!(info, text),
                4 => event!(debug, text),
                _ => event!(trace, text),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    /// Files with code that only controllers have, or that passes records on.
    const OTHERS: [&str; 6] = [
        "log/sink.rs",
        "log/root.rs",
        "log/subscriber.rs",
        "log/spans.rs",
        "router/debug_signal.rs",
        "router/mod.rs",
    ];

    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else {
                found.push(path);
            }
        }
    }

    #[test]
    fn no_code_in_agents_calls_tracing() {
        let mut files = Vec::new();
        for folder in ["src", "codec/src", "proto/src", "sys/src"] {
            sources(
                &Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
                &mut files,
            );
        }
        assert!(files.len() > 100);
        for file in files
            .iter()
            .filter(|file| !OTHERS.iter().any(|other| file.ends_with(other)))
        {
            let text = fs::read_to_string(file).unwrap();
            for level in ["error", "warn", "info", "debug", "trace", "event"] {
                assert!(
                    !text.contains(&format!("tracing::{level}!")),
                    "{}: the stock agent has no subscriber, and a program's must not be called with the node locked: \
                     log by NodeHandle::say, in a Node by Node::say",
                    file.display()
                );
            }
        }
    }
}
