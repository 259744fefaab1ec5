//! Contexts: names, reuse by key, notification of their end, and shutdown with a timeout.

use std::sync::mpsc::channel;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use offshoot::{Connecting, Context, ContextId, Error, Reason, Router, stock};
use offshoot_test_agent as own;
use offshoot_tests::process::{eventually, look_at, signal};
use offshoot_tests::run::LIMIT;
use offshoot_tests::tree::{Tree, ended, facts, refused, router};
use offshoot_tests::users::PLAIN;
use offshoot_tests::{Leaks, Sshd};

#[test]
fn a_process_title_shows_the_context_name_a_remote_name_or_none() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let title = |context: &Context| look_at(facts(context).process).expect("it is up").arguments;
    let shown = |context: &Context| title(context).trim_end().to_owned();
    let web = router.local().name("web").connect().expect("it is up");
    assert_eq!((web.name(), shown(&web).as_str()), ("web", "offshoot: web"));
    let below = web
        .local()
        .shell("/bin/sh")
        .remote_name("a; \"b\" $c")
        .connect()
        .expect("it is up");
    assert_eq!(
        (below.name(), shown(&below).as_str()),
        ("web.local", "offshoot: a; _b_ _c")
    );
    let named = web
        .local()
        .name("db")
        .remote_name("other")
        .connect()
        .expect("it is up");
    assert_eq!(
        (named.name(), shown(&named).as_str()),
        ("web.db", "offshoot: other")
    );
    let hidden = below.local().hide_name().connect().expect("it is up");
    assert_eq!(
        (hidden.name(), shown(&hidden).as_str()),
        ("web.local.local", "offshoot")
    );
    let config = server.config().display().to_string();
    let remote = router
        .ssh("web1")
        .config(config)
        .user(PLAIN.name)
        .hide_name();
    let remote = remote.connect().expect("it is up");
    assert_eq!(
        (remote.name(), shown(&remote).as_str()),
        ("ssh.web1", "offshoot")
    );
    // Neither the loader nor the guard shows more.
    let seen = offshoot_tests::process::all();
    assert!(
        seen.values()
            .filter(|seen| seen.name.starts_with("offshoot"))
            .count()
            >= 10
    );
    for word in ["web.local", "web.db"] {
        assert!(
            !seen.values().any(|seen| seen.arguments.contains(word)),
            "{word} is shown"
        );
    }
}

#[test]
fn contexts_compare_by_id_and_display_their_names() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    assert_eq!(child, tree.router.by_id(child.id()));
    assert_ne!(child, *tree.router);
    assert_eq!(
        (child.to_string(), format!("{child:?}")),
        ("local".into(), "Context(#1 local)".into())
    );
    let error = tree
        .router
        .by_id(child.id())
        .shutdown()
        .expect_err("who started it is not known");
    assert!(
        error
            .to_string()
            .contains("by the context that connect gave"),
        "{error}"
    );
    let error = tree
        .router
        .by_id(ContextId::ROOT)
        .shutdown()
        .expect_err("it is the controller");
    assert!(error.to_string().contains("it is this process"), "{error}");
}

/// Starts many hops with one key at once.
fn ask_at_once(parent: &Context, key: &str, program: &str) -> Vec<Connecting> {
    let hop = || {
        let words = vec![program.to_owned()];
        parent.local().shell_words(words).reuse(key).timeout(LIMIT)
    };
    let asked: Vec<_> = (0..8)
        .map(|_| hop())
        .map(|hop| thread::spawn(move || hop.start()))
        .collect();
    asked
        .into_iter()
        .map(|thread| {
            thread
                .join()
                .expect("it does not panic")
                .expect("it is sent")
        })
        .collect()
}

