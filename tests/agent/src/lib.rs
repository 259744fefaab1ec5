//! Functions that the suites call in other contexts, one for each form that a remote function can
//! have.
//!
//! Both sides link this library: the suite for the types, the agent for the code.

pub mod attributes;
pub mod channel_ends;
pub mod cleanup;
pub mod context_values;
pub mod long_running;
pub mod services;
pub mod values;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use offshoot::{Blob, CallError, Context, ContextId, Error, remote};
use serde::{Deserialize, Serialize};

/// No argument and no result.
#[remote]
pub fn nothing() {}

/// Exits the agent with this status, or raises the signal of a negative number.
#[remote]
pub fn leave(how: i32) {
    if how < 0 {
        // SAFETY: both take plain numbers; the signal ends this process.
        unsafe { libc::signal(-how, libc::SIG_DFL) };
        // SAFETY: as above.
        unsafe { libc::raise(-how) };
    }
    std::process::exit(how)
}

/// A nested value.
pub type Table = BTreeMap<String, (bool, Option<char>)>;

/// Several arguments and a result that cannot fail: everything reversed.
#[remote]
pub fn turn(
    count: u32,
    name: String,
    parts: Vec<Option<i64>>,
    table: Table,
) -> (Table, Vec<Option<i64>>, String, u32) {
    let table = table
        .into_iter()
        .map(|(key, (flag, letter))| (key.chars().rev().collect(), (!flag, letter)));
    (
        table.collect(),
        parts.into_iter().rev().collect(),
        name.chars().rev().collect(),
        !count,
    )
}

/// A result type by an alias of the standard library.
#[remote]
pub fn size_of(path: PathBuf) -> io::Result<u64> {
    Ok(std::fs::metadata(path)?.len())
}

/// Fails with an I/O error without an errno.
#[remote]
pub fn refuse(why: String) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

/// An error type of its own.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Odd {
    /// Too large.
    TooLarge {
        /// By how much.
        by: u64,
    },
    /// Not a number.
    NoNumber(String),
}

/// A result with an error type of its own.
#[remote]
pub fn parse(text: String) -> Result<u8, Odd> {
    let number: u64 = text.parse().map_err(|_| Odd::NoNumber(text))?;
    u8::try_from(number).map_err(|_| Odd::TooLarge { by: number - 255 })
}

/// Calls `parse` in several contexts and returns every outcome.
#[remote]
pub fn parse_everywhere(contexts: Vec<Context>, text: String) -> Vec<Result<u8, CallError<Odd>>> {
    contexts
        .iter()
        .map(|context| context.call(parse { text: text.clone() }))
        .collect()
}

/// An alias with the error filled in.
pub type Outcome<T> = Result<T, Odd>;

/// A result type by an alias of the program.
pub mod aliased {
    use super::{Odd, remote};

    type Result<T> = super::Outcome<T>;

    /// Halves an even number.
    #[remote]
    pub fn halve(number: u64) -> Result<u64> {
        if number.is_multiple_of(2) {
            Ok(number / 2)
        } else {
            Err(Odd::TooLarge { by: 1 })
        }
    }
}

/// A large argument and result: every byte plus one.
#[remote]
pub fn increment(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().map(|byte| byte.wrapping_add(1)).collect()
}

/// A large argument as a blob.
#[remote]
pub fn weigh(bytes: Blob) -> usize {
    bytes.len()
}

/// A large argument and result as blobs.
#[remote]
pub fn mirror(bytes: Blob) -> Blob {
    bytes
}

/// A large result.
#[remote]
pub fn zeros(count: usize) -> Vec<u8> {
    vec![0; count]
}

/// Returns the name of its context.
#[remote]
pub fn place(cx: &Context) -> String {
    cx.name().to_owned()
}

/// Connects a child, and calls itself there.
#[remote]
pub fn grow(cx: &Context, depth: u32) -> offshoot::Result<Vec<String>> {
    let mut places = vec![cx.name().to_owned()];
    if depth > 0 {
        let child = cx.local().connect()?;
        places.extend(child.call(grow { depth: depth - 1 })?);
        child.shutdown()?;
    }
    Ok(places)
}

/// Connects a child through its router, which is dropped before the return.
#[remote]
pub fn grow_by_router(cx: &Context) -> offshoot::Result<(String, ContextId)> {
    let router = cx.router();
    let child = router.local().connect()?;
    // Every context returns the router of this process.
    let name = child.router().name().to_owned();
    Ok((name, child.id()))
}

