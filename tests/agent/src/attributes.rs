//! Functions for the options of `#[remote]`: who may call them, when they run, and how their errors
//! and values arrive.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use offshoot::{CallError, Context, ContextId, Error, Secret, Select, Sender, remote};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Appends a line to a file.
pub fn note(path: &Path, line: &str) {
    use std::io::Write as _;
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path);
    let written = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Waits for a file. Returns an error if the call is cancelled or late.
pub fn await_file(cx: &Context, path: &Path) -> Result<(), Error> {
    while !path.exists() {
        cx.check()?;
        std::thread::park_timeout(std::time::Duration::from_millis(2));
    }
    Ok(())
}

/// Policy `ancestors`.
#[remote(policy = ancestors)]
pub fn for_ancestors() {}

/// Policy `parent`.
#[remote(policy = parent)]
pub fn for_parent() {}

/// Policy `descendants`.
#[remote(policy = descendants)]
pub fn for_descendants() {}

/// Policy `children`.
#[remote(policy = children)]
pub fn for_children() {}

/// Policy `anyone`.
#[remote(policy = anyone)]
pub fn for_anyone() {}

/// Returns the policies under which `other` answers this process.
pub fn admitted(other: &Context) -> Vec<String> {
    let outcomes = [
        ("ancestors", refused(other.call(for_ancestors {}))),
        ("parent", refused(other.call(for_parent {}))),
        ("descendants", refused(other.call(for_descendants {}))),
        ("children", refused(other.call(for_children {}))),
        ("anyone", refused(other.call(for_anyone {}))),
    ];
    outcomes
        .into_iter()
        .filter(|(_, refused)| !refused)
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// Returns true if a call was refused; panics on any other error.
fn refused<E: fmt::Debug>(outcome: Result<(), CallError<E>>) -> bool {
    match outcome {
        Ok(()) => false,
        Err(CallError::Failed(Error::Undelivered {
            reason: offshoot::Reason::Refused | offshoot::Reason::Isolated,
            ..
        })) => true,
        Err(error) => panic!("{error:?}"),
    }
}

/// Returns the policies under which `other` answers the context of this call.
#[remote]
pub fn admitted_by(cx: &Context, other: ContextId) -> Vec<String> {
    admitted(&cx.by_id(other))
}

/// Serial: writes its begin and end to `log`, and waits for `DIR/NUMBER` in between.
#[remote(serial)]
pub fn in_turn(cx: &Context, dir: PathBuf, number: u32) -> Result<u32, Error> {
    note(&dir.join("log"), &format!("begin {number}"));
    let outcome = await_file(cx, &dir.join(number.to_string()));
    note(&dir.join("log"), &format!("end {number}"));
    outcome.map(|()| number)
}

/// Shared: writes to `log`, waits for `gate`, and returns the number of runs with this key.
#[remote(shared)]
pub fn once(cx: &Context, dir: PathBuf, key: u32) -> Result<usize, Error> {
    let log = dir.join(format!("log-{key}"));
    note(&log, "run");
    let outcome = await_file(cx, &dir.join("gate"));
    if let Err(error) = outcome {
        note(&dir.join("given-up"), &error.to_string());
        return Err(error);
    }
    Ok(std::fs::read_to_string(log)
        .unwrap_or_default()
        .lines()
        .count())
}

/// Without a reply: waits for `gate`, then writes to `ran`.
#[remote(no_reply)]
pub fn afterwards(cx: &Context, dir: PathBuf) -> Result<(), Error> {
    await_file(cx, &dir.join("gate"))?;
    note(&dir.join("ran"), "ran");
    Ok(())
}

/// Without a reply: fails.
#[remote(no_reply)]
pub fn fail_afterwards(text: String) -> Result<(), String> {
    Err(text)
}

/// Quick: runs on the broker, where a chain starts the next call at once.
#[remote(quick)]
pub fn add(one: u64, other: u64) -> Result<u64, String> {
    one.checked_add(other).ok_or_else(|| "too large".into())
}

/// An error with a source.
#[derive(Debug)]
pub struct Outer(io::Error);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the outer one")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// An error that does not serialise, with its source.
#[remote(flatten)]
pub fn flat(fails: bool) -> Result<u8, Outer> {
    if fails {
        Err(Outer(io::Error::other("the inner one")))
    } else {
        Ok(7)
    }
}

/// A boxed error of any kind.
#[remote(flatten)]
pub fn flat_box(path: PathBuf) -> Result<String, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(path).map_err(Outer)?;
    Ok(text
        .trim()
        .parse::<u64>()
        .map(|number| number.to_string())?)
}

/// A boxed error that is `Send`.
#[remote(flatten)]
pub async fn flat_sent(text: String) -> Result<u64, Box<dyn std::error::Error + Send + Sync>> {
    Ok(text.parse()?)
}

