//! Processes of the same user that join a tree by a socket, and everyone who may not.

use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use offshoot::{CallError, Context, ContextId, Error, Listener, Reason, stock};
use offshoot_codec as codec;
use offshoot_proto::wire::{Header, Kind, encode};
use offshoot_test_agent as own;
use offshoot_tests::Leaks;
use offshoot_tests::join_peer::JoinPeer;
use offshoot_tests::process::{eventually, signal};
use offshoot_tests::run::LIMIT;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{Tree, ended, facts, router};
use offshoot_tests::users::PLAIN;

const PROGRAM: &str = env!("CARGO_BIN_EXE_join-peer");

fn folder() -> ScratchDir {
    ScratchDir::new("joining")
}

/// Starts a process that joins; returns it and its context from the listener.
#[track_caller]
fn join(listener: &Listener) -> (JoinPeer, Context) {
    let (peer, number) = JoinPeer::joined(PROGRAM, listener.path());
    let context = listener.accept_timeout(LIMIT).expect("it has joined");
    assert_eq!(context.id(), ContextId(number));
    (peer, context)
}

#[test]
fn a_joined_process_is_callable_and_calls_with_the_listeners_authority() {
    let _leaks = Leaks::begin();
    let (tree, folder) = (Tree::new(), folder());
    let host = tree.child();
    let below = host.local().connect().expect("it is up");
    let listener = tree
        .router
        .listen(folder.path().join("socket"))
        .expect("nobody is there");
    let (mut peer, context) = join(&listener);
    // Called from above: its own functions run in it.
    let name = format!("join.{}", peer.process());
    assert_eq!(context.name(), name);
    assert_eq!(context.call(own::place {}).expect("it answers"), name);
    assert_eq!(facts(&context).process, peer.process());
    let output = context
        .command("sh")
        .args(["-c", "echo $PPID"])
        .output()
        .expect("it runs there");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        peer.process().to_string()
    );
    // Calling from it: the listener itself and its descendants.
    let at = |context: &Context| format!("place {}", context.id().0);
    assert_eq!(peer.does(&at(&tree.router)).as_deref(), Ok("controller"));
    assert_eq!(peer.does(&at(&host)).as_deref(), Ok("local"));
    assert_eq!(peer.does(&at(&below)).as_deref(), Ok("local.local"));
    assert_eq!(
        peer.does(&format!("shell {} echo hello", below.id().0))
            .as_deref(),
        Ok("hello")
    );
    // It connects a context there, which is known everywhere.
    let grown = peer
        .does(&format!("local {}", host.id().0))
        .expect("it is up");
    let number: u32 = grown
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a number");
    let grown = tree
        .router
        .by_id(ContextId(number))
        .call(own::place {})
        .expect("it is known above");
    assert!(grown.ends_with(".local"), "{grown}");
    // Descendants answer it, send to its channels and pass on its senders, and reach it in no other
    // way.
    assert_eq!(
        peer.does(&format!("count {}", host.id().0)).as_deref(),
        Ok("0 1 2")
    );
    assert_eq!(
        peer.does(&format!("forward {} {}", host.id().0, below.id().0))
            .as_deref(),
        Ok("0 1 2")
    );
    let other = tree.child();
    for from in [&host, &below, &other] {
        let error = from
            .call(own::greet_other {
                other: context.id(),
            })
            .expect_err("it has asked for nothing");
        assert!(error.to_string().contains("may not talk"), "{error}");
        let error = from
            .call(own::command_other {
                other: context.id(),
            })
            .expect_err("it is not obeyed");
        assert!(error.to_string().contains("may not talk"), "{error}");
    }
    // A wait for a lost context ends with the reason.
    peer.tell(&format!("hang {}", below.id().0));
    host.shutdown().expect("it ends");
    let told = peer.answer().expect("its wait has ended");
    assert!(
        told.contains("shut down") || told.contains("connection lost"),
        "{told}"
    );
}

