//! Waiting for many sources at once: replies, receivers, byte streams, programs, timers, contexts
//! that are being connected or end, and other selects. Items come in the order in which they
//! arrive.

use crate::call::function::Remote;
use crate::call::reply::Reply;
use crate::channel::Receiver;
use crate::channel::pipe::Reader;
use crate::context::Context;
use crate::context::disconnect::{DisconnectReason, Disconnection};
use crate::context::timer::Timer;
use crate::hop::connecting::Connecting;
use crate::program::process::Process;
use crate::runtime::extensions::locked;
use crate::runtime::wait::{deadline, wait_until};
use futures_core::Stream;
use offshoot_proto::CallError;
use offshoot_proto::Error;
use offshoot_proto::message::channel::RecvError;
use offshoot_proto::message::exec::ExitStatus;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::task::Wake;
use std::task::Waker;
use std::time::Duration;
use std::time::Instant;

/// A source of items for a [`Select`].
pub trait Source: Send {
    /// The type of the items.
    type Item;
    /// Returns the next item, or none at the end. If no item is there yet, `waker` is woken when
    /// one arrives.
    fn poll_item(&mut self, waker: &Waker) -> Poll<Option<Self::Item>>;
    /// Returns true if the source is known to have ended, without polling it.
    fn is_over(&self) -> bool {
        false
    }
}

/// Polls a future that is dropped once it has completed. Returns its output with the context that
/// the output is about, and none after that.
fn poll_once<W: Future + Unpin>(
    waiting: &mut Option<W>,
    waker: &Waker,
    about: impl FnOnce(&W) -> Context,
) -> Poll<Option<(Context, W::Output)>> {
    let Some(one) = waiting else {
        return Poll::Ready(None);
    };
    let outcome = match Pin::new(&mut *one).poll(&mut std::task::Context::from_waker(waker)) {
        Poll::Pending => return Poll::Pending,
        Poll::Ready(outcome) => outcome,
    };
    let context = about(one);
    *waiting = None;
    Poll::Ready(Some((context, outcome)))
}

/// A reply is a source of one item: the context that answered, and the outcome.
impl<F: Remote> Source for Option<Reply<F>> {
    type Item = (Context, Result<F::Value, CallError<F::Error>>);
    fn poll_item(&mut self, waker: &Waker) -> Poll<Option<Self::Item>> {
        poll_once(self, waker, |reply| reply.context().clone())
    }
    fn is_over(&self) -> bool {
        self.is_none()
    }
}

/// A hop is a source of one item: the new context, and whether it is connected.
impl Source for Option<Connecting> {
    type Item = (Context, Result<(), Error>);
    fn poll_item(&mut self, waker: &Waker) -> Poll<Option<Self::Item>> {
        let item = poll_once(self, waker, Connecting::context);
        item.map(|item| item.map(|(context, outcome)| (context, outcome.map(|_| ()))))
    }
    fn is_over(&self) -> bool {
        self.is_none()
    }
}

/// A timer is a source of one item: whether its time has passed, or the call was cancelled.
impl Source for Option<Timer> {
    type Item = Result<(), Error>;
    fn poll_item(&mut self, waker: &Waker) -> Poll<Option<Self::Item>> {
        let Some(timer) = self else {
            return Poll::Ready(None);
        };
        let ended = timer.poll_end(waker);
        if ended.is_ready() {
            *self = None;
        }
        ended.map(Some)
    }
    fn is_over(&self) -> bool {
        self.is_none()
    }
}

/// The end of a context is a source of one item: the context, and the reason of its end.
impl Source for Option<Disconnection> {
    type Item = (Context, DisconnectReason);
    fn poll_item(&mut self, waker: &Waker) -> Poll<Option<Self::Item>> {
        poll_once(self, waker, |ending| ending.context().clone())
    }
    fn is_over(&self) -> bool {
        self.is_none()
    }
}

