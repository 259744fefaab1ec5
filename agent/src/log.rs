//! Log records on their way to the root: kept by an agent until it may send them, and made events of the program's own at the root.
//!
//! Nothing here may take the node's lock: whoever logs may hold it.

use crate::codec;
use crate::filter::{Filter, IO_TARGET};
use crate::id::ContextId;
use crate::node::ShownFrame;
use crate::text::{harmless, shortened};
use crate::wire::Header;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing::Level;

/// A log record as it travels.
#[derive(Serialize, Deserialize)]
pub(crate) struct LogRecord {
    pub level: u8,
    pub target: String,
    pub message: String,
    /// `a=1 b=2`.
    pub fields: String,
    /// `outer{x=1}:inner`.
    pub span: String,
}

/// The most of one record's texts that travels, in bytes.
pub(crate) const TEXT_LIMIT: usize = 8 << 10;
/// The most of the name of its origin that is shown.
const TARGET_LIMIT: usize = 256;
/// The most of its spans.
pub(crate) const SPAN_LIMIT: usize = 1 << 10;
/// How many records may wait for the broker.
const WAITING: usize = 256;

/// The target of what this crate itself logs.
pub(crate) const OWN_TARGET: &str = "offshoot_agent";

/// A log record for the subscriber of a program that is no agent.
pub(crate) enum Entry {
    /// A record of a context below, by the context's name and number, as it came.
    Remote(Arc<str>, ContextId, Vec<u8>),
    /// A text of this crate's own.
    Own(Level, String),
    /// A frame of this process.
    Frame(ShownFrame),
}

impl Entry {
    /// Returns the length of its text in bytes.
    pub fn length(&self) -> usize {
        match self {
            Entry::Remote(_, _, bytes) => bytes.len(),
            Entry::Own(_, text) => text.len(),
            Entry::Frame(_) => 0,
        }
    }
}

/// Where log records go in a program that is no agent. It is called with the node locked, so it
/// neither waits nor calls anything of the program's.
pub(crate) trait Outlet: Send + Sync {
    /// Takes a record, or counts it where there is no room.
    fn put(&self, entry: Entry);
    /// Takes no more, and waits a short while for what it has taken to be written.
    fn close(&self);
}

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

impl LogRecord {
    /// A record that is a text alone.
    pub fn of(level: Level, target: &str, text: &str) -> LogRecord {
        LogRecord {
            level: number_of(level),
            target: target.into(),
            message: shortened(text, TEXT_LIMIT).into(),
            fields: String::new(),
            span: String::new(),
        }
    }

    /// That records were lost.
    pub fn of_lost(count: u32) -> LogRecord {
        let text = format!("{count} log records were too many here and are dropped");
        LogRecord::of(Level::WARN, module_path!(), &text)
    }

    pub fn encode(&self) -> Vec<u8> {
        codec::own(self)
    }

    fn is_wanted(&self, filter: &Filter) -> bool {
        self.level <= filter.level_of(&self.target)
    }
}

/// A record has reached the root: it becomes an event of the program's own subscriber, under the context's name.
pub(crate) fn arrived(context: &str, id: ContextId, bytes: &[u8]) {
    let context_id = id.0;
    let Ok(LogRecord { level, target, message, fields, span }) = codec::from_own::<LogRecord>(bytes) else {
        tracing::warn!(target: "offshoot::remote", context, context_id, "a log record that cannot be read");
        return;
    };
    // Who sends it need not have kept to the limits, nor to what harms no terminal.
    let mut left = TEXT_LIMIT;
    let mut shown = |text: &str, limit: usize| {
        let text = shortened(text, limit.min(left));
        left -= text.len();
        harmless(text)
    };
    let span = Some(shown(&span, SPAN_LIMIT)).filter(|text| !text.is_empty());
    let message = shown(&message, TEXT_LIMIT);
    let fields = Some(shown(&fields, TEXT_LIMIT)).filter(|text| !text.is_empty());
    let origin = harmless(shortened(&target, TARGET_LIMIT));
    let (fields, span) = (fields.as_deref(), span.as_deref());
    macro_rules! event {
        ($name:ident) => {
            tracing::$name!(target: "offshoot::remote", context, context_id, origin, fields, span, "{message}")
        };
    }
    match level {
        1 => event!(error),
        2 => event!(warn),
        3 => event!(info),
        4 => event!(debug),
        _ => event!(trace),
    }
}

/// A frame of this process has come or gone. Its payload is nobody's business.
pub(crate) fn frame(shown: &ShownFrame) {
    let ShownFrame { came, link, header, length } = *shown;
    let Header { kind, flags, dst, src, auth, handle, reply_to, streams, answering, offset } = header;
    tracing::trace!(
        target: IO_TARGET,
        link = link.0,
        dst = dst.0,
        src = src.0,
        auth = auth.0,
        handle = handle.0,
        reply_to = reply_to.0,
        flags = flags.0,
        streams,
        answering,
        offset,
        length,
        "{} {kind:?}",
        if came { "received" } else { "sent" }
    );
}

