//! Paths between contexts that are not each other's ancestors: closed by default, opened and closed
//! only by the root.

use offshoot::{CallError, Context};
use offshoot_test_agent as own;
use offshoot_tests::process::{eventually, signal};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{Tree, facts};
use offshoot_tests::{Leaks, run::LIMIT};

/// Lets `from` call `to`; returns the reply or the error.
#[track_caller]
fn greeting(from: &Context, to: &Context) -> Result<String, String> {
    match from.call(own::greet_other { other: to.id() }) {
        Ok(name) => Ok(name),
        Err(CallError::Function { error: why, .. }) => Err(why),
        Err(CallError::Failed(error)) => panic!("{from} does not answer: {error}"),
    }
}

#[track_caller]
fn cut_off(from: &Context, to: &Context) {
    let why = greeting(from, to).expect_err("they are cut off from each other");
    assert!(
        why.contains("contexts below different parents may not talk without Router::open_path"),
        "{why}"
    );
}

fn below(context: &Context) -> Context {
    context
        .local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn siblings_and_cousins_talk_only_while_the_root_has_opened_a_path() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let (one, other) = (tree.child(), tree.child());
    // Cousins as well: their routes meet at the root, and at `one`.
    let (deep, apart, beside) = (below(&one), below(&other), below(&one));
    for (from, to) in [(&one, &other), (&deep, &apart), (&deep, &beside)] {
        cut_off(from, to);
        tree.router.open_path(from, to);
        assert_eq!(greeting(from, to).as_deref(), Ok(to.name()));
        assert_eq!(greeting(to, from).as_deref(), Ok(from.name()));
        tree.router.close_path(to, from);
        cut_off(from, to);
        cut_off(to, from);
    }
    tree.router.open_path(&deep, &apart);
    cut_off(&deep, &other);
    cut_off(&one, &apart);
}

#[test]
fn an_open_path_gives_no_authority() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let (one, other) = (tree.child(), tree.child());
    tree.router.open_path(&one, &other);
    let Err(CallError::Function { error: why, .. }) =
        one.call(own::command_other { other: other.id() })
    else {
        panic!("it obeys a stranger");
    };
    assert!(why.contains("refused by policy"), "{why}");
}

#[test]
fn only_a_function_for_anyone_answers_a_descendant() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let (child, root) = (tree.child(), &tree.router);
    assert_eq!(greeting(&child, root).as_deref(), Ok("controller"));
    let Err(CallError::Function { error: why, .. }) =
        child.call(own::command_other { other: root.id() })
    else {
        panic!("the root obeys a child");
    };
    assert!(why.contains("refused by policy"), "{why}");
}

/// Lets one cousin wait for another, runs `over`, and returns the error that ends the wait.
#[track_caller]
fn a_wait_ends(over: impl FnOnce(&Tree, &Context, &Context)) -> String {
    let tree = Tree::new();
    let (one, other) = (below(&tree.child()), below(&tree.child()));
    tree.router.open_path(&one, &other);
    let scratch = ScratchDir::new("waits");
    let started = scratch.path().join("started");
    let mut reply = one.start(own::wait_for_other {
        other: other.id(),
        started: started.clone(),
    });
    assert!(
        eventually(LIMIT, || started.exists()),
        "it does not begin to wait"
    );
    over(&tree, &one, &other);
    match reply.wait_timeout(LIMIT) {
        Err(CallError::Function { error: why, .. }) => why,
        outcome => panic!("the wait did not end: {outcome:?}"),
    }
}

#[test]
fn a_wait_for_a_cousin_ends_when_it_dies() {
    let _leaks = Leaks::begin();
    let why = a_wait_ends(|_, _, other| {
        signal(facts(other).process, nix::sys::signal::Signal::SIGKILL);
    });
    assert!(why.contains("connection lost"), "{why}");
}

#[test]
fn closing_a_path_ends_the_waits_along_it() {
    let _leaks = Leaks::begin();
    let why = a_wait_ends(|tree, one, other| tree.router.close_path(one, other));
    assert!(why.contains("the path between them was closed"), "{why}");
}
