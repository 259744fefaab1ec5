//! The subscriber of an agent: events become log records, with the names and fields of their spans.
//!
//! Nothing here may take the node's lock: the thread that logs may hold it, and may be any thread
//! of a user's function.

use crate::log::spans::Spans;
use crate::log::text::Text;
use crate::runtime::handle::NodeHandle;
use offshoot_proto::log::LogRecord;
use offshoot_proto::log::TEXT_LIMIT;
use offshoot_proto::log::number_of;
use std::cell::Cell;
use std::sync::Weak;
use tracing::Event;
use tracing::Metadata;
use tracing::Subscriber;
use tracing::span::Attributes;
use tracing::span::Id;
use tracing::span::Record;
use tracing::subscriber::Interest;
use tracing_core::span::Current;

thread_local! {
    static SENDING: Cell<bool> = const { Cell::new(false) };
}

/// The subscriber of an agent, which sends events to the root.
pub(crate) struct Forward {
    shared: Weak<NodeHandle>,
    spans: Spans,
}

impl Forward {
    /// Sends everything that this process logs from now on to the root.
    pub(crate) fn install(shared: Weak<NodeHandle>) {
        if let Some(shared) = shared.upgrade() {
            shared
                .logs
                .refresh_by(tracing::callsite::rebuild_interest_cache);
        }
        // An agent of a program may have installed a subscriber already, which then stays.
        let _ = tracing::subscriber::set_global_default(Self {
            shared,
            spans: Spans::default(),
        });
    }
}

