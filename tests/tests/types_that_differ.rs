//! Agents whose types have other fields than those of this program.

use std::sync::atomic::Ordering;

use offshoot::{ConnectErrorKind, Router};
use offshoot_test_agent::values::{SHIFTED, Shifting, shifting};
use offshoot_tests::Leaks;
use offshoot_tests::tree::refused;

#[test]
fn an_agent_whose_types_have_other_fields_is_refused_with_function_and_type() {
    let _leaks = Leaks::begin();
    // Before any function is looked at.
    SHIFTED.store(true, Ordering::Relaxed);
    let router = Router::builder()
        .package("offshoot-test-agent")
        .start()
        .expect("there are threads");
    let error = refused(router.local().connect());
    assert_eq!(error.kind, ConnectErrorKind::Functions);
    assert_eq!(
        error.detail,
        "its agent was built with other arguments or another result of \
         offshoot_test_agent::values::shifting (a type differs: Shifting)"
    );
    assert!(error.hint.contains("rebuild the agent"), "{error}");
    // Here it is the same type.
    let value = Some(vec![Shifting { one: 1, two: 2 }]);
    assert_eq!(router.call(shifting { value }), Ok(()));
}
