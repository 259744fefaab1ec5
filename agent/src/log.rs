//! Log records on their way to the root: what an agent traces, and what it prints.

use crate::codec;
use crate::shared::Shared;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::fmt::{self, Write};
use std::sync::Weak;
use std::sync::atomic::Ordering;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

#[derive(Serialize, Deserialize)]
struct LogRecord {
    level: u8,
    target: String,
    text: String,
}

/// The most of one record's text that travels.
const TEXT_LIMIT: usize = 8 << 10;
/// The most of the name of its origin that is shown.
const TARGET_LIMIT: usize = 256;

/// The number of a level: 1 error to 5 trace.
#[must_use]
pub fn number_of(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// A record as it travels.
pub(crate) fn encode(level: Level, target: &str, text: &str) -> Vec<u8> {
    let end = (0..=text.len().min(TEXT_LIMIT)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let record = LogRecord { level: number_of(level), target: target.into(), text: text[..end].into() };
    codec::to_bytes(&record).unwrap_or_default()
}

/// A record has reached the root: it becomes an event of the program's own subscriber, under the context's name.
pub(crate) fn arrived(context: &str, bytes: &[u8]) {
    let Ok(LogRecord { level, target, text }) = codec::from_bytes::<LogRecord>(bytes) else {
        tracing::warn!(target: "offshoot::remote", context, "a log record that cannot be read");
        return;
    };
    // Who sends it need not have kept to the limit, nor to what harms no terminal.
    let harmless = |text: &str, limit| -> String {
        let text = crate::error::shortened(text, limit);
        text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
    };
    let (text, target) = (harmless(&text, TEXT_LIMIT), harmless(&target, TARGET_LIMIT));
    match level {
        1 => tracing::error!(target: "offshoot::remote", context, origin = target, "{text}"),
        2 => tracing::warn!(target: "offshoot::remote", context, origin = target, "{text}"),
        3 => tracing::info!(target: "offshoot::remote", context, origin = target, "{text}"),
        4 => tracing::debug!(target: "offshoot::remote", context, origin = target, "{text}"),
        _ => tracing::trace!(target: "offshoot::remote", context, origin = target, "{text}"),
    }
}

thread_local! {
    static SENDING: Cell<bool> = const { Cell::new(false) };
}

/// The subscriber of an agent: events go up, spans do not.
pub(crate) struct Forward(pub Weak<Shared>);

impl Subscriber for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && self.0.upgrade().is_some_and(|shared| {
                number_of(*metadata.level()) <= shared.log_level.load(Ordering::Relaxed)
            })
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        // An event that is made while the node is locked cannot be sent from here; such events are the node's own.
        if SENDING.replace(true) {
            return;
        }
        let mut text = Text(String::new());
        event.record(&mut text);
        let record = encode(*event.metadata().level(), event.metadata().target(), &text.0);
        if let Some(shared) = self.0.upgrade() {
            shared.log_later(record);
        }
        SENDING.set(false);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Text(String);

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        self.0.push_str(value);
    }
    // Not by the library's exact formatting, which is larger than this whole module.
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.name(field);
        let millionths = (value.abs().fract() * 1e6) as u32;
        let sign = if value < 0.0 { "-" } else { "" };
        let _ = write!(self.0, "{sign}{}.{millionths:06}", value.abs() as u64);
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.name(field);
        let _ = write!(self.0, "{}", Shown(value));
    }
}

impl Text {
    fn name(&mut self, field: &Field) {
        if field.name() != "message" {
            let _ = write!(self.0, " {}=", field.name());
        }
    }
}

/// An agent is built without the code behind `{:?}`; what a value itself implements is still there.
struct Shown<'a>(&'a dyn fmt::Debug);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
