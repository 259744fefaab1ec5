//! The trace of a run: a hash for comparing two runs, and text for people.

use super::rng::mixed;

/// The trace of one run.
#[derive(Default)]
pub(crate) struct Trace {
    sum: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// Creates a trace that keeps every line if `record`, and otherwise only their hash.
    pub(crate) fn new(record: bool) -> Self {
        Self {
            sum: 0,
            lines: record.then(Vec::new),
        }
    }

    /// Records that `what` happened at `now`, with up to three numbers.
    pub(crate) fn note(&mut self, now: u64, what: &'static str, numbers: [u64; 3]) {
        let mut sum = self.sum ^ now;
        for byte in what.bytes() {
            sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        for number in numbers {
            sum = mixed(sum ^ number).rotate_left(7);
        }
        self.sum = sum;
        if let Some(lines) = &mut self.lines {
            let [a, b, c] = numbers;
            lines.push(format!("{now:>10} {what} {a} {b} {c}"));
        }
    }

    /// Returns the hash, which is equal for equal traces.
    pub(crate) fn sum(&self) -> u64 {
        self.sum
    }

    /// Returns the lines, if they were kept.
    pub(crate) fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