#[test]
fn concurrent_hops_with_the_same_reuse_key_share_one_attempt() {
    let _leaks = Leaks::begin();
    let router = router();
    let counter = offshoot_tests::hop::Counter::new();
    let hop = |parent: &Context, key: &str| {
        parent
            .local()
            .shell_words(counter.before(["/bin/sh"]))
            .reuse(key)
            .connect()
    };
    let first = hop(&router, "one").expect("it is up");
    let again: Vec<Context> = ask_at_once(&router, "one", "/bin/sh")
        .into_iter()
        .map(|connecting| connecting.wait().expect("it is up"))
        .collect();
    assert!(again.iter().all(|context| *context == first), "{again:?}");
    assert_eq!(counter.starts(), 1);
    let at_once = ask_at_once(&router, "at once", "/bin/sh");
    assert!(
        at_once
            .iter()
            .all(|connecting| connecting.context() == at_once[0].context())
    );
    for connecting in at_once.iter().cloned() {
        assert_ne!(connecting.wait().expect("it is up"), first);
    }
    // Each key and each parent has its own context.
    let other = hop(&router, "other").expect("it is up");
    let below = hop(&first, "one").expect("it is up");
    assert!(other != first && below != first && below != other);
    assert_eq!((counter.starts(), below.name()), (3, "local.local"));
    // A hop without a key gets its own context.
    assert_ne!(router.local().connect().expect("it is up"), first);
}

#[test]
fn all_waiters_of_a_shared_attempt_get_its_error_and_the_next_retries() {
    let _leaks = Leaks::begin();
    let router = router();
    let gate = offshoot_tests::scratch::ScratchDir::new("gate");
    let shut = gate.path().join("shut");
    let script = format!(
        "#!/bin/sh\nif test -e {0}; then touch {0}.seen; while test -e {0}; do sleep 0.01; done; echo closed >&2; exit 3; fi\nexec /bin/sh \"$@\"\n",
        shut.display()
    );
    let program = gate.file("program", script, 0o755).display().to_string();
    gate.file("shut", "", 0o600);
    let asked = ask_at_once(&router, "key", &program);
    assert!(
        asked
            .iter()
            .all(|connecting| connecting.context() == asked[0].context())
    );
    assert!(matches!(
        asked[0].wait_timeout(Duration::ZERO),
        Err(Error::TimedOut { .. })
    ));
    assert!(eventually(LIMIT, || shut.with_extension("seen").exists()));
    std::fs::remove_file(&shut).expect("it is there");
    for connecting in asked.iter().cloned() {
        let error = refused(connecting.wait());
        assert_eq!(
            error.output.last().map(String::as_str),
            Some("closed"),
            "{error}"
        );
    }
    let (told, heard) = channel();
    asked[0].on_arrival(move || told.send(()).expect("the test waits"));
    heard.recv_timeout(LIMIT).expect("it is there already");
    let anew = ask_at_once(&router, "key", &program).remove(0);
    assert_ne!(anew.context(), asked[0].context());
    let up = anew.wait().expect("the gate is open");
    // A lost context is connected anew.
    let gone = up.disconnected().expect("it is below");
    signal(facts(&up).process, Signal::SIGKILL);
    assert_eq!(gone.wait().reason, Reason::Lost);
    let again = ask_at_once(&router, "key", &program)
        .remove(0)
        .wait()
        .expect("the gate is open");
    assert_ne!(again, up);
    again.shutdown().expect("it ends");
    let last = ask_at_once(&router, "key", &program)
        .remove(0)
        .wait()
        .expect("the gate is open");
    assert_ne!(last, again);
    facts(&last);
}

#[test]
fn a_connecting_is_a_cloneable_future() {
    let _leaks = Leaks::begin();
    let router = router();
    let opened = router.local().start().expect("it is sent");
    let clone = opened.clone();
    assert_eq!(
        block_on(clone).expect("it is up"),
        opened.wait().expect("it is up")
    );
}

