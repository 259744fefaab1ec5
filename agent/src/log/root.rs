//! Log records at the root: each becomes an event of the program's own subscriber.
//!
//! Nothing here may take the node's lock: the thread that logs may hold it.

use offshoot_codec as codec;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::log::Filter;
use offshoot_proto::log::IO_TARGET;
use offshoot_proto::log::LOG_VARIABLE;
use offshoot_proto::log::LogRecord;
use offshoot_proto::log::SPAN_LIMIT;
use offshoot_proto::log::TEXT_LIMIT;
use offshoot_proto::node::ShownFrame;
use offshoot_proto::text::harmless;
use offshoot_proto::text::shortened;
use offshoot_proto::wire::Header;
use std::io::Write as _;

/// The most characters of a record's target that are shown.
const TARGET_LIMIT: usize = 256;

/// Returns the filter in the variable [`LOG_VARIABLE`], where that is set and not empty.
///
/// # Errors
/// Returns an error if it is no filter.
pub fn filter_from_env() -> Result<Option<Filter>, Error> {
    let Some(text) = std::env::var_os(LOG_VARIABLE).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let filter = text
        .to_string_lossy()
        .parse::<Filter>()
        .map_err(|error| Error::System {
            action: format!("reading the variable {LOG_VARIABLE}"),
            detail: error.to_string(),
        })?;
    Ok(Some(filter))
}

/// Logs a record that has reached the root, under the name of its context.
pub(crate) fn arrived(context: &str, id: ContextId, bytes: &[u8]) {
    let context_id = id.0;
    let Ok(LogRecord {
        level,
        target,
        message,
        fields,
        span,
    }) = codec::from_own::<LogRecord>(bytes)
    else {
        tracing::warn!(target: "offshoot::remote", context, context_id, "a log record that cannot be read");
        return;
    };
    // The sender is not trusted to keep the limits, nor to leave out control characters.
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
    if !tracing::dispatcher::has_been_set() && matches!(&*origin, "stdout" | "stderr") {
        // Nothing else would show it. A closed stderr shows nothing either.
        let _ = writeln!(std::io::stderr(), "{context}: {message}");
        return;
    }
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

/// Logs the header of a frame that this process has sent or received. The payload is never logged.
pub(crate) fn frame(shown: &ShownFrame) {
    let ShownFrame {
        came,
        link,
        header,
        length,
    } = *shown;
    let Header {
        kind,
        flags,
        dst,
        src,
        auth,
        handle,
        reply_to,
        streams,
        answering,
        offset,
    } = header;
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

#[cfg(test)]
mod tests {
    use super::*;
    use offshoot_proto::log::number_of;
    use std::fmt::Debug;
    use std::sync::{Arc, Mutex};
    use tracing::Level;
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
            let (target, level) = (
                event.metadata().target().to_owned(),
                *event.metadata().level(),
            );
            self.0.lock().unwrap().push((target, level, fields.0));
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    /// Returns the event that a record becomes at the root.
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
        fields
            .iter()
            .find(|(other, _)| other == name)
            .map_or("", |(_, value)| value)
    }

    #[test]
    fn a_record_becomes_an_event_with_its_level_and_context_name() {
        let levels = [
            Level::ERROR,
            Level::WARN,
            Level::INFO,
            Level::DEBUG,
            Level::TRACE,
        ];
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
        assert!(
            !fields
                .iter()
                .any(|(name, _)| name == "fields" || name == "span"),
            "{fields:?}"
        );
    }

    /// Returns a record with texts of every kind and length, which may be damaged.
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
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % limit
        };
        let mut text = || {
            let length = [0, 3, 40, 3000, 20_000][next(5) as usize];
            (0..length)
                .map(|_| PIECES[next(PIECES.len() as u64) as usize])
                .collect::<String>()
        };
        let (target, message, fields, span) = (text(), text(), text(), text());
        let record = LogRecord {
            level: next(256) as u8,
            target,
            message,
            fields,
            span,
        };
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
                    [
                        "context",
                        "context_id",
                        "origin",
                        "message",
                        "fields",
                        "span"
                    ]
                    .contains(&name.as_str())
                );
                assert!(
                    !value.chars().any(|c| c.is_control() && c != '\t'),
                    "{seed}: {name}: {value:?}"
                );
                // A replaced character takes three bytes instead of one.
                sum += if name == "origin" {
                    0
                } else {
                    value
                        .chars()
                        .map(|c| if c == '\u{fffd}' { 1 } else { c.len_utf8() })
                        .sum()
                };
            }
            assert!(sum <= TEXT_LIMIT + 16, "{seed}: {sum} bytes");
            assert!(field(&fields, "origin").chars().count() <= TARGET_LIMIT);
            assert!(field(&fields, "span").chars().count() <= SPAN_LIMIT);
        }
    }
}
