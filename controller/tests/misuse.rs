//! Items that cannot be remote functions do not compile, and the message gives the reason and the
//! solution.

#[test]
fn each_misuse_of_the_attribute_is_explained() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