/// Returns the texts of an error and its sources.
pub fn texts(error: &dyn std::error::Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        texts.push(error.to_string());
        source = error.source();
    }
    texts
}

/// Returns the texts of the error of `flat` when called locally.
pub fn texts_here() -> Vec<String> {
    let outer = Outer(io::Error::other("the inner one"));
    assert!(outer.source().is_some());
    texts(&outer)
}

/// Awaits calls to another context.
#[remote]
pub async fn relay(cx: &Context, other: Context, numbers: Vec<u64>) -> Result<u64, Error> {
    let mut sum = 0;
    let _ = cx;
    for number in numbers {
        let doubled = other
            .start(add {
                one: number,
                other: number,
            })
            .await;
        sum += doubled.map_err(|error| Error::Function(error.to_string()))?;
    }
    let mut rest = Select::new([other.start(add { one: sum, other: 1 })]);
    match std::future::poll_fn(|cx| futures_next(&mut rest, cx)).await {
        Some((_, sum)) => sum.map_err(|error| Error::Function(error.to_string())),
        None => Ok(0),
    }
}

fn futures_next<S: futures_core::Stream + Unpin>(
    stream: &mut S,
    cx: &mut std::task::Context<'_>,
) -> std::task::Poll<Option<S::Item>> {
    std::pin::Pin::new(stream).poll_next(cx)
}

/// A value whose serialisation fails with a text.
#[derive(PartialEq, Eq, Debug)]
pub struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it is stubborn"))
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

/// Returns a value that does not serialise.
#[remote]
pub fn give_stubborn() -> Stubborn {
    Stubborn
}

/// Takes a value that does not serialise.
#[remote]
pub fn take_stubborn(value: Stubborn) {
    let _ = value;
}

/// Fails with a value that does not serialise.
#[remote]
pub fn fail_stubborn() -> Result<(), Stubborn> {
    Err(Stubborn)
}

/// Returns the Debug and Display texts of a received secret, and its length.
#[remote]
pub fn look_at_secret(secret: Secret) -> (String, String, usize) {
    (
        format!("{secret:?}"),
        secret.to_string(),
        secret.expose().len(),
    )
}

/// Returns the reversed text as a secret.
#[remote]
pub fn give_secret(text: Vec<u8>) -> Secret {
    Secret::new(
        text.iter()
            .rev()
            .map(|byte| char::from(*byte))
            .collect::<String>(),
    )
}

/// Returns the context passed as argument, its name, whether it equals the context of its id, and
/// its reply.
#[remote]
pub fn hand_back(cx: &Context, other: Context) -> Result<(Context, String, bool, u64), Error> {
    let same = cx.by_id(other.id()) == other;
    let sum = other
        .call(add { one: 1, other: 2 })
        .map_err(|error| Error::Function(error.to_string()))?;
    Ok((other.clone(), other.to_string(), same, sum))
}

/// Connects and returns a child.
#[remote]
pub fn bear(cx: &Context) -> Result<Context, Error> {
    cx.local().connect()
}

/// Fails with a context as its error.
#[remote]
pub fn fail_with_context(cx: &Context) -> Result<(), Context> {
    Err(cx.clone())
}

/// A kept sender.
static KEPT: Mutex<Option<Sender<u64>>> = Mutex::new(None);

/// A sender in a type whose name hides it from the check of the attribute.
#[derive(Debug, Serialize, Deserialize)]
pub struct Kept(Option<Sender<u64>>);

/// Keeps a sender.
#[remote]
pub fn keep(to: Sender<u64>) {
    *KEPT.lock().expect("nobody panics") = Some(to);
}

/// Returns the kept sender.
#[remote(quick)]
pub fn give_kept() -> Kept {
    Kept(KEPT.lock().expect("nobody panics").take())
}

/// A type designed for JSON, with conditionally skipped fields.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Skipped if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u8>,
    /// Always skipped.
    #[serde(skip)]
    pub seen: bool,
    /// A port.
    pub port: u16,
    /// A priority.
    #[serde(rename = "prio", default)]
    pub priority: Option<u8>,
}

/// Returns a task, by default one without retries.
#[remote]
pub fn return_task(task: Option<Task>) -> Task {
    task.unwrap_or(Task {
        retries: None,
        seen: false,
        port: 0,
        priority: Some(0),
    })
}

/// An untagged enum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Loose {
    /// First variant.
    Number(u32),
    /// Second variant.
    Text(String),
}

/// A type that contains an untagged enum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// The untagged enum.
    pub first: Loose,
}

/// Takes a value that cannot be sent.
#[remote]
pub fn take_loose(rules: Rules) {
    drop(rules);
}

/// Would return a value that cannot be sent.
#[remote]
pub fn give_loose() -> Rules {
    Rules {
        first: Loose::Number(7),
    }
}