/// A program is a source of one item: its context, and its exit status. Its stdin is closed, and
/// its output on streams that were not taken is discarded.
impl Source for Option<Process> {
    type Item = (Context, Result<ExitStatus, Error>);
    fn poll_item(&mut self, waker: &Waker) -> Poll<Option<Self::Item>> {
        poll_once(self, waker, |program| program.context.clone())
    }
    fn is_over(&self) -> bool {
        self.is_none()
    }
}

/// A byte stream is a source of chunks. A stream that breaks off ends with an error.
impl Source for Reader {
    type Item = io::Result<Vec<u8>>;
    fn poll_item(&mut self, waker: &Waker) -> Poll<Option<Self::Item>> {
        self.poll_chunk(waker).map(Result::transpose)
    }
}

impl<T: DeserializeOwned> Source for Receiver<T> {
    type Item = Result<T, RecvError>;
    fn poll_item(&mut self, waker: &Waker) -> Poll<Option<Self::Item>> {
        match self.poll(waker) {
            Poll::Ready(Err(RecvError::Closed)) => Poll::Ready(None),
            Poll::Ready(received) => Poll::Ready(Some(received)),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A source whose items are converted by a function, so that sources of different types can share a
/// [`Select`].
pub struct Mapped<S, G>(S, G);

impl<S: Source, T, G: FnMut(S::Item) -> T + Send> Source for Mapped<S, G> {
    type Item = T;
    fn poll_item(&mut self, waker: &Waker) -> Poll<Option<T>> {
        match self.0.poll_item(waker) {
            Poll::Ready(item) => Poll::Ready(item.map(&mut self.1)),
            Poll::Pending => Poll::Pending,
        }
    }
    fn is_over(&self) -> bool {
        self.0.is_over()
    }
}

/// A source with one more item, which stands for its end.
pub struct WithEnd<S: Source> {
    source: S,
    /// None once it was returned.
    end: Option<S::Item>,
}

impl<S: Source> Source for WithEnd<S>
where
    S::Item: Send,
{
    type Item = S::Item;
    fn poll_item(&mut self, waker: &Waker) -> Poll<Option<S::Item>> {
        if self.end.is_some() && !self.source.is_over() {
            match self.source.poll_item(waker) {
                Poll::Ready(None) => {}
                other => return other,
            }
        }
        Poll::Ready(self.end.take())
    }
    fn is_over(&self) -> bool {
        self.end.is_none()
    }
}

/// A value that becomes a source when it is added to a [`Select`].
pub trait IntoSource {
    /// The type of the items.
    type Item;
    /// The type of the source.
    type Source: Source<Item = Self::Item>;
    /// Converts the value into a source.
    fn into_source(self) -> Self::Source;
    /// Converts the value into a source, and each of its items by `turn`.
    fn map_items<T, G: FnMut(Self::Item) -> T + Send>(self, turn: G) -> Mapped<Self::Source, G>
    where
        Self: Sized,
    {
        Mapped(self.into_source(), turn)
    }
    /// Converts the value into a source that returns `end` after its last item, so that whoever
    /// waits sees the end. After [`map_items`](IntoSource::map_items), `end` is a converted item.
    fn with_end(self, end: Self::Item) -> WithEnd<Self::Source>
    where
        Self: Sized,
    {
        WithEnd {
            source: self.into_source(),
            end: Some(end),
        }
    }
}

impl<F: Remote> IntoSource for Reply<F> {
    type Item = (Context, Result<F::Value, CallError<F::Error>>);
    type Source = Option<Self>;
    fn into_source(self) -> Option<Self> {
        Some(self)
    }
}

macro_rules! of_one_item {
    ($($of:ty)*) => {
        $(impl IntoSource for $of {
            type Item = <Option<Self> as Source>::Item;
            type Source = Option<Self>;
            fn into_source(self) -> Option<Self> {
                Some(self)
            }
        })*
    };
}
of_one_item!(Connecting Disconnection Process Timer);

impl<S: Source> IntoSource for S {
    type Item = S::Item;
    type Source = S;
    fn into_source(self) -> S {
        self
    }
}

/// The key of a source in a [`Select`], by which it can be removed.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key(u64);

/// Many sources as one. Items come in the order in which they arrive, and a source is removed when
/// it ends. Clones share the sources, so that one thread can add and remove sources while another
/// waits. Dropping the last clone drops the sources: calls whose replies are among them are
/// cancelled, and hops that are not complete as well.
///
/// ```no_run
/// # use offshoot_agent as offshoot;
/// # use offshoot::{Context, Select, stock::facts};
/// # fn example(contexts: &[Context]) {
/// let replies = contexts.iter().map(|context| context.start(facts {}));
/// for (context, outcome) in Select::new(replies) {
///     match outcome {
///         Ok(facts) => println!("{context}: {}", facts.kernel),
///         Err(error) => println!("{error}"),
///     }
/// }
/// # }
/// ```
pub struct Select<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    bell: Arc<Bell>,
}

struct State<T> {
    sources: BTreeMap<Key, Entry<T>>,
    next: u64,
}

struct Entry<T> {
    /// None while a thread polls it.
    source: Option<Box<dyn Source<Item = T>>>,
    /// True if the source has woken while a thread polled it.
    again: bool,
    ring: Arc<Ring>,
}

/// The sources that have woken, in order, and the wakers of those that wait for one.
#[derive(Default)]
struct Bell {
    ready: Mutex<Ready>,
    rung: Condvar,
}

#[derive(Default)]
struct Ready {
    keys: VecDeque<Key>,
    wakers: Vec<Waker>,
    /// The number of additions and removals; threads that wait look again after each.
    changes: u64,
}

/// The waker of one source.
struct Ring {
    bell: Arc<Bell>,
    key: Key,
    /// True if the key is in the list already.
    listed: AtomicBool,
}

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        if !self.listed.swap(true, Ordering::AcqRel) {
            self.bell.ring(Some(self.key));
        }
    }
}