/// Connects two children, opens a path, and lets one call the other.
#[remote]
pub fn introduce(cx: &Context) -> Result<String, Error> {
    let router = cx.router();
    let (one, other) = (router.local().connect()?, router.local().connect()?);
    router.open_path(&one, &other);
    let greeting = match one.call(greet_other { other: other.id() }) {
        Ok(greeting)
        | Err(CallError::Function {
            error: greeting, ..
        }) => Ok(greeting),
        Err(CallError::Failed(error)) => Err(error),
    };
    one.shutdown()?;
    other.shutdown()?;
    greeting
}

/// Watches the end of a child, and tries to watch the root.
#[remote]
pub fn watch_others(cx: &Context) -> Result<(String, String), Error> {
    let child = cx.local().connect()?;
    let watch = child.disconnected()?;
    child.shutdown()?;
    let above = cx.by_id(ContextId::ROOT).disconnected();
    Ok((
        watch.wait().reason.to_string(),
        above.map_or_else(|error| error.to_string(), |_| String::new()),
    ))
}

/// The listeners of this process.
#[derive(Default)]
struct Doors(std::sync::Mutex<Vec<offshoot::Listener>>);

/// Lets processes join here.
#[remote]
pub fn listen_at(cx: &Context, path: PathBuf) -> Result<(), Error> {
    let listener = cx.router().listen(path)?;
    cx.state::<Doors>()
        .0
        .lock()
        .expect("nobody panics")
        .push(listener);
    Ok(())
}

/// Returns the next process that has joined here.
#[remote]
pub fn accept_at(cx: &Context) -> Result<ContextId, Error> {
    let doors = cx.state::<Doors>();
    let doors = doors.0.lock().expect("nobody panics");
    Ok(doors.first().ok_or(Error::ShutDown)?.accept()?.id())
}

