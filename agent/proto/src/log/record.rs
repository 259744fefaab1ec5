//! Log records, and their encoding.

use crate::log::filter::Filter;
use crate::text::shortened;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use offshoot_codec as codec;
use serde::Deserialize;
use serde::Serialize;
use tracing::Level;

/// A log record.
#[derive(Serialize, Deserialize)]
pub struct LogRecord {
    /// Level: 1 error to 5 trace.
    pub level: u8,
    /// Target.
    pub target: String,
    /// Message.
    pub message: String,
    /// Fields, as `a=1 b=2`.
    pub fields: String,
    /// Spans, as `outer{x=1}:inner`.
    pub span: String,
}

/// Maximum total length in bytes of a record's texts.
pub const TEXT_LIMIT: usize = 8 << 10;

/// Maximum length in bytes of a record's spans.
pub const SPAN_LIMIT: usize = 1 << 10;

/// Returns the number of a level: 1 error to 5 trace.
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
    /// Creates a record with a message only.
    pub fn of(level: Level, target: &str, text: &str) -> Self {
        Self {
            level: number_of(level),
            target: target.into(),
            message: shortened(text, TEXT_LIMIT).into(),
            fields: String::new(),
            span: String::new(),
        }
    }

    /// Creates a record that reports lost records.
    pub fn of_lost(count: u32) -> Self {
        let text = format!("{count} log records were too many here and are dropped");
        Self::of(Level::WARN, module_path!(), &text)
    }

    /// Returns the encoded record.
    pub fn encode(&self) -> Vec<u8> {
        codec::own(self)
    }

    /// Returns true if `filter` admits the record.
    pub fn is_wanted(&self, filter: &Filter) -> bool {
        self.level <= filter.level_of(&self.target)
    }
}
