use crate::log::filter::Filter;
use crate::text::shortened;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use offshoot_codec as codec;
use serde::Deserialize;
use serde::Serialize;
use tracing::Level;

/// A log record as it travels.
#[derive(Serialize, Deserialize)]
pub struct LogRecord {
    pub level: u8,
    pub target: String,
    pub message: String,
    /// `a=1 b=2`.
    pub fields: String,
    /// `outer{x=1}:inner`.
    pub span: String,
}

/// The most of one record's texts that travels, in bytes.
pub const TEXT_LIMIT: usize = 8 << 10;

/// The most of its spans.
pub const SPAN_LIMIT: usize = 1 << 10;

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

    pub fn is_wanted(&self, filter: &Filter) -> bool {
        self.level <= filter.level_of(&self.target)
    }
}