#[test]
fn children_of_a_joined_process_do_not_inherit_its_authority() {
    let _leaks = Leaks::begin();
    let (tree, folder) = (Tree::new(), folder());
    let host = tree.child();
    let listener = tree
        .router
        .listen(folder.path().join("socket"))
        .expect("nobody is there");
    let (mut peer, context) = join(&listener);
    let started = peer.does("local").expect("it is up");
    let words: Vec<&str> = started.split(' ').collect();
    // The peer prints the number outside of the tree. The tree's own news of the new context is on
    // the same link as this call, and before it.
    assert_eq!(peer.does("place 0").as_deref(), Ok("controller"));
    let child = tree
        .router
        .by_id(ContextId(words[0].parse().expect("a number")));
    assert_eq!(
        child.call(own::place {}).as_deref(),
        Ok(format!("{context}.local").as_str())
    );
    assert_eq!(words[2], format!("{context}.local"));
    for other in [host.id(), ContextId::ROOT] {
        match child.call(own::command_other { other }) {
            Err(CallError::Function { error: why, .. }) => {
                assert!(
                    why.contains("may not talk") || why.contains("refused"),
                    "{why}"
                );
            }
            outcome => panic!("it commands {other}: {outcome:?}"),
        }
    }
}

#[test]
fn leaving_ends_what_a_process_started_in_the_tree_but_not_the_process() {
    let _leaks = Leaks::begin();
    let (tree, folder) = (Tree::new(), folder());
    let listener = tree
        .router
        .listen(folder.path().join("socket"))
        .expect("nobody is there");
    let (mut peer, context) = join(&listener);
    let gone = context.disconnected().expect("it is below");
    let child = peer.does("local").expect("it is up");
    let child: u32 = child
        .split(' ')
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("a number");
    let apart: u32 = peer
        .does("apart")
        .expect("it starts")
        .parse()
        .expect("a number");
    let own_program: u32 = peer
        .does(&format!("program {}", context.id().0))
        .expect("it runs")
        .parse()
        .expect("a number");
    let hanging = context.start(own::hang {});
    peer.does("leave").expect("it can");
    assert!(ended(child) && ended(own_program) && !ended(apart));
    assert_eq!(gone.wait().reason, Reason::Lost);
    assert!(hanging.wait().is_err());
    assert!(context.call(stock::facts {}).is_err());
    assert_eq!(
        peer.does("place 0").expect_err("it has left"),
        "it has left"
    );
    signal(apart, Signal::SIGKILL);
    // The tree continues, and other processes may join.
    let (other, again) = join(&listener);
    assert_ne!(again, context);
    assert_eq!(facts(&again).process, other.process());
    drop(peer);
}

#[test]
fn a_joined_process_outlives_its_killed_tree_but_its_children_do_not() {
    let _leaks = Leaks::begin();
    let folder = folder();
    let path = folder.path().join("socket");
    let words = ["listen", path.to_str().expect("our own path")];
    for killed in [true, false] {
        let mut listening = JoinPeer::start(PROGRAM, None, &words);
        assert_eq!(listening.first, format!("listening {}", path.display()));
        let (mut peer, _) = JoinPeer::joined(PROGRAM, &path);
        listening.does("accept").expect("it has joined");
        let child = peer.does("local").expect("it is up");
        let child: u32 = child
            .split(' ')
            .nth(1)
            .and_then(|number| number.parse().ok())
            .expect("a number");
        let apart: u32 = peer
            .does("apart")
            .expect("it starts")
            .parse()
            .expect("a number");
        peer.does("watch").expect("its tree is there");
        peer.tell("watched");
        if killed {
            signal(listening.process(), Signal::SIGKILL);
        } else {
            listening.does("leave").expect("its tree ends");
        }
        let why = peer.answer().expect("the peer gets the reason");
        assert!(why.contains("connection lost"), "{why}");
        assert!(eventually(LIMIT, || ended(child)));
        assert!(!ended(apart) && !ended(peer.process()));
        let error = peer.does("place 0").expect_err("the tree has ended");
        assert!(error.contains("shut down"), "{error}");
        signal(apart, Signal::SIGKILL);
        // A killed listener leaves its socket; the next round replaces it.
        assert_eq!(path.exists(), killed);
    }
}

