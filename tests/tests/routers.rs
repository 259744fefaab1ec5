//! Routers: the life of a tree in its process, several trees in one process, and the router of a
//! function.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::thread;

use offshoot::{Context, ContextId, Error, Router, stock};
use offshoot_test_agent as own;
use offshoot_tests::Leaks;
use offshoot_tests::run::LIMIT;
use offshoot_tests::tree::{Tree, ended, facts, router};

#[test]
fn trees_in_one_process_are_independent() {
    let _leaks = Leaks::begin();
    let trees: Vec<Router> = (0..3).map(|_| router()).collect();
    let children: Vec<Context> = trees
        .iter()
        .map(|tree| tree.local().connect().expect("it is up"))
        .collect();
    // The same id in each tree, and still three different contexts.
    assert!(children.iter().all(|child| child.id() == children[0].id()));
    assert!(children[0] != children[1] && children[0] == children[0].clone());
    let processes: Vec<u32> = children.iter().map(|child| facts(child).process).collect();
    for (at, tree) in trees.into_iter().enumerate() {
        assert!(processes[at..].iter().all(|process| !ended(*process)));
        drop(tree);
        assert!(ended(processes[at]));
        let error = children[at]
            .call(stock::facts {})
            .expect_err("its tree has ended");
        assert!(error.to_string().contains("shut down"), "{error}");
    }
}

/// Runs `offshoot::run`; returns its outcome, the process of its agent, and a context that outlives
/// it.
fn run(
    work: impl FnOnce(&Context) -> offshoot::Result<()>,
) -> (thread::Result<offshoot::Result<()>>, u32, Context) {
    let mut kept = None;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        offshoot::run(|router| {
            let child = router.local().connect()?;
            kept = Some((facts(&child).process, child.clone()));
            work(&child)
        })
    }));
    let (process, context) = kept.expect("it came up");
    (outcome, process, context)
}

#[test]
fn run_ends_its_tree_after_a_return_an_error_and_a_panic() {
    let _leaks = Leaks::begin();
    let (outcome, process, _kept) = run(|_| Ok(()));
    assert!(matches!(outcome, Ok(Ok(()))) && ended(process));
    let (outcome, process, _kept) = run(|_| Err(Error::Image("as told".into())));
    assert!(matches!(outcome, Ok(Err(Error::Image(_)))) && ended(process));
    let (outcome, process, _kept) = run(|_| panic!("as told"));
    assert!(outcome.is_err() && ended(process));
}

#[test]
fn a_context_clone_in_another_thread_does_not_keep_the_tree_alive() {
    let _leaks = Leaks::begin();
    let (waits, waiting) = channel();
    let (end, ended_at_last) = channel();
    let (outcome, process, kept) = run(|child| {
        let clone = child.clone();
        thread::spawn(move || {
            let sleep = clone
                .command("sleep")
                .arg("1000")
                .spawn()
                .expect("it is there");
            waits.send(()).expect("the test waits");
            end.send(sleep.wait()).expect("the test waits");
        });
        waiting
            .recv_timeout(LIMIT)
            .expect("the program was started");
        Ok(())
    });
    assert!(matches!(outcome, Ok(Ok(()))) && ended(process));
    let status = ended_at_last
        .recv_timeout(LIMIT)
        .expect("its wait has ended");
    assert!(status.is_err() || status.is_ok_and(|status| !status.success()));
    assert!(matches!(
        kept.local().start().map(drop),
        Err(Error::ShutDown)
    ));
}

#[test]
fn only_the_owner_of_a_tree_can_shut_it_down() {
    let _leaks = Leaks::begin();
    let owner = router();
    let child = owner.local().connect().expect("it is up");
    let process = facts(&child).process;
    let guest = child.router();
    assert_eq!((guest.id(), guest.name()), (ContextId::ROOT, "controller"));
    let error = guest.shutdown().expect_err("it owns nothing");
    assert!(error.to_string().contains("does not own"), "{error}");
    drop(child.router());
    assert_eq!(facts(&child).process, process);
    owner.shutdown().expect("in time");
    assert!(ended(process));
}

#[test]
fn a_router_can_be_dropped_in_a_callback_of_its_own_thread() {
    let _leaks = Leaks::begin();
    let owner = router();
    let child = owner.local().connect().expect("it is up");
    let process = facts(&child).process;
    let (told, tell) = channel();
    let reply = child.start(stock::facts {});
    reply.on_arrival(move || {
        drop(owner);
        told.send(()).expect("the test waits");
    });
    tell.recv_timeout(LIMIT)
        .expect("it does not wait for itself");
    assert!(offshoot_tests::process::eventually(LIMIT, || ended(
        process
    )));
}

#[test]
fn a_function_can_use_the_router_of_its_own_process() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let place = tree.child();
    let (name, child) = place.call(own::grow_by_router {}).expect("it runs");
    assert_eq!(name, place.name());
    // The function's router is dropped; the context it connected is not.
    let facts = tree
        .router
        .by_id(child)
        .call(stock::facts {})
        .expect("it is up");
    assert!(!ended(facts.process));
    // Below its own context a function may open paths, like the root.
    let greeting = place.call(own::introduce {}).expect("they have a path");
    assert_eq!(greeting, format!("{}.local", place.name()));
    drop(tree);
    assert!(ended(facts.process));
}
