//! The table of the guide: values that can be sent, and errors for those that cannot.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use offshoot::{AnyPath, Blob, CallError, Error, Json};
use offshoot_test_agent::values::{self, Act, Adjacent, Flat, Holds, Tagged};
use offshoot_tests::Leaks;
use offshoot_tests::tree::Tree;

/// Returns the value of a call that must succeed.
#[track_caller]
fn value<T, E: std::fmt::Debug>(outcome: Result<T, CallError<E>>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error:?}"))
}

/// Returns the text of the error of a call that must fail without an error of the function itself.
#[track_caller]
fn unsent<T: std::fmt::Debug, E: std::fmt::Debug>(outcome: Result<T, CallError<E>>) -> String {
    match outcome {
        Err(CallError::Failed(error @ Error::Codec { .. })) => error.to_string(),
        other => panic!("it came back as {other:?}"),
    }
}

/// Returns a name that is not UTF-8.
fn odd() -> OsString {
    OsString::from_vec(b"/srv/\xff\xfe".to_vec())
}

#[test]
fn numbers_lists_and_types_of_the_standard_library_arrive_as_they_are() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let numbers = (
        (u8::MAX, 251, u32::MAX, u64::MAX, u128::MAX, usize::MAX),
        (i8::MIN, -300, i32::MIN, i64::MIN, i128::MIN, isize::MIN),
        (
            f32::MIN_POSITIVE,
            -0.0,
            '\u{1f980}',
            true,
            7.try_into().expect("it is not zero"),
        ),
    );
    assert_eq!(value(child.call(values::numbers { numbers })), numbers);
    let nan = f64::from_bits(0x7ff8_0000_dead_beef);
    let lists: values::Lists = (
        vec![0, 250, 251, u64::MAX],
        [-1, i16::MAX].into(),
        [7; 32],
        [("a".into(), vec![nan, 0.5])].into(),
        [(vec![1, 2], Some(None)), (vec![], None)].into(),
        ['a', '\u{e9}'].into(),
    );
    let back = value(child.call(values::lists {
        lists: lists.clone(),
    }));
    assert_eq!(back.3["a"][0].to_bits(), nan.to_bits());
    assert_eq!(
        (back.0, back.1, back.2, back.4, back.5),
        (lists.0, lists.1, lists.2, lists.4, lists.5)
    );
    let standard: values::Standard = (
        "cow".into(),
        "box".into(),
        [1, 300].into(),
        Err("result".into()),
        3..9,
        ([127, 0, 0, 1].into(), ([0; 16], 22).into()),
        (
            Duration::MAX,
            SystemTime::UNIX_EPOCH + Duration::from_nanos(1),
        ),
        odd(),
    );
    assert_eq!(
        value(child.call(values::standard {
            standard: standard.clone()
        })),
        standard
    );
}

#[test]
fn paths_of_any_bytes_arrive_and_the_error_of_a_path_buf_names_the_solution() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let path = AnyPath::from(odd());
    assert_eq!(
        value(child.call(values::any_path { path: path.clone() })),
        path
    );
    let utf8 = PathBuf::from("/srv");
    assert_eq!(
        value(child.call(values::utf8_path { path: utf8.clone() })),
        utf8
    );
    let errors = [
        unsent(child.call(values::utf8_path { path: odd().into() })),
        unsent(child.call(values::odd_path_as_path_buf { path })),
    ];
    for error in errors {
        assert!(
            error.starts_with("local: the ") && error.contains(" could not be sent: "),
            "{error}"
        );
        assert!(
            error.ends_with("an AnyPath or an OsString carries any bytes"),
            "{error}"
        );
    }
}

#[test]
fn a_time_before_1970_is_an_error_at_the_sender_with_a_solution() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let early = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let standard = (
        "".into(),
        "".into(),
        [].into(),
        Ok(0),
        0..0,
        ([127, 0, 0, 1].into(), ([0; 16], 22).into()),
        (Duration::ZERO, early),
        OsString::new(),
    );
    let error = unsent(child.call(values::standard { standard }));
    assert!(
        error.contains("standard.standard: SystemTime must be later"),
        "{error}"
    );
    assert!(
        error.ends_with("send the seconds since then, as an i64"),
        "{error}"
    );
}

