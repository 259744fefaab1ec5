//! Functions over state that lives with a context.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use offshoot::{
    CallError, Context, ContextId, Error, Handle, MessageOrigin, Policy, PromptKind, Registration,
    Secret, Sender, remote,
};

use crate::attributes::note;

/// The number of counters created in this process.
static MADE: AtomicU64 = AtomicU64::new(0);

/// State: a counter that writes to a file when it is dropped.
pub struct Counter {
    number: AtomicU64,
    dropped: Mutex<Option<PathBuf>>,
}

impl Default for Counter {
    fn default() -> Self {
        MADE.fetch_add(1, Ordering::Relaxed);
        // Gives concurrent callers time to ask for it as well.
        std::thread::yield_now();
        Self {
            number: AtomicU64::new(0),
            dropped: Mutex::new(None),
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        if let Ok(Some(path)) = self.dropped.get_mut() {
            note(path, "dropped");
        }
    }
}

/// Increments the counter; returns its value and the number of counters created.
#[remote]
pub fn count(cx: &Context) -> (u64, u64) {
    let counter = cx.state::<Counter>();
    (
        counter.number.fetch_add(1, Ordering::Relaxed) + 1,
        MADE.load(Ordering::Relaxed),
    )
}

/// Makes the counter write to a file when it is dropped.
#[remote]
pub fn tell_of_drop(cx: &Context, path: PathBuf) {
    let counter = cx.state::<Counter>();
    *counter.dropped.lock().expect("nobody panics with it") = Some(path);
}

/// The same counter, for children of this context too.
#[remote(policy = children)]
pub fn count_from_below(cx: &Context) -> u64 {
    count(cx).0
}

/// The same counter, for anyone.
#[remote(policy = anyone)]
pub fn count_for_anyone(cx: &Context) -> u64 {
    count(cx).0
}

fn text<T, E: std::fmt::Display>(outcome: Result<T, CallError<E>>) -> Result<T, String> {
    outcome.map_err(|error| error.to_string())
}

/// Calls the three counting functions of `other`: for ancestors, for children, for anyone.
#[remote]
pub fn count_at(cx: &Context, other: ContextId) -> Vec<Result<u64, String>> {
    let other = cx.by_id(other);
    vec![
        text(other.call(count {})).map(|(number, _)| number),
        text(other.call(count_from_below {})),
        text(other.call(count_for_anyone {})),
    ]
}

/// State: a child context, connected at the first use.
struct Helper(Context);

/// Returns the name of the helper context. Connecting it fails while `bad` exists; every attempt is
/// written to `log`.
#[remote]
pub fn helper(cx: &Context, dir: PathBuf) -> Result<String, Error> {
    let helper = cx.state_or_else(|cx| {
        note(&dir.join("log"), "tried");
        if dir.join("bad").exists() {
            return Err(Error::Function("it is bad".into()));
        }
        cx.local().name("helper").connect().map(Helper)
    })?;
    // The helper belongs to no call; this request belongs to this call.
    helper
        .0
        .call(crate::place {})
        .map_err(|error| Error::Function(error.to_string()))
}

/// The handlers added in this process.
#[derive(Default)]
struct Handles(Mutex<Vec<Registration>>);

/// Adds a handler with this policy (0 ancestors, 1 parent, 2 descendants, 3 children, 4 anyone).
#[remote]
pub fn offer(cx: &Context, policy: u8) -> Result<Handle, Error> {
    let policies = [
        Policy::Ancestors,
        Policy::Parent,
        Policy::Descendants,
        Policy::Children,
        Policy::Anyone,
    ];
    let answer = |cx: &Context, sent: MessageOrigin, text: String| {
        (cx.name().to_owned(), sent.from, text.len())
    };
    let registration = cx
        .router()
        .add_handler(policies[usize::from(policy)], answer)?;
    let handle = registration.handle();
    cx.state::<Handles>()
        .0
        .lock()
        .expect("nobody panics with it")
        .push(registration);
    Ok(handle)
}

/// Adds a handler that forwards its messages to a sender.
#[remote]
pub fn offer_sender(cx: &Context, to: Sender<u64>) -> Result<Handle, Error> {
    let act = move |_: &Context, _: MessageOrigin, number: u64| to.send(&number);
    let registration = cx.router().add_handler(Policy::Anyone, act)?;
    let handle = registration.handle();
    cx.state::<Handles>()
        .0
        .lock()
        .expect("nobody panics with it")
        .push(registration);
    Ok(handle)
}

/// Removes all added handlers.
#[remote]
pub fn withdraw_all(cx: &Context) {
    cx.state::<Handles>()
        .0
        .lock()
        .expect("nobody panics with it")
        .clear();
}

/// Sends a text of that many bytes to a handler of another context; returns its reply: its name,
/// the caller and the length.
#[remote]
pub fn request(
    cx: &Context,
    other: ContextId,
    handle: Handle,
    length: usize,
) -> Result<(String, ContextId, usize), Error> {
    cx.by_id(other).request(handle, &"x".repeat(length))
}

/// Returns true if both contexts have the same state.
pub fn same_state(one: &Context, other: &Context) -> bool {
    Arc::ptr_eq(&one.state::<Counter>(), &other.state::<Counter>())
}

/// Sends the questions of a hop's program to handlers of the root, and returns the number of
/// answers.
#[remote]
pub fn ask_for_secrets(cx: &Context, first: u32, count: u32) -> usize {
    let root = cx.router().by_id(ContextId::ROOT);
    let question = (PromptKind::Password, "password:");
    (first..first + count)
        .filter_map(|number| root.request(Handle(number), &question).ok())
        .filter(|answer: &Option<Secret>| answer.is_some())
        .count()
}