/// Runs a future on a minimal executor.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future
            .as_mut()
            .poll(&mut std::task::Context::from_waker(&waker))
        {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn disconnected_reports_why_a_context_ended() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let [lost, ended_by_order, parent] = [tree.child(), tree.child(), tree.child()];
    let child = parent.local().connect().expect("it is up");
    let deep = child.local().connect().expect("it is up");

    let watch = lost.disconnected().expect("it is below");
    assert_eq!(watch.wait_timeout(Duration::ZERO), None);
    let (told, heard) = channel();
    lost.disconnected()
        .expect("it is below")
        .on_arrival(move |why| told.send(why).expect("the test waits"));
    signal(facts(&lost).process, Signal::SIGKILL);
    let why = watch.wait();
    assert_eq!(why.reason, Reason::Lost, "{why}");
    assert_eq!(
        heard
            .recv_timeout(LIMIT)
            .expect("the second waiter gets the reason"),
        why
    );
    assert_eq!(block_on(watch), why);
    // A late query returns the same reason at once.
    assert_eq!(
        lost.disconnected()
            .expect("it was below")
            .wait_timeout(Duration::ZERO),
        Some(why)
    );

    let watch = ended_by_order.disconnected().expect("it is below");
    ended_by_order.shutdown().expect("it ends");
    assert_eq!(watch.wait().reason, Reason::ShutDown);

    // Its descendants are lost too, even if known only by id.
    let watches = [&child, &deep].map(|context| tree.router.by_id(context.id()).disconnected());
    signal(facts(&parent).process, Signal::SIGKILL);
    for watch in watches {
        assert_eq!(watch.expect("it is below").wait().reason, Reason::Lost);
    }

    let failed = tree
        .router
        .local()
        .shell("/nowhere/to/be/found")
        .start()
        .expect("it is sent");
    let watch = failed.context().disconnected();
    assert_eq!(
        watch.expect("it was to be below").wait().reason,
        Reason::ConnectFailed
    );
    refused(failed.wait());
}

#[test]
fn disconnected_resolves_when_the_router_is_dropped() {
    let _leaks = Leaks::begin();
    let router = router();
    let child = router.local().connect().expect("it is up");
    let watch = child.disconnected().expect("it is below");
    let (told, heard) = channel();
    child
        .disconnected()
        .expect("it is below")
        .on_arrival(move |why| told.send(why).expect("it is read"));
    let own = router.disconnected().expect("the router may end");
    assert_eq!(own.wait_timeout(Duration::ZERO), None);
    drop(router);
    assert_eq!(
        (watch.wait().reason, own.wait().reason),
        (Reason::ShutDown, Reason::ShutDown)
    );
    assert_eq!(
        heard.recv_timeout(LIMIT).expect("it was told").reason,
        Reason::ShutDown
    );
    let late = child.disconnected().expect("its router has ended").wait();
    assert_eq!(late.reason, Reason::ShutDown);
}

#[test]
fn disconnected_is_an_error_for_a_context_that_is_no_descendant() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let unknown = tree.router.by_id(ContextId(12_345));
    let error = unknown
        .disconnected()
        .expect_err("it is not below")
        .to_string();
    assert!(
        error.contains(unknown.name()) && error.contains("not below this process"),
        "{error}"
    );
    // The same inside a function: a descendant and an ancestor.
    let place = tree.child();
    let (below, above) = place.call(own::watch_others {}).expect("it answers");
    assert_eq!(below, "shut down");
    assert!(above.contains("not below this process"), "{above}");
}

#[test]
fn shutdown_past_its_timeout_is_an_error_but_still_happens() {
    let _leaks = Leaks::begin();
    let router = router();
    let parent = router.local().connect().expect("it is up");
    let child = parent.local().connect().expect("it is up");
    let [above, below] = [&parent, &child].map(|context| facts(context).process);
    signal(above, Signal::SIGSTOP);
    let error = child
        .shutdown_within(Duration::from_millis(50))
        .expect_err("its parent is stopped");
    assert!(
        matches!(&error, Error::TimedOut { after_ms: 50, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("local.local"), "{error}");
    signal(above, Signal::SIGCONT);
    assert!(eventually(LIMIT, || ended(below)));
    child.shutdown().expect("it is gone, which is no error");
    parent.call(stock::facts {}).expect("the parent goes on");
    parent.shutdown_within(LIMIT).expect("it ends");
}

#[test]
fn reused_contexts_are_not_shared_between_routers() {
    let _leaks = Leaks::begin();
    let routers: Vec<Router> = (0..2).map(|_| router()).collect();
    let contexts: Vec<Context> = routers
        .iter()
        .map(|router| router.local().reuse("key").connect().expect("it is up"))
        .collect();
    assert_ne!(facts(&contexts[0]).process, facts(&contexts[1]).process);
}