/// Returns a type that cannot be sent as it is.
fn flat() -> Holds<Flat> {
    let more = [("a".to_owned(), serde_json::json!({"b": [1, null]}))].into();
    let held = Some(Flat {
        name: "n".into(),
        more,
    });
    Holds { held }
}

#[test]
fn a_type_that_cannot_be_sent_is_refused_by_the_caller_with_function_type_and_place() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let sent = tree.router.bytes_sent();
    let (to, _from) = tree.router.channel().expect("the tree lives");
    let chain = child.chain().expect("the tree lives");
    let errors = [
        (
            unsent(child.call(values::flat { value: flat() })),
            "flat: the argument `value`: Holds.held has a struct Flat",
        ),
        // Whether or not the value has any of it.
        (
            unsent(child.call(values::flat {
                value: Holds { held: None },
            })),
            "flat: the argument `value`: Holds.held has",
        ),
        (
            unsent(child.call(values::tagged { value: Vec::new() })),
            "tagged: the argument `value`: it has an enum Tagged",
        ),
        (
            unsent(chain.call(values::adjacent {
                value: Adjacent::One(1),
            })),
            "adjacent: the argument `value`: Adjacent is",
        ),
        (
            unsent(child.call(values::loose_messages { to })),
            "loose_messages: the argument `to`: it has a type",
        ),
        (
            unsent(child.call(values::loose_error {})),
            "loose_error: the error: it has a type",
        ),
    ];
    for (error, expected) in errors {
        let begin =
            format!("local: a value could not be sent: offshoot_test_agent::values::{expected}");
        assert!(error.starts_with(&begin), "{error}");
        assert!(
            error.contains("or `Json` of this one") && !error.contains("same source"),
            "{error}"
        );
    }
    let error = child
        .cast(values::tagged { value: Vec::new() })
        .expect_err("it cannot be sent");
    assert!(
        error.to_string().contains("an enum Tagged with a `tag`"),
        "{error}"
    );
    assert!(
        tree.router.bytes_sent() - sent < 4096,
        "only the chain was opened"
    );
}

#[test]
fn json_carries_any_type_and_names_it_in_errors() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let (one, two) = (
        Json(flat()),
        Json((Tagged::One { value: 1 }, Adjacent::One(2))),
    );
    let back = value(child.call(values::json {
        value: one.clone(),
        other: two.clone(),
    }));
    assert_eq!(back, (one, two));
    let number = Json(serde_json::json!([1.5, {"a": null}]));
    assert_eq!(
        value(child.call(values::odd_json {
            value: number.clone()
        })),
        number
    );
}

#[test]
fn lists_of_bytes_arrive_whole_up_to_the_limit() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|at| (at / 7) as u8).collect();
    assert_eq!(
        value(child.call(values::list {
            bytes: bytes.clone()
        })),
        bytes
    );
    let blob = Blob::from(bytes);
    assert_eq!(
        value(child.call(values::blob {
            bytes: blob.clone()
        })),
        blob
    );
}

#[test]
fn a_variant_that_would_be_read_as_another_is_refused_where_it_is_sent() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    assert_eq!(value(child.call(values::act { act: Act::Keep })), Act::Keep);
    let says = "Act::Restart would be read as another variant";
    let argument = unsent(child.call(values::act { act: Act::Restart }));
    assert!(
        argument.starts_with("local: the arguments of ") && argument.contains(says),
        "{argument}"
    );
    let result = unsent(child.call(values::restart {}));
    assert!(
        result.starts_with("local: the result of ") && result.contains(says),
        "{result}"
    );
    let (to, from) = tree.router.channel().expect("the tree lives");
    let message = value(child.call(values::send_restart { to })).expect("it is refused");
    assert!(
        message.contains("a message of type ") && message.contains(says),
        "{message}"
    );
    assert_eq!(from.recv(), Err(offshoot::RecvError::Closed));
}

#[test]
fn a_result_type_that_a_macro_has_passed_on_is_one() {
    let _leaks = Leaks::begin();
    let tree = Tree::new();
    let child = tree.child();
    assert_eq!(value(child.call(values::half { number: 8 })), 4);
    let error = child
        .call(values::half { number: 7 })
        .expect_err("it is odd");
    assert_eq!(error.function().as_deref(), Some("odd"));
}
