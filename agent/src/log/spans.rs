//! The spans of an agent, as far as its log records need them: names, fields, and nesting.
//!
//! Fields are formatted before the lock is taken: the `Debug` code of a value may begin spans.

use crate::log::text::Text;
use crate::runtime::extensions::locked;
use offshoot_proto::log::SPAN_LIMIT;
use offshoot_proto::text::shortened;
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::MutexGuard;
use tracing::Event;
use tracing::Metadata;
use tracing::span::Attributes;
use tracing::span::Id;
use tracing::span::Record;
use tracing_core::span::Current;

/// The most spans that are known at once. Further ones have no name, and no path inside them.
const KNOWN: usize = 4096;

/// The number of every span beyond [`KNOWN`].
const UNKNOWN: u64 = KNOWN as u64 + 1;

/// The number of no span.
const NONE: u64 = 0;

/// One span.
struct Span {
    metadata: &'static Metadata<'static>,
    fields: String,
    parent: u64,
    /// The number of handles on it and of spans inside it; at 0 the entry is free.
    users: usize,
}

/// All spans of this process. The span with number n is at index n - 1.
#[derive(Default)]
pub(crate) struct Spans(Mutex<Vec<Span>>);

thread_local! {
    /// The spans that this thread has entered, the innermost last.
    static ENTERED: Cell<Vec<u64>> = const { Cell::new(Vec::new()) };
}

/// Changes the spans of this thread; a thread that has dropped its locals is in none.
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
    let separator = if text.message.is_empty() || text.fields.is_empty() {
        ""
    } else {
        " "
    };
    [text.message.as_str(), separator, &text.fields].concat()
}

impl Spans {
    fn lock(&self) -> MutexGuard<'_, Vec<Span>> {
        locked(&self.0)
    }

    /// Begins a span, with one handle on it.
    pub(crate) fn begin(&self, attributes: &Attributes<'_>) -> Id {
        let mut text = Text::of(SPAN_LIMIT);
        attributes.record(&mut text);
        let parent = match attributes.parent() {
            Some(parent) => number_of(parent),
            None if attributes.is_root() => NONE,
            None => innermost(),
        };
        let mut spans = self.lock();
        let at = spans
            .iter()
            .position(|span| span.users == 0)
            .unwrap_or(spans.len());
        if at == KNOWN {
            return Id::from_u64(UNKNOWN);
        }
        if let Some(parent) = span_of(&mut spans, parent) {
            parent.users += 1;
        }
        let span = Span {
            metadata: attributes.metadata(),
            fields: say(text),
            parent,
            users: 1,
        };
        if at == spans.len() {
            spans.push(span);
        } else {
            spans[at] = span;
        }
        Id::from_u64(at as u64 + 1)
    }

    /// Adds fields to a span.
    pub(crate) fn record(&self, id: &Id, values: &Record<'_>) {
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

    /// Records that this thread has entered a span.
    pub(crate) fn enter(&self, id: &Id) {
        entered(|entered| entered.push(number_of(id)));
    }

    /// Records that this thread has left a span.
    pub(crate) fn exit(&self, id: &Id) {
        entered(|entered| {
            if let Some(at) = entered.iter().rposition(|number| *number == number_of(id)) {
                entered.remove(at);
            }
        });
    }

    /// Counts one more handle on a span.
    pub(crate) fn more(&self, id: &Id) -> Id {
        if let Some(span) = span_of(&mut self.lock(), number_of(id)) {
            span.users += 1;
        }
        id.clone()
    }

    /// Counts one handle less. Returns true if the span has ended.
    pub(crate) fn less(&self, id: &Id) -> bool {
        let mut spans = self.lock();
        let mut number = number_of(id);
        let mut over = false;
        // The end of a span may also end those around it.
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

    /// Returns the innermost span of this thread.
    pub(crate) fn current(&self) -> Current {
        let number = innermost();
        match span_of(&mut self.lock(), number) {
            Some(span) => Current::new(Id::from_u64(number), span.metadata),
            None => Current::none(),
        }
    }

    /// Returns the spans around an event as a path: `outer{x=1}:inner`.
    pub(crate) fn around(&self, event: &Event<'_>) -> String {
        let mut number = match event.parent() {
            Some(parent) => number_of(parent),
            None if event.is_root() => NONE,
            None => innermost(),
        };
        let mut path = String::new();
        let mut spans = self.lock();
        while let Some(span) = span_of(&mut spans, number) {
            let (open, close) = if span.fields.is_empty() {
                ("", "")
            } else {
                ("{", "}")
            };
            let separator = if path.is_empty() { "" } else { ":" };
            let piece = [span.metadata.name(), open, &span.fields, close, separator].concat();
            if path.len() + piece.len() > SPAN_LIMIT {
                // A path that is too long keeps the innermost spans.
                let rest = if path.is_empty() {
                    shortened(&piece, SPAN_LIMIT)
                } else {
                    ""
                };
                path.push_str(rest);
                break;
            }
            path.insert_str(0, &piece);
            number = span.parent;
        }
        path
    }
}