#[test]
fn a_joined_process_that_is_killed_or_stopped_is_removed_from_the_tree() {
    let _leaks = Leaks::begin();
    let (tree, folder) = (Tree::new(), folder());
    let listener = tree
        .router
        .listen(folder.path().join("socket"))
        .expect("nobody is there");
    let (mut peer, context) = join(&listener);
    let child = peer.does("local").expect("it is up");
    let child: u32 = child
        .split(' ')
        .nth(1)
        .and_then(|number| number.parse().ok())
        .expect("a number");
    let gone = context.disconnected().expect("it is below");
    signal(peer.process(), Signal::SIGKILL);
    assert_eq!(gone.wait().reason, Reason::Lost);
    assert!(eventually(LIMIT, || ended(child)));
    // On shutdown it leaves; a stopped process cannot, and is removed.
    let (mut peer, context) = join(&listener);
    context.shutdown().expect("it leaves");
    assert!(
        peer.does("place 0")
            .expect_err("it was put out")
            .contains("shut down")
    );
    let (peer, context) = join(&listener);
    let gone = context.disconnected().expect("it is below");
    signal(peer.process(), Signal::SIGSTOP);
    context.shutdown().expect("it is put out");
    assert_eq!(gone.wait().reason, Reason::ShutDown);
    assert!(!ended(peer.process()));
    signal(peer.process(), Signal::SIGCONT);
}

#[test]
fn a_listener_replaces_only_stale_sockets_and_removes_its_own() {
    let _leaks = Leaks::begin();
    let folder = folder();
    let path = folder.path().join("socket");
    let words = ["listen", path.to_str().expect("our own path")];
    let first = JoinPeer::start(PROGRAM, None, &words);
    assert!(first.first.starts_with("listening"), "{}", first.first);
    let second = JoinPeer::start(PROGRAM, None, &words);
    assert!(
        second
            .first
            .contains(&format!("process {} listens there", first.process())),
        "{}",
        second.first
    );
    signal(first.process(), Signal::SIGKILL);
    drop(first);
    assert!(
        fs::symlink_metadata(&path)
            .expect("it was left")
            .file_type()
            .is_socket()
    );
    let error = JoinPeer::start(PROGRAM, None, &["join", words[1]])
        .first
        .clone();
    assert!(
        error.contains("no process listens there any more"),
        "{error}"
    );
    let tree = router();
    let listener = tree.listen(&path).expect("it is stale");
    let (mut peer, context) = join(&listener);
    drop(listener);
    assert!(!path.exists());
    // Joined processes stay.
    assert_eq!(peer.does("place 0").as_deref(), Ok("controller"));
    assert_eq!(facts(&context).process, peer.process());
    let listener = tree.listen(&path).expect("nobody is there");
    drop(tree);
    assert!(!path.exists());
    assert!(matches!(listener.accept(), Err(Error::ShutDown)));
    assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0);
}

#[test]
fn a_long_accept_does_not_block_an_accept_with_a_timeout() {
    let _leaks = Leaks::begin();
    let (tree, folder) = (Tree::new(), folder());
    let listener = tree
        .router
        .listen(folder.path().join("socket"))
        .expect("nobody is there");
    thread::scope(|scope| {
        let accepting: Vec<_> = (0..3).map(|_| scope.spawn(|| listener.accept())).collect();
        let (tell, told) = std::sync::mpsc::channel();
        let listener = &listener;
        scope.spawn(move || {
            // The other threads wait until somebody joins, however late they start.
            for _ in 0..50 {
                let outcome = listener.accept_timeout(Duration::from_millis(2));
                assert!(
                    matches!(outcome, Err(Error::TimedOut { after_ms: 2, .. })),
                    "{outcome:?}"
                );
            }
            tell.send(()).expect("it is waited for");
        });
        let in_time = told.recv_timeout(LIMIT);
        let joiners: Vec<JoinPeer> = (0..3)
            .map(|_| JoinPeer::joined(PROGRAM, listener.path()).0)
            .collect();
        let mut seen: Vec<u32> = accepting
            .into_iter()
            .map(|one| {
                facts(
                    &one.join()
                        .expect("it does not panic")
                        .expect("somebody has joined"),
                )
                .process
            })
            .collect();
        let mut expected: Vec<u32> = joiners.iter().map(JoinPeer::process).collect();
        seen.sort_unstable();
        expected.sort_unstable();
        assert_eq!((in_time, seen), (Ok(()), expected));
    });
}