/// Runs a shell script through its own context.
#[remote]
pub fn shell(cx: &Context, script: String) -> Result<String, Error> {
    let output = cx.command("sh").arg("-c").arg(script).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Never returns.
#[remote]
pub fn hang() {
    loop {
        std::thread::park_timeout(Duration::from_secs(1000));
    }
}

/// Returns when the file exists.
#[remote]
pub fn wait_for_file(path: PathBuf) -> bool {
    while !path.exists() {
        std::thread::park_timeout(Duration::from_millis(2));
    }
    true
}

/// Prints and logs numbered lines.
#[remote]
pub fn speak(count: usize) {
    for number in 0..count {
        println!("printed {number}");
        eprintln!("complained {number}");
        tracing::warn!("logged {number}");
    }
}

/// Prints numbered lines of a hundred bytes.
#[remote]
pub fn chatter(count: usize) {
    for number in 0..count {
        println!("{number:->100}");
    }
}

/// Logs inside of spans, with fields of every type.
#[remote]
pub fn log_in_spans(number: u32) {
    let outer = tracing::info_span!("outer", number, later = tracing::field::Empty);
    let inside = outer.enter();
    outer.record("later", "known");
    tracing::info_span!("inner").in_scope(|| {
        let size = std::path::Path::new("/srv");
        tracing::warn!(target: "my_agent::disk", free = 17, ratio = -0.5, ok = true, path = %size.display(), "almost full");
    });
    // Passed to another thread explicitly, and outside of all spans.
    let here = tracing::Span::current();
    let work = move || here.in_scope(|| tracing::warn!(target: "my_agent::thread", "elsewhere"));
    let _ = std::thread::spawn(work).join();
    tracing::warn!(target: "my_agent::alone", parent: None, "outside");
    drop(inside);
    tracing::warn!(target: "my_agent::after", "after");
}

/// Logs at every level with each of three targets.
#[remote]
pub fn log_everywhere() {
    macro_rules! everywhere {
        ($($target:literal),*) => {$(
            tracing::error!(target: $target, "error of {}", $target);
            tracing::warn!(target: $target, "warn of {}", $target);
            tracing::info!(target: $target, "info of {}", $target);
            tracing::debug!(target: $target, "debug of {}", $target);
            tracing::trace!(target: $target, "trace of {}", $target);
        )*};
    }
    everywhere!("my_agent::disk", "my_agent::net", "other");
}

/// Prints a line on each stream.
#[remote]
pub fn print_lines() {
    println!("printed on stdout");
    eprintln!("printed on stderr \u{1b}[2J");
}

/// Logs that many records at full speed.
#[remote]
pub fn log_much(count: usize) {
    for number in 0..count {
        tracing::warn!(target: "my_agent::much", "much {number}.");
    }
}

/// Logs a record with a value of that many bytes.
#[remote]
pub fn log_long(length: usize) {
    tracing::warn!(value = "v".repeat(length), "{}", "m".repeat(length));
}

/// Writes these bytes to stdout, or to stderr.
#[remote]
pub fn print(bytes: Vec<u8>, to_stderr: bool) -> io::Result<()> {
    use std::io::Write as _;
    match to_stderr {
        true => io::stderr().write_all(&bytes),
        false => io::stdout()
            .write_all(&bytes)
            .and_then(|()| io::stdout().flush()),
    }
}

/// Creates the first of three files, waits for the second, writes these bytes to stdout and creates
/// the third.
#[remote]
pub fn print_when(bytes: Vec<u8>, files: [PathBuf; 3]) -> io::Result<()> {
    std::fs::write(&files[0], "")?;
    wait_for_file(files[1].clone());
    print(bytes, false)?;
    std::fs::write(&files[2], "")
}

/// Returns the dumps of two other contexts, or the errors.
#[remote]
pub fn dump_others(
    cx: &Context,
    one: ContextId,
    other: ContextId,
) -> Result<(String, String), Error> {
    let dump = |id| {
        cx.by_id(id)
            .dump()
            .map_or_else(|error| error.to_string(), |dump| dump.to_string())
    };
    Ok((dump(one), dump(other)))
}

/// Tries to enable dumps of the whole tree; returns the error.
#[remote]
pub fn debug_there(cx: &Context) -> String {
    cx.router()
        .enable_debug()
        .map_or_else(|error| error.to_string(), |()| String::new())
}

/// Panics with this text.
#[remote]
pub fn panic_with(text: String) {
    panic!("{text}");
}

/// For anyone: returns the name of its context.
#[remote(policy = anyone)]
pub fn greet(cx: &Context) -> String {
    cx.name().to_owned()
}

/// For anyone: never returns.
#[remote(policy = anyone)]
pub fn hang_for_anyone() {
    hang();
}

fn text<T, E: std::fmt::Display>(outcome: Result<T, CallError<E>>) -> Result<T, String> {
    outcome.map_err(|error| error.to_string())
}

/// Calls `greet` in another context.
#[remote]
pub fn greet_other(cx: &Context, other: ContextId) -> Result<String, String> {
    text(cx.by_id(other).call(greet {}))
}

/// Calls a function for ancestors in another context.
#[remote]
pub fn command_other(cx: &Context, other: ContextId) -> Result<String, String> {
    text(cx.by_id(other).call(place {}))
}

/// Calls a function that never returns in another context; creates `started` first.
#[remote]
pub fn wait_for_other(cx: &Context, other: ContextId, started: PathBuf) -> Result<(), String> {
    let reply = cx.by_id(other).start(hang_for_anyone {});
    std::fs::write(started, "").map_err(|error| error.to_string())?;
    text(reply.wait())
}

extern "C" fn nothing_at_all(_signal: libc::c_int) {}

/// Interrupts this process by a signal at this interval, with an empty handler and without
/// `SA_RESTART`; 0 ends it.
#[remote]
pub fn storm(microseconds: u32) {
    interrupt(microseconds);
}

/// Interrupts the calling process; see `storm`.
pub fn interrupt(microseconds: u32) {
    let every = libc::timeval {
        tv_sec: 0,
        tv_usec: microseconds as _,
    };
    let timer = libc::itimerval {
        it_interval: every,
        it_value: every,
    };
    // SAFETY: all zeroes is a valid sigaction; the handler touches nothing; both structures live
    // until the calls return.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing_at_all as *const () as libc::sighandler_t;
        libc::sigaction(libc::SIGALRM, &action, std::ptr::null_mut());
        libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut());
    }
}

/// Returns the counts of state that its node holds.
#[remote]
pub fn held(cx: &Context) -> Vec<(String, usize)> {
    cx.router()
        .held()
        .map(|(what, count)| (what.to_owned(), count))
        .to_vec()
}

/// Returns its argument twice.
#[remote]
pub fn mirror_twice(bytes: Blob) -> (Blob, Blob) {
    (bytes.clone(), bytes)
}
