//! What cannot be a remote function does not compile, and the message says why and what to write
//! instead.

#[test]
fn each_misuse_of_the_attribute_is_explained() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
