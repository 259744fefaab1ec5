use super::*;
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, HashMap};

fn sum<T: DeserializeOwned>() -> u32 {
    Shape::default().with::<T>("it").sum()
}

fn fault<T: DeserializeOwned>() -> Option<String> {
    Shape::default()
        .with::<T>("the argument x")
        .fault()
        .map(str::to_owned)
}

/// Types of the same names that differ.
macro_rules! variants_of_types {
    ($($module:ident { $($item:item)* })*) => {
        $(#[expect(dead_code, reason = "only read by a probe")]
        mod $module {
            use serde::Deserialize;
            use std::collections::BTreeMap;
            $(#[derive(Deserialize)] $item)*
        })*
    };
}

variants_of_types! {
    one {
        pub(super) struct Config { a: u8, b: u8, deep: Option<Vec<Inner>> }
        pub(super) struct Inner { kinds: BTreeMap<String, Kind> }
        pub(super) enum Kind { Small(u8), Large { size: u64, step: u32 }, Text(String), None }
    }
    equal {
        pub(super) struct Config { a: u8, b: u8, deep: Option<Vec<Inner>> }
        pub(super) struct Inner { kinds: BTreeMap<String, Kind> }
        pub(super) enum Kind { Small(u8), Large { size: u64, step: u32 }, Text(String), None }
    }
    swapped {
        pub(super) struct Config { b: u8, a: u8, deep: Option<Vec<Inner>> }
        pub(super) struct Inner { kinds: BTreeMap<String, Kind> }
        pub(super) enum Kind { Small(u8), Large { size: u64, step: u32 }, Text(String), None }
    }
    retyped {
        pub(super) struct Config { a: u8, b: i8, deep: Option<Vec<Inner>> }
        pub(super) struct Inner { kinds: BTreeMap<String, Kind> }
        pub(super) enum Kind { Small(u8), Large { size: u64, step: u32 }, Text(String), None }
    }
    variant_order {
        pub(super) struct Config { a: u8, b: u8, deep: Option<Vec<Inner>> }
        pub(super) struct Inner { kinds: BTreeMap<String, Kind> }
        pub(super) enum Kind { Large { size: u64, step: u32 }, Small(u8), Text(String), None }
    }
    last_variant {
        pub(super) struct Config { a: u8, b: u8, deep: Option<Vec<Inner>> }
        pub(super) struct Inner { kinds: BTreeMap<String, Kind> }
        pub(super) enum Kind { Small(u8), Large { size: u64, step: u32 }, Text(Vec<u8>), None }
    }
    variant_fields {
        pub(super) struct Config { a: u8, b: u8, deep: Option<Vec<Inner>> }
        pub(super) struct Inner { kinds: BTreeMap<String, Kind> }
        pub(super) enum Kind { Small(u8), Large { step: u32, size: u64 }, Text(String), None }
    }
}

#[test]
fn a_shape_tells_types_of_one_name_apart_by_their_content() {
    let mine = sum::<one::Config>();
    assert_eq!(mine, sum::<one::Config>());
    assert_eq!(mine, sum::<equal::Config>());
    let others = [
        sum::<swapped::Config>(),
        sum::<retyped::Config>(),
        sum::<variant_order::Config>(),
        sum::<last_variant::Config>(),
        sum::<variant_fields::Config>(),
    ];
    for (at, other) in others.iter().enumerate() {
        assert!(*other != mine && !others[..at].contains(other), "{at}");
    }
    assert_ne!(sum::<Vec<u8>>(), sum::<Option<u8>>());
    assert_ne!(sum::<(u8, u16)>(), sum::<(u16, u8)>());
    assert_ne!(sum::<[u8; 3]>(), sum::<[u8; 4]>());
    assert_ne!(sum::<HashMap<u8, u16>>(), sum::<HashMap<u16, u8>>());
}

#[test]
fn the_type_that_differs_is_known() {
    let types = |shape: Shape| shape.types();
    let mine = types(Shape::default().with::<one::Config>("it"));
    let names =
        |types: &[(&'static str, u32)]| types.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    assert_eq!(names(&mine), ["Config", "Inner", "Kind"]);
    let differing = |theirs: Vec<(&'static str, u32)>| {
        let other: Vec<_> = theirs.into_iter().filter(|of| !mine.contains(of)).collect();
        names(&other)
    };
    assert_eq!(
        differing(types(Shape::default().with::<swapped::Config>("it"))),
        ["Config"]
    );
    assert_eq!(
        differing(types(Shape::default().with::<variant_order::Config>("it"))),
        ["Kind"]
    );
    assert_eq!(
        differing(types(Shape::default().with::<last_variant::Config>("it"))),
        ["Kind"]
    );
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only read by a probe")]
enum Tree {
    Both(Box<Self>, Box<Self>),
    Many(Vec<Self>),
    Named {
        of: HashMap<String, Self>,
        or: Option<Box<Self>>,
    },
    Leaf(u8),
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only read by a probe")]
enum Endless {
    Only(Box<Self>),
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only read by a probe")]
struct List {
    next: Option<Box<Self>>,
    children: Vec<Self>,
    value: u16,
}

#[test]
fn types_that_contain_themselves_end() {
    assert_eq!(sum::<Tree>(), sum::<Tree>());
    let names = Shape::default().with::<List>("it").types();
    assert_eq!(names.len(), 1);
    sum::<Endless>();
    assert_ne!(sum::<Tree>(), sum::<List>());
}

/// Refuses what `F` refuses.
struct Picky<const F: u8>;

impl<'de, const F: u8> Deserialize<'de> for Picky<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fits = match F {
            0 => String::deserialize(deserializer)? == "1.0.0",
            1 => u32::deserialize(deserializer)? == 0,
            2 => panic!("it cannot be read"),
            _ => String::deserialize(deserializer)? == "nobody guesses that",
        };
        match fits {
            true => Ok(Self),
            false => Err(serde::de::Error::custom("refused")),
        }
    }
}

#[test]
fn a_type_that_refuses_values_gets_others_or_is_unknown() {
    // What stands behind it is seen, if a value was found.
    assert_ne!(sum::<(Picky<0>, u8)>(), sum::<(Picky<0>, u16)>());
    assert_ne!(sum::<(Picky<1>, u8)>(), sum::<(Picky<1>, u16)>());
    assert_eq!(sum::<(Picky<2>, u8)>(), sum::<(Picky<2>, u16)>());
    assert_eq!(sum::<(Picky<3>, u8)>(), sum::<(Picky<3>, u16)>());
    // Another argument is.
    let shape = || Shape::default().with::<Picky<2>>("a");
    assert_ne!(
        shape().with::<u8>("b").sum(),
        shape().with::<u16>("b").sum()
    );
    assert_ne!(
        sum::<(
            std::num::NonZeroU8,
            std::net::IpAddr,
            std::time::Duration,
            u8
        )>(),
        sum::<(
            std::num::NonZeroU8,
            std::net::IpAddr,
            std::time::Duration,
            u16
        )>()
    );
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only read by a probe")]
struct Flat {
    name: String,
    #[serde(flatten)]
    more: BTreeMap<String, u8>,
}

#[derive(Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "only read by a probe")]
enum Loose {
    Number(u8),
    Text(String),
}

#[derive(Deserialize)]
#[serde(tag = "kind")]
#[expect(dead_code, reason = "only read by a probe")]
enum Tagged {
    One { value: u8 },
}

#[derive(Deserialize)]
#[serde(tag = "kind", content = "value")]
#[expect(dead_code, reason = "only read by a probe")]
enum Adjacent {
    One(u8),
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only read by a probe")]
enum Event {
    Line(String),
    Batch { size: u8, of: Vec<Loose> },
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only read by a probe")]
struct Holds<T> {
    number: u8,
    held: Option<T>,
}

#[test]
fn a_type_that_cannot_be_sent_is_named_with_its_place() {
    let told = [
        (
            fault::<Holds<Flat>>(),
            "Holds.held has a struct Flat with a `flatten`ed field",
        ),
        (
            fault::<Holds<Tagged>>(),
            "Holds.held has an enum Tagged with a `tag`",
        ),
        (
            fault::<Holds<Adjacent>>(),
            "Adjacent is an enum with a `tag` and `content`",
        ),
        (
            fault::<Holds<Loose>>(),
            "Holds.held has a type that does not say what comes",
        ),
        (
            fault::<Event>(),
            "Batch.of has a type that does not say what comes",
        ),
        (
            fault::<Vec<Loose>>(),
            "it has a type that does not say what comes",
        ),
    ];
    for (fault, expected) in told {
        let fault = fault.unwrap();
        assert!(
            fault.starts_with(&format!("the argument x: {expected}")),
            "{fault}"
        );
    }
    for fine in [
        fault::<one::Config>(),
        fault::<Tree>(),
        fault::<HashMap<String, Option<f64>>>(),
        fault::<(Picky<3>, Picky<2>)>(),
        fault::<(
            std::path::PathBuf,
            std::ffi::OsString,
            std::time::SystemTime,
        )>(),
        fault::<(crate::Blob, crate::Secret, char, bool, i8, i128, u128)>(),
    ] {
        assert_eq!(fine, None);
    }
}

mod positions {
    use super::*;
    use crate::{read_as, to_bytes};
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use std::collections::BTreeMap;

    /// Encodes a value of a type whose shape is known. Returns the value that arrives, or the error
    /// of the encoder.
    fn sent<T: Serialize + DeserializeOwned>(value: &T) -> Result<T, String> {
        let shape: &'static Shape = Box::leak(Box::new(Shape::default().with::<T>("it")));
        assert_eq!(shape.fault(), None);
        let bytes = read_as(Some(shape.facts()), || to_bytes(value)).map_err(|error| error.0)?;
        Ok(crate::from_bytes(&bytes).expect("the decoder reads what was sent"))
    }

    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    #[expect(dead_code, reason = "it is skipped")]
    enum Act {
        Keep,
        #[serde(skip)]
        Internal,
        Restart,
        Delete(u8),
        Move {
            to: u8,
        },
    }

    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    #[expect(dead_code, reason = "it is skipped")]
    enum Late {
        Keep,
        #[serde(alias = "Begin", alias = "Again")]
        Start(u8),
        Move {
            to: u8,
            #[serde(rename = "fast")]
            speed: u8,
        },
        Pair(u8, u8),
        #[serde(skip)]
        Internal,
    }

    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    enum OneWay {
        Keep,
        #[serde(skip_deserializing)]
        Internal,
        Restart,
    }

    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    struct One {
        #[serde(skip_serializing, default)]
        cache: u16,
        port: u16,
        more: Option<u16>,
    }

    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    struct Tuple(
        #[serde(skip_serializing_if = "Option::is_none")] Option<u8>,
        u8,
        Option<u8>,
    );

    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    enum Parts {
        Pair(
            #[serde(skip_serializing_if = "Option::is_none")] Option<u8>,
            u8,
            Option<u8>,
        ),
        Both {
            #[serde(skip_serializing, default)]
            cache: u8,
            port: u8,
        },
    }

    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    struct Good {
        #[serde(skip)]
        cache: u8,
        #[serde(alias = "number", alias = "count")]
        port: u8,
        #[serde(default)]
        acts: Vec<Late>,
        pair: (u8, [u8; 3]),
        all: Vec<Self>,
    }

    #[test]
    fn a_part_that_would_be_read_as_another_is_refused() {
        for (outcome, expected) in [
            (
                sent(&Act::Restart).err(),
                "Act::Restart would be read as another variant",
            ),
            (sent(&Act::Delete(1)).err(), "Act::Delete would be read"),
            (sent(&Act::Move { to: 1 }).err(), "Act::Move would be read"),
            (
                sent(&vec![Act::Keep, Act::Restart]).err(),
                "Act::Restart would be read",
            ),
            (
                sent(&OneWay::Internal).err(),
                "OneWay::Internal would be read",
            ),
            (
                sent(&OneWay::Restart).err(),
                "OneWay::Restart would be read",
            ),
            (
                sent(&One {
                    cache: 0,
                    port: 7,
                    more: Some(0),
                })
                .err(),
                "One is written and read with different numbers of fields",
            ),
            (
                sent(&Tuple(None, 0, Some(0))).err(),
                "Tuple is written and read",
            ),
            (
                sent(&Parts::Pair(None, 0, Some(0))).err(),
                "Pair is written and read",
            ),
            (
                sent(&Parts::Both { cache: 0, port: 1 }).err(),
                "Both is written and read",
            ),
        ] {
            let error = outcome.expect(expected);
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn parts_that_are_read_where_they_are_written_pass() {
        assert_eq!(sent(&Act::Keep), Ok(Act::Keep));
        assert_eq!(sent(&OneWay::Keep), Ok(OneWay::Keep));
        let late = vec![
            Late::Keep,
            Late::Start(1),
            Late::Move { to: 1, speed: 2 },
            Late::Pair(1, 2),
        ];
        assert_eq!(sent(&late), Ok(late.clone()));
        assert_eq!(sent(&Tuple(Some(1), 0, None)), Ok(Tuple(Some(1), 0, None)));
        let good = Good {
            cache: 0,
            port: 1,
            acts: late,
            pair: (1, [1, 2, 3]),
            all: Vec::new(),
        };
        let all = vec![
            Good {
                all: vec![good.clone()],
                ..good.clone()
            },
            good,
        ];
        assert_eq!(sent(&all), Ok(all.clone()));
        let std = (
            std::time::Duration::from_secs(1),
            std::ops::Range { start: 1, end: 2 },
            Ok::<u8, String>(1),
            std::net::IpAddr::from([127, 0, 0, 1]),
            BTreeMap::from([(1, Some("x".to_owned()))]),
            std::ops::Bound::Included(1),
        );
        assert_eq!(sent(&std), Ok(std.clone()));
    }
}
