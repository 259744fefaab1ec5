//! The fields of an event or a span as text, within a limit.

use offshoot_proto::text::shortened;
use std::fmt::{self, Write};
use tracing::field::{Field, Visit};

/// The text of the fields of an event or a span, up to a limit.
pub(crate) struct Text {
    pub message: String,
    pub fields: String,
    left: usize,
}

/// A writer to one of the texts.
struct Part<'a>(&'a mut String, &'a mut usize);

impl Write for Part<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let part = shortened(text, *self.1);
        self.0.push_str(part);
        *self.1 -= part.len();
        // The rest of a value is not even formatted.
        if part.len() == text.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

impl Text {
    pub(crate) fn of(limit: usize) -> Self {
        Self {
            message: String::new(),
            fields: String::new(),
            left: limit,
        }
    }

    fn part(&mut self, field: &Field) -> Part<'_> {
        let Self {
            message,
            fields,
            left,
        } = self;
        let name = field.name();
        if name == "message" {
            return Part(message, left);
        }
        let separator = if fields.is_empty() { "" } else { " " };
        let mut part = Part(fields, left);
        for text in [separator, name, "="] {
            let _full = part.write_str(text);
        }
        part
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        let _full = self.part(field).write_str(value);
    }
    // The exact formatting of the standard library is larger than this whole module.
    fn record_f64(&mut self, field: &Field, value: f64) {
        let millionths = (value.abs().fract() * 1e6) as u32;
        let sign = if value < 0.0 { "-" } else { "" };
        let _full = write!(
            self.part(field),
            "{sign}{}.{millionths:06}",
            value.abs() as u64
        );
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _full = write!(self.part(field), "{}", Shown(value));
    }
}

/// Formats a value by its own `Debug`: an agent is built without the code behind `{:?}`.
struct Shown<'a>(&'a dyn fmt::Debug);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