/// The records of this process that wait for its broker, and which of them are wanted.
#[derive(Default)]
pub(crate) struct Logs(Mutex<State>);

#[derive(Default)]
struct State {
    /// None before the parent has said it: until then records are kept.
    filter: Option<Filter>,
    /// Has every place in the code that logs ask again whether that is wanted.
    refresh: Option<fn()>,
    waiting: Vec<LogRecord>,
    lost: u32,
}

impl Logs {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what is wanted from now on, of what waits as well.
    pub fn set_filter(&self, filter: Filter) {
        let mut state = self.lock();
        state.filter = Some(filter);
        let refresh = state.refresh;
        drop(state);
        if let Some(refresh) = refresh {
            refresh();
        }
    }

    /// Has `refresh` called when something else is wanted.
    pub fn refresh_by(&self, refresh: fn()) {
        self.lock().refresh = Some(refresh);
    }

    /// What is wanted.
    pub fn filter(&self) -> Filter {
        self.lock().filter.clone().unwrap_or_default()
    }

    /// Whether it is known what is wanted.
    pub fn are_known(&self) -> bool {
        self.lock().filter.is_some()
    }

    /// Whether records of this kind are wanted, as far as is known.
    pub fn wants(&self, level: Level, target: &str) -> bool {
        self.lock().filter.as_ref().is_none_or(|filter| number_of(level) <= filter.level_of(target))
    }

    /// Keeps a record for the broker. Whether it has to be told.
    pub fn keep(&self, record: LogRecord) -> bool {
        let mut state = self.lock();
        let room = state.waiting.len() < WAITING;
        if room {
            state.waiting.push(record);
        } else {
            state.lost = state.lost.saturating_add(1);
        }
        room
    }

    /// What is to go up now, and at last how much was lost. Nothing before it is known what is wanted.
    pub fn take(&self) -> Vec<LogRecord> {
        let mut state = self.lock();
        let State { filter: Some(filter), waiting, lost, .. } = &mut *state else { return Vec::new() };
        let mut records = std::mem::take(waiting);
        records.retain(|record| record.is_wanted(filter));
        match std::mem::take(lost) {
            0 => {}
            lost => records.push(LogRecord::of_lost(lost)),
        }
        records
    }
}

/// The lines that this process prints to one of its streams, of whatever bytes. A line that is too long comes in pieces.
#[derive(Default)]
pub(crate) struct Lines(Vec<u8>);

