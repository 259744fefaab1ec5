//! Functions that return their argument, for values that can be sent and those that cannot.

use offshoot::{AnyPath, Blob, Json, Sender, remote};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// Numbers of every kind.
pub type Numbers = (
    (u8, u16, u32, u64, u128, usize),
    (i8, i16, i32, i64, i128, isize),
    (f32, f64, char, bool, NonZeroU16),
);

/// Returns numbers.
#[remote]
pub fn numbers(numbers: Numbers) -> Numbers {
    numbers
}

/// Lists and maps.
pub type Lists = (
    Vec<u64>,
    VecDeque<i16>,
    [u8; 32],
    HashMap<String, Vec<f64>>,
    BTreeMap<Vec<u8>, Option<Option<()>>>,
    HashSet<char>,
);

/// Returns lists and maps.
#[remote]
pub fn lists(lists: Lists) -> Lists {
    lists
}

/// Types of the standard library.
pub type Standard = (
    Cow<'static, str>,
    Box<str>,
    Box<[u16]>,
    Result<u8, String>,
    Range<u32>,
    (IpAddr, SocketAddr),
    (Duration, SystemTime),
    OsString,
);

/// Returns values of the standard library.
#[remote]
pub fn standard(standard: Standard) -> Standard {
    standard
}

/// Returns a path.
#[remote]
pub fn utf8_path(path: PathBuf) -> PathBuf {
    path
}

/// Returns the second path that is told by a path of any bytes.
#[remote]
pub fn odd_path_as_path_buf(path: AnyPath) -> PathBuf {
    path.into()
}

/// Returns a path.
#[remote]
pub fn any_path(path: AnyPath) -> AnyPath {
    path
}

/// A type with attributes of serde that name its fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flat {
    /// A field.
    pub name: String,
    /// All other fields.
    #[serde(flatten)]
    pub more: BTreeMap<String, serde_json::Value>,
}

/// A type with a tag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Tagged {
    /// The only variant.
    One {
        /// A field.
        value: u8,
    },
}

/// A type with a tag and a content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of")]
pub enum Adjacent {
    /// The only variant.
    One(u8),
}

/// A type that holds another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holds<T> {
    /// The other.
    pub held: Option<T>,
}

/// Takes a flattened type.
#[remote]
pub fn flat(value: Holds<Flat>) {
    drop(value);
}

/// Takes a tagged type.
#[remote]
pub fn tagged(value: Vec<Tagged>) {
    drop(value);
}

/// Takes an adjacently tagged type.
#[remote]
pub fn adjacent(value: Adjacent) -> Adjacent {
    value
}

/// Takes a sender of a type without a form of its own.
#[remote]
pub fn loose_messages(to: Sender<serde_json::Value>) {
    drop(to);
}

/// Fails with a type without a form of its own.
#[remote]
pub fn loose_error() -> Result<(), serde_json::Value> {
    Ok(())
}

/// Returns types that cannot be sent, as JSON.
#[remote]
pub fn json(
    value: Json<Holds<Flat>>,
    other: Json<(Tagged, Adjacent)>,
) -> (Json<Holds<Flat>>, Json<(Tagged, Adjacent)>) {
    (value, other)
}

/// Returns JSON that is no number.
#[remote]
pub fn odd_json(value: Json<serde_json::Value>) -> Json<serde_json::Value> {
    value
}

/// Returns bytes as a list.
#[remote]
pub fn list(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

/// Returns bytes as a blob.
#[remote]
pub fn blob(bytes: Blob) -> Blob {
    bytes
}

/// True in a program whose [`Shifting`] has its fields the other way round.
pub static SHIFTED: AtomicBool = AtomicBool::new(false);

/// A type with two fields of one type, which are not in the same order in all programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shifting {
    /// The first one, here.
    pub one: u8,
    /// The second one, here.
    pub two: u8,
}

impl<'de> Deserialize<'de> for Shifting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Shifting;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("struct Shifting")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut fields: A) -> Result<Shifting, A::Error> {
                let mut next = || Ok(fields.next_element()?.unwrap_or_default());
                Ok(Shifting {
                    one: next()?,
                    two: next()?,
                })
            }
        }
        let fields = match SHIFTED.load(Ordering::Relaxed) {
            true => &["two", "one"],
            false => &["one", "two"],
        };
        deserializer.deserialize_struct("Shifting", fields, Fields)
    }
}

/// Takes the type somewhere inside.
#[remote]
pub fn shifting(value: Option<Vec<Shifting>>) {
    drop(value);
}

/// An enum with a variant that is skipped before others.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Act {
    /// Before the one that is skipped.
    Keep,
    /// Skipped.
    #[serde(skip)]
    Internal,
    /// Behind it.
    Restart,
}

/// Sends an act back.
#[remote]
pub fn act(act: Act) -> Act {
    act
}

/// Returns an act that cannot be sent.
#[remote]
pub fn restart() -> Act {
    Act::Restart
}

/// Sends an act that cannot be sent over a channel; returns the error.
#[remote]
pub fn send_restart(to: Sender<Act>) -> Option<String> {
    to.send(&Act::Restart).err().map(|error| error.to_string())
}

/// Writes the type of a function as a macro gets it.
macro_rules! halves {
    ($name:ident $result:ty) => {
        /// Returns half of an even number.
        #[remote]
        pub fn $name(number: u8) -> $result {
            match number % 2 {
                0 => Ok(number / 2),
                _ => Err("odd".into()),
            }
        }
    };
}

halves!(half Result<u8, String>);
