//! Destructors of functions when their context ends, for every way in which it can end.
//!
//! Each function waits in another way and holds a file that its destructor removes.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use offshoot::{CallError, Error, Reason};
use offshoot_test_agent::cleanup::{begin_all, doze, hold, look_away};
use offshoot_tests::process::{die_with_parent, eventually, signal, wait_for};
use offshoot_tests::run::LIMIT;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{Tree, ended, facts, hop};
use offshoot_tests::users::NOPASS;
use offshoot_tests::{Leaks, Sshd};

/// Milliseconds that a destructor takes; 400 ms are allowed.
const TAKES: [u64; 3] = [0, 50, 300];

/// Waits for the end of a process, then returns the files that are still there.
fn left(process: u32, files: &[PathBuf]) -> Vec<&PathBuf> {
    assert!(
        eventually(LIMIT, || ended(process)),
        "the agent does not end"
    );
    files.iter().filter(|file| file.exists()).collect()
}

/// Asserts that `attempt` leaves no files in a directory of its own. A busy machine may add 100 ms,
/// so an attempt that needs nearly all of the time is repeated up to three times.
#[track_caller]
fn expect_clean(what: &str, takes: u64, attempt: impl Fn(&Path) -> Vec<String>) {
    let tries = if takes < 200 { 1 } else { 3 };
    let mut found = Vec::new();
    for _ in 0..tries {
        let scratch = ScratchDir::new("cleanup");
        found = attempt(scratch.path());
        if found.is_empty() {
            return;
        }
    }
    panic!("{what}, {takes} ms: left: {found:?}");
}

fn names(files: Vec<&PathBuf>) -> Vec<String> {
    files
        .into_iter()
        .filter_map(|file| Some(file.file_name()?.to_str()?.to_owned()))
        .collect()
}

/// Starts a controller in a process of its own that ends as told.
fn start_controller(depth: u32, takes: u64, end: &str, folder: &Path) -> (Child, u32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cleanup-controller"));
    command
        .args([&depth.to_string(), &takes.to_string(), end])
        .arg(folder);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = die_with_parent(&mut command)
        .spawn()
        .expect("cargo builds it for this suite");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it is piped");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("it says where its functions run");
    (
        child,
        line.trim_end()
            .parse()
            .unwrap_or_else(|_| panic!("it failed: {line:?}")),
    )
}

/// Returns the files that the functions of each kind must remove.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the directory is ours");
    let begun = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some(folder.join(name.strip_prefix("begun-")?))
    });
    begun.chain([folder.join("state")]).collect()
}

#[test]
fn functions_run_destructors_however_the_controller_ends() {
    let _leaks = Leaks::begin();
    for depth in [1, 2] {
        for takes in TAKES {
            for end in [
                "return", "exit", "panic", "drop", "SIGKILL", "SIGINT", "SIGTERM", "SIGHUP",
            ] {
                expect_clean(&format!("{end}, {depth} hops"), takes, |folder| {
                    let (mut child, process) = start_controller(depth, takes, end, folder);
                    if let Ok(fatal) = end.parse::<Signal>() {
                        assert!(signal(child.id(), fatal));
                    }
                    let files = files(folder);
                    assert!(files.len() > 10, "{files:?}");
                    let found = names(left(process, &files));
                    if end == "drop" {
                        signal(child.id(), Signal::SIGKILL);
                    }
                    wait_for(&mut child, LIMIT).expect("the controller ends");
                    found
                });
            }
        }
    }
}

#[test]
fn functions_run_destructors_when_the_controller_stops_responding() {
    let _leaks = Leaks::begin();
    expect_clean("silence", 50, |folder| {
        let (mut child, process) = start_controller(1, 50, "wait", folder);
        let files = files(folder);
        assert!(signal(child.id(), Signal::SIGSTOP));
        let found = names(left(process, &files));
        signal(child.id(), Signal::SIGKILL);
        wait_for(&mut child, LIMIT).expect("it was killed");
        found
    });
}

#[test]
fn functions_run_destructors_when_context_link_or_ancestor_ends() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    for takes in TAKES {
        for end in [
            "its own end",
            "that of its parent",
            "a signal to its agent",
            "the tree's end",
            "its link",
        ] {
            expect_clean(end, takes, |folder| {
                let tree = Tree::new();
                let parent = match end {
                    "its link" => hop(&tree.router, &server, NOPASS).connect(),
                    _ => tree.router.local().connect(),
                };
                let parent = parent.unwrap_or_else(|error| panic!("{error}"));
                // The functions may run as any user.
                std::fs::set_permissions(
                    folder,
                    std::os::unix::fs::PermissionsExt::from_mode(0o777),
                )
                .expect("it is ours");
                let there = match end {
                    "its link" => parent.clone(),
                    _ => parent
                        .local()
                        .connect()
                        .unwrap_or_else(|error| panic!("{error}")),
                };
                let begun =
                    begin_all(&there, folder, takes).unwrap_or_else(|error| panic!("{error}"));
                match end {
                    "its own end" => there.shutdown().unwrap_or_else(|error| panic!("{error}")),
                    "that of its parent" => {
                        parent.shutdown().unwrap_or_else(|error| panic!("{error}"))
                    }
                    "a signal to its agent" => assert!(signal(begun.process, Signal::SIGTERM)),
                    "the tree's end" => drop(tree),
                    _ => {
                        for client in offshoot_tests::process::descendants(std::process::id()) {
                            if client.arguments.starts_with("ssh ") {
                                signal(client.pid, Signal::SIGKILL);
                            }
                        }
                    }
                }
                names(left(begun.process, &begun.files))
            });
        }
    }
}