impl Bell {
    fn ring(&self, key: Option<Key>) {
        let mut ready = locked(&self.ready);
        match key {
            Some(key) => ready.keys.push_back(key),
            None => ready.changes += 1,
        }
        let wakers = std::mem::take(&mut ready.wakers);
        drop(ready);
        self.rung.notify_all();
        for waker in wakers {
            waker.wake();
        }
    }

    /// Registers `waker` for the next change.
    fn wake_later(&self, waker: &Waker) {
        let mut ready = locked(&self.ready);
        if !ready.wakers.iter().any(|other| other.will_wake(waker)) {
            ready.wakers.push(waker.clone());
        }
    }
}

impl<T> Clone for Select<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> Default for Select<T> {
    fn default() -> Self {
        let state = Mutex::new(State {
            sources: BTreeMap::new(),
            next: 0,
        });
        Self {
            shared: Arc::new(Shared {
                state,
                bell: Arc::default(),
            }),
        }
    }
}

impl<T> Select<T> {
    /// Returns a select over these sources.
    pub fn new<S>(sources: impl IntoIterator<Item = S>) -> Self
    where
        S: IntoSource<Item = T>,
        S::Source: 'static,
    {
        let select = Self::default();
        for source in sources {
            select.add(source);
        }
        select
    }

    /// Adds a source; items that it has already are returned as well. Returns the key that removes
    /// the source. A select must not contain itself, directly or through another select: both would
    /// wait for ever.
    pub fn add<S>(&self, source: S) -> Key
    where
        S: IntoSource<Item = T>,
        S::Source: 'static,
    {
        let mut state = locked(&self.shared.state);
        let key = Key(state.next);
        state.next += 1;
        let bell = Arc::clone(&self.shared.bell);
        let ring = Arc::new(Ring {
            bell,
            key,
            listed: AtomicBool::new(false),
        });
        let source = Some(Box::new(source.into_source()) as _);
        state.sources.insert(
            key,
            Entry {
                source,
                again: false,
                ring: Arc::clone(&ring),
            },
        );
        drop(state);
        // The first poll happens on the thread that waits.
        ring.wake();
        key
    }