impl Lines {
    /// Takes bytes, and gives the lines that they finish.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            let ends = matches!(byte, b'\n' | b'\r');
            // No character is cut in two where there are characters.
            let length = self.0.len();
            let full = length > TEXT_LIMIT - 4 && (byte & 0xC0 != 0x80 || length == TEXT_LIMIT);
            if ends || full {
                lines.extend(self.rest());
            }
            if !ends {
                self.0.push(*byte);
            }
        }
        lines
    }

    /// What no end of a line has come for.
    pub fn rest(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.0);
        Some(String::from_utf8_lossy(&line).into_owned()).filter(|line| !line.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    /// The events of a test: target, level, and fields by name.
    type Seen = Arc<Mutex<Vec<(String, Level, Vec<(String, String)>)>>>;

    struct Capture(Seen);

    struct Fields(Vec<(String, String)>);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0.push((field.name().into(), format!("{value:?}")));
        }
        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.push((field.name().into(), value.into()));
        }
    }

    impl Subscriber for Capture {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            let mut fields = Fields(Vec::new());
            event.record(&mut fields);
            let (target, level) = (event.metadata().target().to_owned(), *event.metadata().level());
            self.0.lock().unwrap().push((target, level, fields.0));
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    /// What becomes of a record at the root.
    fn event_of(bytes: &[u8]) -> (Level, Vec<(String, String)>) {
        let seen = Seen::default();
        tracing::subscriber::with_default(Capture(Arc::clone(&seen)), || {
            arrived("ssh.web1", ContextId(7), bytes);
        });
        let mut seen = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(seen.len(), 1, "one record is one event");
        let (target, level, fields) = seen.remove(0);
        assert_eq!(target, "offshoot::remote");
        (level, fields)
    }

    fn field<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
        fields.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
    }

    #[test]
    fn a_record_becomes_an_event_with_its_level_and_context_name() {
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        for level in levels {
            let record = LogRecord {
                level: number_of(level),
                target: "my_agent::disk".into(),
                message: "almost full".into(),
                fields: "free=17".into(),
                span: "outer{x=1}:inner".into(),
            };
            let (seen, fields) = event_of(&record.encode());
            assert_eq!(seen, level);
            let expected = [
                ("context", "ssh.web1"),
                ("context_id", "7"),
                ("origin", "my_agent::disk"),
                ("message", "almost full"),
                ("fields", "free=17"),
                ("span", "outer{x=1}:inner"),
            ];
            for (name, value) in expected {
                assert_eq!(field(&fields, name), value);
            }
            assert_eq!(fields.len(), expected.len());
        }
        let (_, fields) = event_of(&LogRecord::of(Level::INFO, "stdout", "bare").encode());
        assert!(!fields.iter().any(|(name, _)| name == "fields" || name == "span"), "{fields:?}");
    }

    /// Bytes that are a record with texts of every kind and length, or nearly one, or none.
    fn hostile(seed: u64) -> Vec<u8> {
        const PIECES: [&str; 12] = [
            "a",
            "\n",
            "\r",
            "\x1b[2J",
            "\0",
            "\u{9b}",
            "\t",
            "\u{1f980}",
            "\u{e4}",
            " origin=",
            "\u{7f}",
            "long enough ",
        ];
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = |limit: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % limit
        };
        let mut text = || {
            let length = [0, 3, 40, 3000, 20_000][next(5) as usize];
            (0..length).map(|_| PIECES[next(PIECES.len() as u64) as usize]).collect::<String>()
        };
        let (target, message, fields, span) = (text(), text(), text(), text());
        let record = LogRecord { level: next(256) as u8, target, message, fields, span };
        let mut bytes = record.encode();
        match next(4) {
            0 => bytes.truncate(next(bytes.len() as u64 + 1) as usize),
            1 => {
                let at = next(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << next(8);
            }
            _ => {}
        }
        bytes
    }

    #[test]
    fn a_hostile_record_becomes_one_bounded_and_sanitized_event() {
        for seed in 0..2000 {
            let bytes = hostile(seed);
            let (_, fields) = event_of(&bytes);
            let mut sum = 0;
            for (name, value) in &fields {
                assert!(
                    ["context", "context_id", "origin", "message", "fields", "span"].contains(&name.as_str())
                );
                assert!(!value.chars().any(|c| c.is_control() && c != '\t'), "{seed}: {name}: {value:?}");
                // Made harmless, a character of one byte takes three.
                sum += if name == "origin" {
                    0
                } else {
                    value.chars().map(|c| if c == '\u{fffd}' { 1 } else { c.len_utf8() }).sum()
                };
            }
            assert!(sum <= TEXT_LIMIT + 16, "{seed}: {sum} bytes");
            assert!(field(&fields, "origin").chars().count() <= TARGET_LIMIT);
            assert!(field(&fields, "span").chars().count() <= SPAN_LIMIT);
        }
    }

    fn message(record: &LogRecord) -> &str {
        &record.message
    }

    #[test]
    fn records_logged_before_the_filter_is_known_are_kept_and_filtered_then() {
        let logs = Logs::default();
        for (level, target) in
            [(Level::TRACE, "a"), (Level::WARN, "b"), (Level::INFO, "a"), (Level::INFO, "b")]
        {
            assert!(logs.wants(level, target));
            logs.keep(LogRecord::of(level, target, &format!("{level} of {target}")));
        }
        assert!(!logs.are_known() && logs.take().is_empty());
        logs.set_filter("warn,a=info".parse().unwrap());
        let taken = logs.take();
        assert_eq!(taken.iter().map(message).collect::<Vec<_>>(), ["WARN of b", "INFO of a"]);
        assert!(logs.are_known() && logs.take().is_empty());
        assert!(logs.wants(Level::INFO, "a::b") && !logs.wants(Level::INFO, "b"));
        // What still waits when another filter comes is sorted out by that one.
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
        assert_eq!(message(&taken[WAITING]), "44 log records were too many here and are dropped");
        assert_eq!(taken[WAITING].level, number_of(Level::WARN));
        assert!(logs.take().is_empty());
    }

    #[test]
    fn lines_do_not_depend_on_how_their_bytes_are_split() {
        let long = "l\u{e4}ng ".repeat(3000);
        let bytes =
            [&b"one\ntwo\r\n\n\xff\xfe\n"[..], long.as_bytes(), b"\n", &[0x80; 9000], b"\n\r last"].concat();
        let whole = |sizes: &[usize]| {
            let (mut lines, mut found, mut rest) = (Lines::default(), Vec::new(), &bytes[..]);
            for size in sizes.iter().cycle() {
                let (piece, more) = rest.split_at((*size).min(rest.len()));
                found.extend(lines.feed(piece));
                rest = more;
                if rest.is_empty() {
                    break;
                }
            }
            found.extend(lines.rest());
            assert_eq!(lines.rest(), None);
            found
        };
        let expected = whole(&[usize::MAX]);
        assert_eq!(expected[..3], ["one", "two", "\u{fffd}\u{fffd}"]);
        assert_eq!(expected.last().map(String::as_str), Some(" last"));
        let (long_pieces, other): (Vec<_>, Vec<_>) =
            expected.iter().partition(|line| line.starts_with('l') || line.contains("ng"));
        assert_eq!(long_pieces.into_iter().cloned().collect::<String>(), long);
        assert!(expected.iter().all(|line| line.chars().count() <= TEXT_LIMIT));
        assert_eq!(other.iter().map(|line| line.matches('\u{fffd}').count()).sum::<usize>(), 9002);
        for sizes in [&[1][..], &[2, 3], &[8191], &[8192], &[8193, 1], &[4096, 7]] {
            assert_eq!(whole(sizes), expected, "{sizes:?}");
        }
    }
}
