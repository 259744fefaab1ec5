//! Functions over state that lives with a context.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use offshoot::{CallError, Context, ContextId, Error, Handle, Policy, Registration, Sender, Sent, remote};

use crate::attributes::note;

/// How often it was made, in this process.
static MADE: AtomicU64 = AtomicU64::new(0);

/// A state: a counter that says in a file when it is dropped.
pub struct Counter {
    number: AtomicU64,
    dropped: Mutex<Option<PathBuf>>,
}

impl Default for Counter {
    fn default() -> Counter {
        MADE.fetch_add(1, Ordering::Relaxed);
        // The others that ask for it at the same time have time to.
        std::thread::yield_now();
        Counter { number: AtomicU64::new(0), dropped: Mutex::new(None) }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        if let Ok(Some(path)) = self.dropped.get_mut() {
            note(path, "dropped");
        }
    }
}

/// Counts on, and gives the number and how often there was a counter in this process.
#[remote]
pub fn count(cx: &Context) -> (u64, u64) {
    let counter = cx.state::<Counter>();
    (counter.number.fetch_add(1, Ordering::Relaxed) + 1, MADE.load(Ordering::Relaxed))
}

/// Has the counter say in a file when it is dropped.
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

/// What `other` says to the three ways of counting: as its ancestor, its child, anyone.
#[remote]
pub fn count_at(cx: &Context, other: ContextId) -> Vec<Result<u64, String>> {
    let other = cx.by_id(other);
    vec![
        text(other.call(count {})).map(|(number, _)| number),
        text(other.call(count_from_below {})),
        text(other.call(count_for_anyone {})),
    ]
}

/// A state that is a context below, made when it is first asked for.
struct Helper(Context);

/// The name of the helper of where it runs. It cannot be made while `bad` is there; says in `log`
/// that it is tried.
#[remote]
pub fn helper(cx: &Context, dir: PathBuf) -> Result<String, Error> {
    let helper = cx.state_or_else(|cx| {
        note(&dir.join("log"), "tried");
        if dir.join("bad").exists() {
            return Err(Error::Function("it is bad".into()));
        }
        cx.local().name("helper").connect().map(Helper)
    })?;
    // It belongs to no call, and is asked on behalf of this one.
    helper.0.call(crate::place {}).map_err(|error| Error::Function(error.to_string()))
}

/// Handles that were added where it runs.
#[derive(Default)]
struct Handles(Mutex<Vec<Registration>>);

/// Adds a handle there for those whom `policy` admits (0 ancestors, 1 parent, 2 descendants, 3
/// children, 4 anyone).
#[remote]
pub fn offer(cx: &Context, policy: u8) -> Result<Handle, Error> {
    let policies = [Policy::Ancestors, Policy::Parent, Policy::Descendants, Policy::Children, Policy::Anyone];
    let answer = |cx: &Context, sent: Sent, text: String| (cx.name().to_owned(), sent.from, text.len());
    let registration = cx.router().add_handler(policies[usize::from(policy)], answer)?;
    let handle = registration.handle();
    cx.state::<Handles>().0.lock().expect("nobody panics with it").push(registration);
    Ok(handle)
}

/// Adds a handle there that hands on what comes to a sender.
#[remote]
pub fn offer_sender(cx: &Context, to: Sender<u64>) -> Result<Handle, Error> {
    let act = move |_: &Context, _: Sent, number: u64| to.send(&number);
    let registration = cx.router().add_handler(Policy::Anyone, act)?;
    let handle = registration.handle();
    cx.state::<Handles>().0.lock().expect("nobody panics with it").push(registration);
    Ok(handle)
}

/// Takes all handles away that were added.
#[remote]
pub fn withdraw_all(cx: &Context) {
    cx.state::<Handles>().0.lock().expect("nobody panics with it").clear();
}

/// What a handle of another context answers to a text of so many bytes: who it is, who asked, how
/// long it was.
#[remote]
pub fn request(
    cx: &Context,
    other: ContextId,
    handle: Handle,
    length: usize,
) -> Result<(String, ContextId, usize), Error> {
    cx.by_id(other).request(handle, &"x".repeat(length))
}

/// The state of this process in all its contexts: that of one is not that of another.
pub fn same_state(one: &Context, other: &Context) -> bool {
    Arc::ptr_eq(&one.state::<Counter>(), &other.state::<Counter>())
}
