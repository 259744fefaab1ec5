//! Agents built without the functions of this program. Detected when connecting, except for the
//! stock agent.

use offshoot::{CallError, ConnectErrorKind, Error, Router, remote, stock};
use offshoot_test_agent as own;
use offshoot_tests::Leaks;
use offshoot_tests::tree::{refused, router};

/// A function of this program that no agent has.
#[remote]
fn only_here() -> u32 {
    7
}

#[test]
fn an_agent_built_without_a_function_of_the_program_is_refused_on_connect() {
    let _leaks = Leaks::begin();
    let router = Router::builder()
        .package("offshoot-test-agent")
        .start()
        .expect("there are threads");
    let error = refused(router.local().connect());
    assert_eq!(error.kind, ConnectErrorKind::Functions);
    assert!(
        error
            .detail
            .contains("built without missing_functions::only_here"),
        "{error}"
    );
    assert!(error.hint.contains("rebuild the agent"), "{error}");
}

#[test]
fn the_stock_agent_is_accepted_and_a_missing_function_is_named_at_the_call() {
    let _leaks = Leaks::begin();
    let router = router();
    let child = router
        .local()
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    child
        .call(stock::ping {})
        .unwrap_or_else(|error| panic!("{error}"));
    let outcomes = [
        child.call(only_here {}).map(drop),
        child.call(own::nothing {}),
    ];
    for (outcome, name) in outcomes.into_iter().zip([
        "missing_functions::only_here",
        "offshoot_test_agent::nothing",
    ]) {
        let Err(CallError::Failed(Error::NoSuchFunction { function, .. })) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(function, name);
    }
    assert_eq!(router.call(only_here {}), Ok(7), "here it is");
}
