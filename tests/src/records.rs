//! Log of a test program: keeps the records of contexts, which arrive as `tracing` events.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// An event.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Level in capitals.
    pub level: String,
    /// Target.
    pub target: String,
    /// Fields by name; the text is `message`.
    pub fields: BTreeMap<String, String>,
    line: String,
}

impl Logged {
    /// Returns the value of a field; empty if it is missing.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// The log of this process.
#[derive(Clone, Debug, Default)]
pub struct Records(Arc<Mutex<Vec<Logged>>>);

impl Records {
    /// Keeps the log of this process from now on. Call it once in a process.
    ///
    /// # Panics
    /// Panics if somebody else keeps it already.
    pub fn keep() -> Self {
        let records = Self::default();
        let taken = tracing::subscriber::set_global_default(records.clone());
        taken.expect("a test program has one log");
        records
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Logged>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the events that contain this text, as lines of level and fields.
    pub fn with(&self, text: &str) -> Vec<String> {
        self.lock()
            .iter()
            .filter(|seen| seen.line.contains(text))
            .map(|seen| seen.line.clone())
            .collect()
    }

    /// Returns the records of a context so far, in order.
    pub fn of(&self, context: &str) -> Vec<Logged> {
        let remote =
            |seen: &&Logged| seen.target == "offshoot::remote" && seen.field("context") == context;
        self.lock().iter().filter(remote).cloned().collect()
    }

    /// Returns the events of a target so far.
    pub fn at(&self, target: &str) -> Vec<Logged> {
        self.lock()
            .iter()
            .filter(|seen| seen.target == target)
            .cloned()
            .collect()
    }

    /// Discards the log so far.
    pub fn clear(&self) {
        self.lock().clear();
    }
}

impl Subscriber for Records {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let (level, target) = (
            event.metadata().level().to_string(),
            event.metadata().target().to_owned(),
        );
        let mut line = Line(level.clone());
        event.record(&mut line);
        let mut fields = Fields(BTreeMap::new());
        event.record(&mut fields);
        self.lock().push(Logged {
            level,
            target,
            fields: fields.0,
            line: line.0,
        });
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The fields of an event, one after the other.
pub(crate) struct Line(pub String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

/// The fields of an event by name.
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().into(), value.into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().into(), format!("{value:?}"));
    }
}