    /// Removes a source. Returns false if the source has ended or was removed before.
    pub fn remove(&self, key: Key) -> bool {
        let removed = locked(&self.shared.state).sources.remove(&key);
        self.shared.bell.ring(None);
        removed.is_some()
    }

    /// Returns the number of sources.
    #[must_use]
    pub fn len(&self) -> usize {
        locked(&self.shared.state).sources.len()
    }

    /// Returns true if there are no sources, so that no item can arrive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for the next item. Returns none if there are no sources left.
    #[must_use]
    pub fn wait(&self) -> Option<T> {
        self.wait_until(None).unwrap_or_default()
    }

    /// Waits for the next item, at most for `timeout`. Returns none if there are no sources left.
    ///
    /// # Errors
    /// Returns [`Elapsed`] if no item arrived within `timeout`.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<T>, Elapsed> {
        self.wait_until(deadline(timeout))
    }

    /// Awaits the next item. Returns none if there are no sources left. No item is lost if the
    /// future is dropped.
    pub async fn wait_async(&self) -> Option<T> {
        poll_fn(|cx| {
            self.shared.bell.wake_later(cx.waker());
            self.poll_ready()
        })
        .await
    }

    /// Waits until all sources have ended, and returns their items in the order in which they
    /// arrived. All of them are kept in memory.
    #[must_use]
    pub fn all(&self) -> Vec<T> {
        std::iter::from_fn(|| self.wait()).collect()
    }

    fn wait_until(&self, until: Option<Instant>) -> Result<Option<T>, Elapsed> {
        loop {
            let changes = locked(&self.shared.bell.ready).changes;
            match self.poll_ready() {
                Poll::Ready(item) => return Ok(item),
                Poll::Pending => {}
            }
            let bell = &self.shared.bell;
            let rung = |ready: &mut Ready| {
                (!ready.keys.is_empty() || ready.changes != changes).then_some(())
            };
            wait_until(&bell.rung, locked(&bell.ready), until, rung).ok_or(Elapsed)?;
        }
    }

    /// Polls the sources that have woken, in that order.
    fn poll_ready(&self) -> Poll<Option<T>> {
        loop {
            let Some(key) = locked(&self.shared.bell.ready).keys.pop_front() else {
                break;
            };
            let taken = locked(&self.shared.state)
                .sources
                .get_mut(&key)
                .and_then(|entry| {
                    entry.ring.listed.store(false, Ordering::Release);
                    // Another thread polls it just now, and polls it again.
                    entry.again = entry.source.is_none();
                    Some((entry.source.take()?, Arc::clone(&entry.ring)))
                });
            let Some((mut source, ring)) = taken else {
                continue;
            };
            let found = source.poll_item(&Waker::from(Arc::clone(&ring)));
            let mut state = locked(&self.shared.state);
            match found {
                Poll::Ready(item) if item.is_none() || source.is_over() => {
                    state.sources.remove(&key);
                    drop(state);
                    // Other threads may wait, and now no source may be left.
                    self.shared.bell.ring(None);
                    if item.is_some() {
                        return Poll::Ready(item);
                    }
                }
                Poll::Ready(item) => {
                    let _after_the_lock = put_back(&mut state, key, source);
                    drop(state);
                    // The source may have more items; other sources have their turn first.
                    ring.wake();
                    return Poll::Ready(item);
                }
                Poll::Pending => {
                    let put_back = put_back(&mut state, key, source);
                    drop(state);
                    if let Ok(true) = put_back {
                        ring.wake();
                    }
                }
            }
        }
        if self.is_empty() {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }
}

/// Puts a source back after a poll, and returns whether it has woken meanwhile. If the source was
/// removed, it is returned instead, to be dropped without the lock.
fn put_back<T>(
    state: &mut State<T>,
    key: Key,
    source: Box<dyn Source<Item = T>>,
) -> Result<bool, Box<dyn Source<Item = T>>> {
    let Some(entry) = state.sources.get_mut(&key) else {
        return Err(source);
    };
    entry.source = Some(source);
    Ok(std::mem::take(&mut entry.again))
}

/// The error of a wait that took as long as it was allowed to.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Elapsed;

