use crate::runtime::extensions::locked;
use offshoot_proto::ContextId;
use offshoot_proto::log::Filter;
use offshoot_proto::log::LogRecord;
use offshoot_proto::log::number_of;
use offshoot_proto::node::ShownFrame;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use tracing::Level;

/// The most records that may wait for the broker.
pub(crate) const WAITING: usize = 256;

/// The target of this crate's own log records.
pub(crate) const OWN_TARGET: &str = "offshoot_agent";

/// A log record for the subscriber of a controller.
pub(crate) enum Entry {
    /// A record of a context below, with the context's name and id.
    Remote(Arc<str>, ContextId, Vec<u8>),
    /// A text of this crate.
    Own(Level, String),
    /// A frame that this process has sent or received.
    Frame(ShownFrame),
}

impl Entry {
    /// Returns the length of its text in bytes.
    pub(crate) fn length(&self) -> usize {
        match self {
            Self::Remote(_, _, bytes) => bytes.len(),
            Self::Own(_, text) => text.len(),
            Self::Frame(_) => 0,
        }
    }
}

/// The receiver of log records in a program that is no agent. It is called with the node locked, so
/// it neither waits nor calls the program's subscriber.
pub(crate) trait Outlet: Send + Sync {
    /// Adds a record, or counts it as lost if there is no room.
    fn put(&self, entry: Entry);
    /// Refuses further records, and waits a short while until the queued ones are written.
    fn close(&self);
}

/// The queued log records of this process, and the filter for them.
#[derive(Default)]
pub(crate) struct Logs(Mutex<State>);

#[derive(Default)]
pub(crate) struct State {
    /// None until the parent has sent it; until then all records are kept.
    filter: Option<Filter>,
    /// Makes `tracing` ask again which events are wanted.
    refresh: Option<fn()>,
    waiting: Vec<LogRecord>,
    lost: u32,
}

impl Logs {
    fn lock(&self) -> MutexGuard<'_, State> {
        locked(&self.0)
    }

    /// Sets the filter, also for the queued records.
    pub(crate) fn set_filter(&self, filter: Filter) {
        let mut state = self.lock();
        state.filter = Some(filter);
        let refresh = state.refresh;
        drop(state);
        if let Some(refresh) = refresh {
            refresh();
        }
    }

    /// Sets the function that is called when the filter changes.
    pub(crate) fn refresh_by(&self, refresh: fn()) {
        self.lock().refresh = Some(refresh);
    }

    /// Returns the filter.
    pub(crate) fn filter(&self) -> Filter {
        self.lock().filter.clone().unwrap_or_default()
    }

    /// Returns true if the filter is known.
    pub(crate) fn are_known(&self) -> bool {
        self.lock().filter.is_some()
    }

    /// Returns true if such records are wanted, or the filter is not known yet.
    pub(crate) fn wants(&self, level: Level, target: &str) -> bool {
        self.lock()
            .filter
            .as_ref()
            .is_none_or(|filter| number_of(level) <= filter.level_of(target))
    }

    /// Queues a record for the broker. Returns true if the broker has to be woken.
    pub(crate) fn keep(&self, record: LogRecord) -> bool {
        let mut state = self.lock();
        let room = state.waiting.len() < WAITING;
        if room {
            state.waiting.push(record);
        } else {
            state.lost = state.lost.saturating_add(1);
        }
        room
    }

    /// Takes the queued records, with a record of the number of lost ones. Takes nothing until the
    /// filter is known.
    pub(crate) fn take(&self) -> Vec<LogRecord> {
        let mut state = self.lock();
        let State {
            filter: Some(filter),
            waiting,
            lost,
            ..
        } = &mut *state
        else {
            return Vec::new();
        };
        let mut records = std::mem::take(waiting);
        records.retain(|record| record.is_wanted(filter));
        match std::mem::take(lost) {
            0 => {}
            lost => records.push(LogRecord::of_lost(lost)),
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(record: &LogRecord) -> &str {
        &record.message
    }

    #[test]
    fn records_logged_before_the_filter_is_known_are_kept_and_filtered_then() {
        let logs = Logs::default();
        for (level, target) in [
            (Level::TRACE, "a"),
            (Level::WARN, "b"),
            (Level::INFO, "a"),
            (Level::INFO, "b"),
        ] {
            assert!(logs.wants(level, target));
            logs.keep(LogRecord::of(
                level,
                target,
                &format!("{level} of {target}"),
            ));
        }
        assert!(!logs.are_known() && logs.take().is_empty());
        logs.set_filter("warn,a=info".parse().unwrap());
        let taken = logs.take();
        assert_eq!(
            taken.iter().map(message).collect::<Vec<_>>(),
            ["WARN of b", "INFO of a"]
        );
        assert!(logs.are_known() && logs.take().is_empty());
        assert!(logs.wants(Level::INFO, "a::b") && !logs.wants(Level::INFO, "b"));
        // A later filter also applies to queued records.
        logs.keep(LogRecord::of(Level::INFO, "a", "too late"));
        logs.set_filter(Filter::up_to(2));
        assert!(logs.take().is_empty());
    }

    #[test]
    fn dropped_records_are_counted_and_reported_once() {
        let logs = Logs::default();
        for number in 0..WAITING + 44 {
            let kept = logs.keep(LogRecord::of(Level::WARN, "a", &number.to_string()));
            assert_eq!(kept, number < WAITING);
        }
        logs.set_filter(Filter::up_to(2));
        let taken = logs.take();
        assert_eq!(taken.len(), WAITING + 1);
        assert_eq!(
            message(&taken[WAITING]),
            "44 log records were too many here and are dropped"
        );
        assert_eq!(taken[WAITING].level, number_of(Level::WARN));
        assert!(logs.take().is_empty());
    }
}