#[test]
fn a_listener_socket_has_mode_0600_under_any_umask() {
    let _leaks = Leaks::begin();
    let folder = folder();
    let path = folder.path().join("socket");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("it is ours");
    let tree = router();
    let before = umask(Mode::empty());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) {
                for entry in fs::read_dir(folder.path()).expect("it is there").flatten() {
                    let Ok(about) = fs::symlink_metadata(entry.path()) else {
                        continue;
                    };
                    let mode = about.permissions().mode() & 0o7777;
                    assert_eq!(
                        mode,
                        if about.is_dir() { 0o700 } else { 0o600 },
                        "{entry:?}"
                    );
                    seen += 1;
                }
            }
            seen
        });
        for _ in 0..300 {
            drop(tree.listen(&path).expect("nobody is there"));
        }
        let _listener = tree.listen(&path).expect("nobody is there");
        assert!(eventually(LIMIT, || path.exists()));
        done.store(true, Ordering::Relaxed);
        assert!(looking.join().expect("it saw nothing else") > 0);
    });
    assert_eq!(umask(before), Mode::empty(), "it is the program's own");
    drop(tree);
}

#[test]
fn processes_of_different_users_cannot_join_each_other() {
    let _leaks = Leaks::begin();
    let folder = folder();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("it is ours");
    // A copy that the other user can execute.
    let program = folder.file("peer", fs::read(PROGRAM).expect("it was built"), 0o755);
    let program = program.to_str().expect("our own path");
    let tree = router();
    let path = folder.path().join("roots");
    let listener = tree.listen(&path).expect("nobody is there");
    let as_plain = |words: &[&str]| JoinPeer::start(program, Some(PLAIN), words).first.clone();
    let roots = path.to_str().expect("our own path");
    let error = as_plain(&["join", roots]);
    assert!(
        error.contains("the socket belongs to another user"),
        "{error}"
    );
    // Even with a mode that admits everybody, both sides refuse.
    fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("it is ours");
    let error = as_plain(&["join", roots]);
    assert!(error.contains("user 0 listens there"), "{error}");
    let heard = as_plain(&["knock", roots, "anything"]);
    assert_eq!(
        heard,
        "heard refused: only processes of the same user can join"
    );
    assert!(matches!(
        listener.accept_timeout(Duration::ZERO),
        Err(Error::TimedOut { .. })
    ));
    // Root does not join at a socket of another user either.
    let plains = folder.path().join("plains");
    let plains = plains.to_str().expect("our own path");
    let listening = JoinPeer::start(program, Some(PLAIN), &["listen", plains]);
    assert!(
        listening.first.starts_with("listening"),
        "{}",
        listening.first
    );
    let error = JoinPeer::start(program, None, &["join", plains])
        .first
        .clone();
    assert!(
        error.contains("listens there, and this process runs as user 0"),
        "{error}"
    );
    let heard = JoinPeer::start(program, None, &["knock", plains, "anything"])
        .first
        .clone();
    assert_eq!(
        heard,
        "heard refused: only processes of the same user can join"
    );
    let error = tree
        .listen(plains)
        .expect_err("it is another's")
        .to_string();
    assert!(error.contains("a socket of user"), "{error}");
    // A process of the same user joins there.
    let joined = as_plain(&["join", plains]);
    assert!(joined.starts_with("joined 1 join."), "{joined}");
}

#[test]
fn silent_or_invalid_connections_block_nobody_from_joining() {
    let _leaks = Leaks::begin();
    let (tree, folder) = (Tree::new(), folder());
    let listener = tree
        .router
        .listen(folder.path().join("socket"))
        .expect("nobody is there");
    let knock = || UnixStream::connect(listener.path()).expect("it is listened on");
    let mut silent: Vec<UnixStream> = (0..40).map(|_| knock()).collect();
    let (peer, context) = join(&listener);
    assert_eq!(facts(&context).process, peer.process());
    // The number of pending connections is limited; the oldest was closed.
    let mut heard = Vec::new();
    silent[0].read_to_end(&mut heard).expect("it was closed");
    assert!(heard.is_empty());

    let refused = |said: &[u8]| {
        let mut stream = knock();
        stream.write_all(said).expect("it is read");
        let mut heard = String::new();
        stream.read_to_string(&mut heard).expect("it was closed");
        heard
    };
    assert_eq!(
        refused(b"GET / HTTP/1.1\r\n\r\n"),
        "refused: it does not speak this protocol\n"
    );
    let frame = |kind: Kind, payload: &[u8]| {
        let mut bytes = Vec::new();
        encode(
            &Header::new(kind, ContextId(u32::MAX), ContextId(0)),
            payload,
            0,
            &mut bytes,
        );
        bytes
    };
    assert_eq!(
        refused(&frame(Kind::Ping, b"")),
        "refused: it does not speak this protocol\n"
    );
    let hello = codec::to_bytes(&(1_u64, 1_u32, "x86_64", "0.1.0", Vec::<u64>::new()))
        .expect("it serialises");
    assert_eq!(
        refused(&frame(Kind::Hello, &hello)),
        "refused: it was built from other sources; build both programs from the same sources\n"
    );
    // The last silent connection times out, too.
    let last = silent.last_mut().expect("there are some");
    last.set_read_timeout(Some(LIMIT)).expect("it is a socket");
    last.read_to_end(&mut heard).expect("its time was up");
    assert!(heard.is_empty());
    assert_eq!(facts(&context).process, peer.process());
}