impl Subscriber for Forward {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.shared
            .upgrade()
            .is_some_and(|shared| shared.logs.wants(*metadata.level(), metadata.target()))
    }
    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        self.spans.begin(attributes)
    }
    fn record(&self, id: &Id, values: &Record<'_>) {
        self.spans.record(id, values);
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        // An event inside the formatting of an event's fields would recurse without end.
        if SENDING.replace(true) {
            return;
        }
        let span = self.spans.around(event);
        let mut text = Text::of(TEXT_LIMIT - span.len());
        event.record(&mut text);
        let metadata = event.metadata();
        if let Some(shared) = self.shared.upgrade() {
            shared.log_later(LogRecord {
                level: number_of(*metadata.level()),
                target: metadata.target().into(),
                message: text.message,
                fields: text.fields,
                span,
            });
        }
        SENDING.set(false);
    }
    fn enter(&self, id: &Id) {
        self.spans.enter(id);
    }
    fn exit(&self, id: &Id) {
        self.spans.exit(id);
    }
    fn clone_span(&self, id: &Id) -> Id {
        self.spans.more(id)
    }
    fn try_close(&self, id: Id) -> bool {
        self.spans.less(&id)
    }
    fn current_span(&self) -> Current {
        self.spans.current()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::image_store::Images;
    use offshoot_proto::node::Node;
    use std::fmt;
    use std::sync::Arc;

    /// Returns the records that `work` logs under `filter`.
    fn logged_by(filter: &str, work: impl FnOnce()) -> Vec<LogRecord> {
        let images = Images::found(Box::new(|_| Err(offshoot_proto::Error::ShutDown)));
        let shared = NodeHandle::new(Node::agent().0, images).unwrap();
        shared.logs.set_filter(filter.parse().unwrap());
        let forward = Forward {
            shared: Arc::downgrade(&shared),
            spans: Spans::default(),
        };
        tracing::subscriber::with_default(forward, work);
        shared.logs.take()
    }

    fn texts(records: &[LogRecord]) -> Vec<(&str, &str, &str)> {
        records
            .iter()
            .map(|record| (&*record.message, &*record.fields, &*record.span))
            .collect()
    }

    #[test]
    fn fields_of_every_type_are_written_in_order() {
        struct Own;
        impl fmt::Debug for Own {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("own")
            }
        }
        let records = logged_by("info", || {
            tracing::info!(a = 1, b = -2i64, c = true, d = 1.25, e = "text", f = %"shown", g = ?Own, h = u128::MAX, "{} of {}", 1, 2);
            tracing::info!(alone = 1);
            tracing::debug!("not wanted");
        });
        let fields = format!(
            "a=1 b=-2 c=true d=1.250000 e=text f=shown g=own h={}",
            u128::MAX
        );
        assert_eq!(
            texts(&records),
            [("1 of 2", fields.as_str(), ""), ("", "alone=1", "")]
        );
    }

    #[test]
    fn a_span_path_starts_outermost_and_a_span_ends_with_its_last_handle() {
        let records = logged_by("info", || {
            let outer = tracing::info_span!("outer", x = 1, y = tracing::field::Empty);
            let kept = outer.clone();
            outer.in_scope(|| {
                tracing::info!("one");
                let inner = tracing::info_span!("inner");
                kept.record("y", 2);
                let _inside = inner.enter();
                tracing::info!("two");
                tracing::debug_span!("not wanted").in_scope(|| tracing::info!("three"));
                tracing::info!(parent: &kept, "four");
                tracing::info!(parent: None, "five");
                tracing::info_span!(parent: None, "apart").in_scope(|| tracing::info!("six"));
                tracing::Span::current().in_scope(|| tracing::info!("seven"));
            });
            drop((outer, kept));
            tracing::info!("eight");
            // The entry of a span that has ended is used again.
            tracing::info_span!("next").in_scope(|| tracing::info!("nine"));
        });
        let (outer, inner) = ("outer{x=1 y=2}", "outer{x=1 y=2}:inner");
        let expected = [
            ("one", "outer{x=1}"),
            ("two", inner),
            ("three", inner),
            ("four", outer),
            ("five", ""),
            ("six", "apart"),
            ("seven", inner),
            ("eight", ""),
            ("nine", "next"),
        ];
        let seen: Vec<(&str, &str)> = records
            .iter()
            .map(|record| (&*record.message, &*record.span))
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_thread_is_only_in_spans_that_it_entered() {
        let records = logged_by("info", || {
            tracing::info_span!("here").in_scope(|| {
                let (dispatch, span) = (
                    tracing::dispatcher::get_default(Clone::clone),
                    tracing::Span::current(),
                );
                std::thread::scope(|threads| {
                    threads.spawn(|| {
                        tracing::dispatcher::with_default(&dispatch, || {
                            tracing::info!("bare");
                            span.in_scope(|| tracing::info!("given"));
                        });
                    });
                });
            });
        });
        assert_eq!(texts(&records), [("bare", "", ""), ("given", "", "here")]);
    }

    #[test]
    fn the_number_and_length_of_spans_are_bounded() {
        let records = logged_by("info", || {
            let all: Vec<_> = (0..5000)
                .map(|number| tracing::info_span!("one", number))
                .collect();
            all[4095].in_scope(|| tracing::info!("known"));
            all[4999].in_scope(|| tracing::info!("unknown"));
            drop(all);
            let long = "x".repeat(5000);
            tracing::info_span!("long", long).in_scope(|| {
                tracing::info!(long, "{long}");
                tracing::info_span!("below").in_scope(|| tracing::info!("inside"));
            });
            fn deeper(depth: u32) {
                match depth {
                    0 => tracing::info!("deep"),
                    _ => tracing::info_span!("level", depth).in_scope(|| deeper(depth - 1)),
                }
            }
            deeper(300);
        });
        assert_eq!(
            (&*records[0].span, &*records[1].span),
            ("one{number=4095}", "")
        );
        for record in &records {
            assert!(record.message.len() + record.fields.len() + record.span.len() <= TEXT_LIMIT);
            assert!(record.span.len() <= offshoot_proto::log::SPAN_LIMIT);
        }
        assert!(
            records[2].span.starts_with("long{long=xxx"),
            "{}",
            records[2].span
        );
        assert_eq!(records[3].span, "below");
        assert!(
            records[4].span.ends_with("level{depth=2}:level{depth=1}"),
            "{}",
            records[4].span
        );
    }

    #[test]
    fn a_value_that_logs_while_it_is_formatted_does_not_recurse() {
        struct Talkative;
        impl fmt::Display for Talkative {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                tracing::info!("within");
                tracing::info_span!("span within", value = 1).in_scope(|| f.write_str("talkative"))
            }
        }
        let records = logged_by("info", || {
            tracing::info!(value = %Talkative, "{}", Talkative);
            tracing::info_span!("outer", value = %Talkative).in_scope(|| tracing::info!("after"));
        });
        let seen = texts(&records);
        assert_eq!(seen[0], ("talkative", "value=talkative", ""));
        assert_eq!(seen.last(), Some(&("after", "", "outer{value=talkative}")));
    }
}
