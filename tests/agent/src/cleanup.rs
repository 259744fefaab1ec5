//! Functions with a destructor that must run when they are cancelled, each waiting in another way.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use offshoot::{CallError, Chain, Context, Error, Reply, Select, remote};

use crate::attributes::note;
use crate::hang;

/// The ways in which a function can wait, by name.
pub const WAYS: [&str; 9] = [
    "checks", "sleeps", "program", "reads", "call", "kept", "receives", "selects", "connects",
];

/// A file whose destructor removes it after a while.
struct Guard {
    file: PathBuf,
    takes: Duration,
}

impl Guard {
    fn new(file: PathBuf, ms: u64) -> Self {
        note(&file, "to be removed");
        Self {
            file,
            takes: Duration::from_millis(ms),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Cleanup that cannot be cancelled.
        thread::sleep(self.takes);
        let _ = std::fs::remove_file(&self.file);
    }
}

/// State that a function holds while it runs.
struct Held(#[allow(dead_code, reason = "it is for its end")] Guard);

/// A child context that belongs to no call.
struct Below(Context);

fn flat<E: std::fmt::Display>(outcome: Result<(), CallError<E>>) -> Result<(), Error> {
    outcome.map_err(|error| Error::Function(error.to_string()))
}

fn wait(cx: &Context, way: &str) -> Result<(), Error> {
    match way {
        "checks" => loop {
            cx.check()?;
            thread::park_timeout(Duration::from_millis(2));
        },
        "sleeps" => cx.sleep(Duration::from_secs(1000)),
        "program" => cx.command("sleep").arg("1000").output().map(drop),
        "reads" => {
            let mut program = cx.command("sleep").arg("1000").spawn()?;
            let mut stdout = program.stdout.take().ok_or(Error::ShutDown)?;
            std::io::copy(&mut stdout, &mut std::io::sink())
                .map(drop)
                .map_err(|error| Error::Function(error.to_string()))
        }
        "call" => flat(cx.local().connect()?.call(hang {})),
        "kept" => {
            let below = cx.state_or_else(|cx| Ok(Below(cx.local().connect()?)))?;
            flat(below.0.call(hang {}))
        }
        "receives" => {
            let (_to, from) = cx.router().channel::<u64>()?;
            from.recv()
                .map(drop)
                .map_err(|error| Error::Function(error.to_string()))
        }
        "selects" => {
            let select = Select::new([cx.local().connect()?.start(hang {})]);
            select.wait().map(drop).ok_or(Error::ShutDown)
        }
        // A hop that never connects.
        "connects" => cx
            .local()
            .shell_words(vec!["sleep".into(), "1000".into()])
            .timeout(Duration::from_secs(1000))
            .connect()
            .map(drop),
        other => panic!("{other} is no way to wait"),
    }
}

fn guarded(cx: &Context, dir: &Path, name: &str, way: &str, ms: u64) -> Result<(), Error> {
    let state = cx.state_or_else(|_| Ok(Held(Guard::new(dir.join("state"), 0))))?;
    let _guard = Guard::new(dir.join(name), ms);
    note(
        &dir.join(format!("begun-{name}")),
        &std::process::id().to_string(),
    );
    let outcome = wait(cx, way);
    drop(state);
    outcome
}

/// Waits in that way and cleans up afterwards, for that long.
#[remote]
pub fn hold(cx: &Context, dir: PathBuf, name: String, way: String, ms: u64) -> Result<(), Error> {
    guarded(cx, &dir, &name, &way, ms)
}

/// The same as a serial function.
#[remote(serial)]
pub fn hold_in_turn(cx: &Context, dir: PathBuf, name: String, ms: u64) -> Result<(), Error> {
    guarded(cx, &dir, &name, "checks", ms)
}

/// The same as a shared function.
#[remote(shared)]
pub fn hold_for_all(cx: &Context, dir: PathBuf, name: String, ms: u64) -> Result<(), Error> {
    guarded(cx, &dir, &name, "checks", ms)
}

/// The same as a function without a reply.
#[remote(no_reply)]
pub fn hold_for_nobody(cx: &Context, dir: PathBuf, name: String, ms: u64) {
    let _ = guarded(cx, &dir, &name, "sleeps", ms);
}

/// Ignores cancellation.
#[remote]
pub fn look_away(dir: PathBuf) {
    note(&dir.join("begun-away"), &std::process::id().to_string());
    hang();
}

/// Sleeps, and writes the outcome to a file.
#[remote]
pub fn doze(cx: &Context, dir: PathBuf, ms: u64) -> Result<(), Error> {
    note(&dir.join("begun-doze"), "");
    let outcome = cx.sleep(Duration::from_millis(ms));
    note(
        &dir.join("dozed.part"),
        &outcome
            .as_ref()
            .map_or_else(Error::to_string, |()| "slept".into()),
    );
    let _ = std::fs::rename(dir.join("dozed.part"), dir.join("dozed"));
    outcome
}

/// The calls of [`begin_all`].
#[must_use = "dropping it gives them up"]
pub struct Begun {
    _calls: Vec<Reply<hold>>,
    _in_turn: Reply<hold_in_turn>,
    _for_all: [Reply<hold_for_all>; 2],
    _chain: Chain,
    /// Files that their destructors must remove.
    pub files: Vec<PathBuf>,
    /// The process in which they run.
    pub process: u32,
}

/// Starts functions of every kind, waiting in every way, and waits until all of them run.
///
/// # Errors
/// Returns an error if one cannot be started.
pub fn begin_all(there: &Context, dir: &Path, ms: u64) -> Result<Begun, Error> {
    let (name, own) = (|name: &str| name.to_owned(), || dir.to_owned());
    let calls = WAYS.map(|way| {
        there.start(hold {
            dir: own(),
            name: name(way),
            way: name(way),
            ms,
        })
    });
    let in_turn = there.start(hold_in_turn {
        dir: own(),
        name: name("in-turn"),
        ms,
    });
    let for_all = [(); 2].map(|()| {
        there.start(hold_for_all {
            dir: own(),
            name: name("for-all"),
            ms,
        })
    });
    there.cast(hold {
        dir: own(),
        name: name("cast"),
        way: name("checks"),
        ms,
    })?;
    there.cast(hold_for_nobody {
        dir: own(),
        name: name("for-nobody"),
        ms,
    })?;
    let chain = there.chain()?;
    drop(chain.start(hold {
        dir: own(),
        name: name("chained"),
        way: name("sleeps"),
        ms,
    }));
    let names = WAYS
        .into_iter()
        .chain(["in-turn", "for-all", "cast", "for-nobody", "chained"]);
    let mut process = 0;
    for name in names.clone() {
        let begun = dir.join(format!("begun-{name}"));
        while process == 0 || !begun.exists() {
            let text = std::fs::read_to_string(&begun).unwrap_or_default();
            process = text
                .strip_suffix('\n')
                .and_then(|text| text.parse().ok())
                .unwrap_or(process);
            thread::park_timeout(Duration::from_millis(2));
        }
    }
    let files = names.chain(["state"]).map(|name| dir.join(name)).collect();
    Ok(Begun {
        _calls: calls.into(),
        _in_turn: in_turn,
        _for_all: for_all,
        _chain: chain,
        files,
        process,
    })
}