impl std::fmt::Display for Elapsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("timed out waiting")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for Error {
    fn from(error: Elapsed) -> Self {
        Self::system("waiting for an item", error)
    }
}

impl From<Elapsed> for io::Error {
    fn from(error: Elapsed) -> Self {
        Self::new(io::ErrorKind::TimedOut, error)
    }
}

/// Waits for each item. The iteration ends when no sources are left.
impl<T> Iterator for Select<T> {
    type Item = T;
    fn next(&mut self) -> Option<T> {
        self.wait()
    }
}

impl<T> Stream for Select<T> {
    type Item = T;
    fn poll_next(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Option<T>> {
        self.shared.bell.wake_later(cx.waker());
        self.poll_ready()
    }
}

/// A select as a source of another one.
impl<T: 'static> Source for Select<T> {
    type Item = T;
    fn poll_item(&mut self, waker: &Waker) -> Poll<Option<T>> {
        self.shared.bell.wake_later(waker);
        self.poll_ready()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source of the items that a [`Tap`] puts into it.
    struct Queue<T>(Arc<Mutex<Line<T>>>);

    type Line<T> = (VecDeque<Option<T>>, Option<Waker>);

    impl<T: Send> Source for Queue<T> {
        type Item = T;
        fn poll_item(&mut self, waker: &Waker) -> Poll<Option<T>> {
            let mut queue = locked(&self.0);
            match queue.0.pop_front() {
                Some(item) => Poll::Ready(item),
                None => {
                    queue.1 = Some(waker.clone());
                    Poll::Pending
                }
            }
        }
    }

    struct Tap<T>(Arc<Mutex<Line<T>>>);

    impl<T> Tap<T> {
        fn put(&self, item: Option<T>) {
            let mut queue = locked(&self.0);
            queue.0.push_back(item);
            if let Some(waker) = queue.1.take() {
                drop(queue);
                waker.wake();
            }
        }
    }

    fn queue<T>() -> (Tap<T>, Queue<T>) {
        let shared = Arc::new(Mutex::new((VecDeque::new(), None)));
        (Tap(Arc::clone(&shared)), Queue(shared))
    }

    #[test]
    fn items_are_yielded_in_order_of_arrival_and_ended_sources_are_removed() {
        let (one, first) = queue();
        let (other, second) = queue();
        one.put(Some(1));
        let select = Select::new([first, second]);
        assert_eq!(select.wait(), Some(1));
        assert_eq!(select.wait_timeout(Duration::ZERO), Err(Elapsed));
        other.put(Some(2));
        one.put(Some(3));
        other.put(Some(4));
        other.put(None);
        assert_eq!(
            [select.wait(), select.wait(), select.wait()],
            [Some(2), Some(3), Some(4)]
        );
        assert_eq!(select.wait_timeout(Duration::ZERO), Err(Elapsed));
        assert_eq!(select.len(), 1);
        one.put(None);
        assert_eq!((select.wait(), select.is_empty()), (None, true));
    }

    #[test]
    fn selects_nest_and_items_can_be_mapped() {
        let (numbers, first) = queue();
        let (words, second) = queue();
        let inner = Select::new([first.map_items(|number: i32| number.to_string())]);
        let select = Select::default();
        select.add(inner);
        select.add(second.map_items(|word: &str| word.to_owned()));
        words.put(Some("a"));
        numbers.put(Some(1));
        numbers.put(None);
        words.put(None);
        let mut all = select.all();
        all.sort();
        assert_eq!(all, ["1", "a"]);
    }

    #[test]
    fn sources_can_be_added_and_removed_during_a_wait() {
        let (_silent, first) = queue::<i32>();
        let select = Select::default();
        let key = select.add(first);
        let waiting = select.clone();
        let waiter = std::thread::spawn(move || waiting.all());
        let (tap, second) = queue();
        tap.put(Some(7));
        tap.put(None);
        select.add(second);
        assert!(select.remove(key) && !select.remove(key));
        assert_eq!(waiter.join().unwrap(), [7]);
    }
}
