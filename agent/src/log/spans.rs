//! The spans of an agent, as far as its log records need them: names, fields, and who is inside of whom.
//!
//! What a span's fields say is written before the lock is taken: a value's own code may begin spans of its own.

use crate::log::text::Text;
use offshoot_proto::log::SPAN_LIMIT;
use offshoot_proto::text::shortened;
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use tracing::Event;
use tracing::Metadata;
use tracing::span::Attributes;
use tracing::span::Id;
use tracing::span::Record;
use tracing_core::span::Current;

/// How many spans are known at once. Further ones have no name, and what is inside of them no path.
const KNOWN: usize = 4096;

/// The number of those.
const UNKNOWN: u64 = KNOWN as u64 + 1;

/// The number of no span.
const NONE: u64 = 0;

/// One span.
struct Span {
    metadata: &'static Metadata<'static>,
    fields: String,
    parent: u64,
    /// How many handles and spans inside of it there are; at 0 its place is free.
    users: usize,
}

/// All of this process: the span with number n is at n - 1.
#[derive(Default)]
pub(crate) struct Spans(Mutex<Vec<Span>>);

thread_local! {
    /// The spans that this thread is in, the innermost last.
    static ENTERED: Cell<Vec<u64>> = const { Cell::new(Vec::new()) };
}

/// A thread at its very end is in no span any more.
fn entered<T: Default>(work: impl FnOnce(&mut Vec<u64>) -> T) -> T {
    let look = |entered: &Cell<Vec<u64>>| {
        let mut spans = entered.take();
        let result = work(&mut spans);
        entered.set(spans);
        result
    };
    ENTERED.try_with(look).unwrap_or_default()
}

fn innermost() -> u64 {
    entered(|entered| entered.last().copied().unwrap_or(NONE))
}

fn number_of(id: &Id) -> u64 {
    id.into_u64()
}

fn span_of(spans: &mut [Span], number: u64) -> Option<&mut Span> {
    spans.get_mut((number as usize).wrapping_sub(1))
}

fn say(text: Text) -> String {
    let separator = if text.message.is_empty() || text.fields.is_empty() { "" } else { " " };
    [text.message.as_str(), separator, &text.fields].concat()
}

impl Spans {
    fn lock(&self) -> MutexGuard<'_, Vec<Span>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A span begins, with one handle on it.
    pub fn begin(&self, attributes: &Attributes<'_>) -> Id {
        let mut text = Text::of(SPAN_LIMIT);
        attributes.record(&mut text);
        let parent = match attributes.parent() {
            Some(parent) => number_of(parent),
            None if attributes.is_root() => NONE,
            None => innermost(),
        };
        let mut spans = self.lock();
        let at = spans.iter().position(|span| span.users == 0).unwrap_or(spans.len());
        if at == KNOWN {
            return Id::from_u64(UNKNOWN);
        }
        if let Some(parent) = span_of(&mut spans, parent) {
            parent.users += 1;
        }
        let span = Span { metadata: attributes.metadata(), fields: say(text), parent, users: 1 };
        if at == spans.len() {
            spans.push(span);
        } else {
            spans[at] = span;
        }
        Id::from_u64(at as u64 + 1)
    }

    /// More fields of a span.
    pub fn record(&self, id: &Id, values: &Record<'_>) {
        let mut text = Text::of(SPAN_LIMIT);
        values.record(&mut text);
        let more = say(text);
        if let Some(span) =
            span_of(&mut self.lock(), number_of(id)).filter(|span| span.fields.len() < SPAN_LIMIT)
        {
            if !span.fields.is_empty() {
                span.fields.push(' ');
            }
            span.fields.push_str(&more);
        }
    }

    /// This thread goes into a span.
    pub fn enter(&self, id: &Id) {
        entered(|entered| entered.push(number_of(id)));
    }

    /// This thread comes out of a span.
    pub fn exit(&self, id: &Id) {
        entered(|entered| {
            if let Some(at) = entered.iter().rposition(|number| *number == number_of(id)) {
                entered.remove(at);
            }
        });
    }

    /// One more handle on a span.
    pub fn more(&self, id: &Id) -> Id {
        if let Some(span) = span_of(&mut self.lock(), number_of(id)) {
            span.users += 1;
        }
        id.clone()
    }

    /// One handle less. Returns true if that was the last one.
    pub fn less(&self, id: &Id) -> bool {
        let mut spans = self.lock();
        let mut number = number_of(id);
        let mut over = false;
        // With the last of what is inside of them, those around it may be over as well.
        while let Some(span) = span_of(&mut spans, number).filter(|span| span.users > 0) {
            span.users -= 1;
            if span.users > 0 {
                break;
            }
            span.fields = String::new();
            over |= number == number_of(id);
            number = span.parent;
        }
        over
    }

    /// The innermost span that this thread is in.
    pub fn current(&self) -> Current {
        let number = innermost();
        match span_of(&mut self.lock(), number) {
            Some(span) => Current::new(Id::from_u64(number), span.metadata),
            None => Current::none(),
        }
    }

    /// The spans around an event: `outer{x=1}:inner`.
    pub fn around(&self, event: &Event<'_>) -> String {
        let mut number = match event.parent() {
            Some(parent) => number_of(parent),
            None if event.is_root() => NONE,
            None => innermost(),
        };
        let mut path = String::new();
        let mut spans = self.lock();
        while let Some(span) = span_of(&mut spans, number) {
            let (open, close) = if span.fields.is_empty() { ("", "") } else { ("{", "}") };
            let separator = if path.is_empty() { "" } else { ":" };
            let piece = [span.metadata.name(), open, &span.fields, close, separator].concat();
            if path.len() + piece.len() > SPAN_LIMIT {
                // Of too many the innermost.
                let rest = if path.is_empty() { shortened(&piece, SPAN_LIMIT) } else { "" };
                path.push_str(rest);
                break;
            }
            path.insert_str(0, &piece);
            number = span.parent;
        }
        path
    }
}