#[test]
fn a_process_can_join_an_agent_deep_in_the_tree() {
    let _leaks = Leaks::begin();
    let (tree, folder) = (Tree::new(), folder());
    let beside = tree.child();
    let place = beside.local().connect().expect("it is up");
    let below = place.local().connect().expect("it is up");
    let path = folder.path().join("socket");
    place
        .call(own::listen_at { path: path.clone() })
        .expect("nobody is there");
    let (mut peer, number) = JoinPeer::joined(PROGRAM, &path);
    assert_eq!(
        place.call(own::accept_at {}).expect("it has joined"),
        ContextId(number)
    );
    let context = tree.router.by_id(ContextId(number));
    let name = format!("{place}.join.{}", peer.process());
    assert_eq!(context.call(own::place {}).as_deref(), Ok(name.as_str()));
    assert_eq!(facts(&context).process, peer.process());
    assert_eq!(
        peer.does(&format!("place {}", below.id().0)).as_deref(),
        Ok(below.name())
    );
    assert_eq!(
        peer.does(&format!("place {}", place.id().0)).as_deref(),
        Ok(place.name())
    );
    // It has no more authority than the listener.
    for above in [ContextId::ROOT, beside.id()] {
        let error = peer
            .does(&format!("place {}", above.0))
            .expect_err("it is above");
        assert!(error.contains("refused"), "{error}");
    }
    let child = peer.does("local").expect("the root has given it a number");
    assert!(child.ends_with(&format!("{name}.local")), "{child}");
    let gone = context.disconnected().expect("it is below");
    peer.does("leave").expect("it can");
    assert_eq!(gone.wait().reason, Reason::Lost);
    place.shutdown().expect("it ends");
    assert!(!path.exists());
}

#[test]
fn joining_or_listening_at_a_wrong_path_says_what_is_there() {
    let _leaks = Leaks::begin();
    let folder = folder();
    let nowhere = folder.path().join("nowhere");
    let said = |path: &Path| {
        offshoot::join(path)
            .expect_err("nobody is there")
            .to_string()
    };
    assert!(said(&nowhere).contains("no process listens there"));
    assert!(said(&nowhere).contains(&nowhere.display().to_string()));
    let file = folder.file("file", "precious", 0o600);
    assert!(said(&file).contains("no process listens there any more"));
    let tree = router();
    let error = tree.listen(&file).expect_err("a file is there").to_string();
    assert!(error.contains("not a socket"), "{error}");
    assert_eq!(fs::read(&file).expect("it is left alone"), b"precious");
    assert!(tree.listen(folder.path().join("no/folder")).is_err());
}

#[test]
fn a_listener_that_has_changed_its_uid_refuses_to_be_joined() {
    let _leaks = Leaks::begin();
    let folder = folder();
    let path = folder.path().join("socket");
    let path = path.to_str().expect("our own path");
    let mut listening = JoinPeer::start(PROGRAM, None, &["listen", path]);
    assert!(
        listening.first.starts_with("listening"),
        "{}",
        listening.first
    );
    let joined = JoinPeer::start(PROGRAM, None, &["join", path])
        .first
        .clone();
    assert!(joined.starts_with("joined"), "{joined}");
    listening
        .does(&format!("become {}", PLAIN.name))
        .expect("root may");
    let error = JoinPeer::start(PROGRAM, None, &["join", path])
        .first
        .clone();
    assert!(error.contains("has changed its user and has to"), "{error}");
    let heard = JoinPeer::start(PROGRAM, None, &["knock", path, "anything"])
        .first
        .clone();
    assert!(heard.contains("has changed its user and has to"), "{heard}");
}