#[test]
fn functions_in_the_controller_run_destructors_before_the_router_is_dropped() {
    let _leaks = Leaks::begin();
    for takes in TAKES {
        expect_clean("the controller's own", takes, |folder| {
            let tree = Tree::new();
            let begun =
                begin_all(&tree.router, folder, takes).unwrap_or_else(|error| panic!("{error}"));
            drop(tree);
            names(begun.files.iter().filter(|file| file.exists()).collect())
        });
    }
}

#[test]
fn a_function_that_ignores_cancellation_still_ends_with_its_context() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("away");
    let tree = Tree::new();
    let child = tree.child();
    let calls: Vec<_> = (0..100)
        .map(|_| {
            child.start(look_away {
                dir: scratch.path().into(),
            })
        })
        .collect();
    assert!(eventually(LIMIT, || scratch
        .path()
        .join("begun-away")
        .exists()));
    let process = facts(&child).process;
    child.shutdown().unwrap_or_else(|error| panic!("{error}"));
    assert!(ended(process));
    for call in calls {
        match call.wait() {
            Err(CallError::Failed(Error::Undelivered {
                reason: Reason::ShutDown,
                ..
            })) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_caller_sees_the_shutdown_rather_than_the_error_of_the_function() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("told");
    let tree = Tree::new();
    let child = tree.child();
    let (dir, way) = (scratch.path().to_path_buf(), "sleeps".to_owned());
    let call = child.start(hold {
        dir,
        name: way.clone(),
        way,
        ms: 0,
    });
    assert!(eventually(LIMIT, || scratch
        .path()
        .join("begun-sleeps")
        .exists()));
    child.shutdown().unwrap_or_else(|error| panic!("{error}"));
    match call.wait() {
        Err(CallError::Failed(Error::Undelivered {
            reason: Reason::ShutDown,
            ..
        })) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn sleep_ends_with_cancellation_deadline_and_router() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let long = 1_000_000;
    let told = |scratch: &ScratchDir| {
        let file = scratch.path().join("dozed");
        assert!(eventually(LIMIT, || file.exists()), "it sleeps on");
        std::fs::read_to_string(file)
            .expect("it is there")
            .trim_end()
            .to_owned()
    };
    let begin = || ScratchDir::new("doze");

    let scratch = begin();
    child
        .call(doze {
            dir: scratch.path().into(),
            ms: 20,
        })
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(told(&scratch), "slept");

    let scratch = begin();
    let call = child.start(doze {
        dir: scratch.path().into(),
        ms: long,
    });
    assert!(eventually(LIMIT, || scratch
        .path()
        .join("begun-doze")
        .exists()));
    call.cancel();
    assert_eq!(told(&scratch), "local: cancelled");

    let scratch = begin();
    let allowed = Duration::from_millis(200);
    let late = child.within(allowed).call(doze {
        dir: scratch.path().into(),
        ms: long,
    });
    // The function gets the rest of the time, and either side may notice first that it is over.
    for text in [late.expect_err("it is late").to_string(), told(&scratch)] {
        assert!(text.starts_with("local: no answer within "), "{text}");
    }

    // In this process, with a deadline and without one; no state is left.
    let held = tree.router.held();
    assert_eq!(tree.router.sleep(Duration::from_millis(1)), Ok(()));
    let late = tree
        .router
        .within(Duration::from_millis(50))
        .sleep(Duration::from_secs(1000));
    assert_eq!(
        late,
        Err(Error::TimedOut {
            context: "controller".into(),
            after_ms: 50
        })
    );
    assert_eq!(tree.router.held(), held);
    let here = (*tree.router).clone();
    let (begun, has_begun) = std::sync::mpsc::channel();
    let sleeper = std::thread::spawn(move || {
        begun.send(()).expect("it is waited for");
        here.sleep(Duration::from_secs(1000))
    });
    has_begun.recv().expect("it has begun");
    drop(tree);
    assert_eq!(
        sleeper.join().expect("it does not panic"),
        Err(Error::ShutDown)
    );
}
