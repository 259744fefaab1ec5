//! Times, for people and for programs.

use serde_json::Value;
use std::time::Duration;

/// Returns a time as a JSON number of milliseconds.
pub(super) fn ms(time: Duration) -> Value {
    (time.as_micros() as f64 / 1e3).into()
}

/// Returns a time in a readable unit.
pub(super) fn readable(time: Duration) -> String {
    match time.as_micros() as f64 / 1e3 {
        ms if ms < 10.0 => format!("{ms:.2} ms"),
        ms if ms < 1e4 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1e3),
    }
}
