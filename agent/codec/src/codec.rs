//! Encoding and decoding of values, with checks of whole messages.

use crate::error::{CodecError, MAX_MESSAGE};
use crate::message::Message;
use crate::{plain, read, write};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Encodes a value.
///
/// # Errors
/// Returns an error if the value cannot be serialised or takes more than [`MAX_MESSAGE`] bytes.
pub fn to_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    append(Vec::new(), value)
}

/// Appends an encoded value to `bytes`.
///
/// # Errors
/// Returns an error in the cases of [`to_bytes`].
#[inline(never)]
pub fn append<T: Serialize + ?Sized>(bytes: Vec<u8>, value: &T) -> Result<Vec<u8>, CodecError> {
    to_message(bytes, value).map(Message::into_bytes)
}

/// Encodes a value as a message that begins with `head`. Large blobs are not copied.
///
/// # Errors
/// Returns an error in the cases of [`to_bytes`].
#[inline(never)]
pub fn to_message<T: Serialize + ?Sized>(head: Vec<u8>, value: &T) -> Result<Message, CodecError> {
    let mut message = Message::from(head);
    crate::secret::in_frame(|| write::write(&mut message, value))?;
    Ok(message.finish())
}

/// Decodes a value, which must use all bytes.
///
/// # Errors
/// Returns an error if the bytes are not a `T`.
pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    read_from(bytes, None)
}

/// Encodes a message of the tree itself, which is never too large and can always be serialised.
#[inline(never)]
pub fn own<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    own_behind(Vec::new(), value)
}

/// Appends an encoded message of the tree itself to `bytes`.
#[inline(never)]
pub fn own_behind<T: Serialize + ?Sized>(bytes: Vec<u8>, value: &T) -> Vec<u8> {
    let mut written = crate::secret::Written(bytes);
    crate::secret::in_frame(|| plain::write(&mut written, value));
    written.0
}

/// Decodes a message of the tree itself. Its type has neither floating-point numbers nor checks of
/// its own.
///
/// # Errors
/// Returns an error if the bytes are not a `T`.
#[inline(never)]
pub fn from_own<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    plain::read(bytes)
}

/// Decodes a value that begins at `at` in a message. Large blobs share the message's memory.
///
/// # Errors
/// Returns an error in the cases of [`from_bytes`].
pub fn from_message<T: DeserializeOwned>(
    message: &Arc<Vec<u8>>,
    at: usize,
) -> Result<T, CodecError> {
    read_from(&message[at..], Some(message))
}

#[inline(never)]
fn read_from<T: DeserializeOwned>(
    bytes: &[u8],
    whole: Option<&Arc<Vec<u8>>>,
) -> Result<T, CodecError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(CodecError::too_large(bytes.len()));
    }
    let mut reader = read::Reader::new(bytes, whole);
    let value = T::deserialize(&mut reader).map_err(|wrong| reader.tell(wrong))?;
    match reader.left.len() {
        0 => Ok(value),
        more => Err(CodecError(format!("{more} bytes more than it should have"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Blob;
    use crate::read::DEPTH;
    use bincode::Options;
    use serde::de::{DeserializeSeed, SeqAccess, Visitor};
    use serde::ser::SerializeSeq;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::collections::BTreeMap;

    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    enum Form {
        Unit,
        New(Box<Self>),
        Tuple(u8, i8, u16, i16),
        Struct {
            text: String,
            letter: char,
            flag: bool,
            none: Option<()>,
            some: Option<u64>,
        },
    }

    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    struct All {
        forms: Vec<Form>,
        table: BTreeMap<String, (f32, f64)>,
        small: [u32; 3],
        large: (u64, i64, u128, i128),
        ends: (i32, i32, u16, i8),
        nothing: (),
        words: Vec<Vec<u8>>,
    }

    fn all() -> All {
        let text = "two words \u{1f980}".to_owned();
        All {
            forms: vec![
                Form::Unit,
                Form::New(Box::new(Form::Tuple(255, -128, 65_535, -32_768))),
                Form::Struct {
                    text: text.clone(),
                    letter: '\u{1f980}',
                    flag: true,
                    none: None,
                    some: Some(251),
                },
                Form::Struct {
                    text,
                    letter: '\u{e9}',
                    flag: false,
                    none: Some(()),
                    some: None,
                },
            ],
            table: [
                (String::new(), (f32::MIN, -0.0)),
                ("\0".into(), (1.5, f64::INFINITY)),
            ]
            .into(),
            small: [250, 251, u32::MAX],
            large: (u64::MAX, i64::MIN, u128::MAX, i128::MIN),
            ends: (i32::MAX, -1, 65_535, 127),
            nothing: (),
            words: vec![Vec::new(), vec![0; 300]],
        }
    }

    #[test]
    fn decoded_lists_take_at_most_a_small_multiple_of_the_message_size() {
        // Three million elements of a byte each, 8 bytes in memory and 24; with addresses of half
        // the width, twice as many.
        let numbers = vec![0u64; 24_000_000 / size_of::<usize>()];
        let bytes = to_bytes(&numbers).unwrap();
        assert_eq!(from_bytes::<Vec<u64>>(&bytes).unwrap(), numbers);
        for error in [
            from_bytes::<Vec<String>>(&bytes).err(),
            from_bytes::<Vec<Vec<u8>>>(&bytes).err(),
        ] {
            assert!(error.unwrap().to_string().contains("memory"));
        }
        // In many lists as in one, and in maps.
        let lists = vec![vec![String::new(); 1000]; 24_000 / size_of::<usize>()];
        assert!(from_bytes::<Vec<Vec<String>>>(&to_bytes(&lists).unwrap()).is_err());
        // Short lists may be of whatever.
        let texts = vec![String::new(); 500_000];
        assert_eq!(
            from_bytes::<Vec<String>>(&to_bytes(&texts).unwrap()).unwrap(),
            texts
        );
    }

    /// Encodes a value by bincode.
    fn by_bincode<T: Serialize>(value: &T) -> Vec<u8> {
        bincode::DefaultOptions::new().serialize(value).unwrap()
    }

    #[test]
    fn encoding_agrees_with_bincode() {
        assert_eq!(to_bytes(&all()).unwrap(), by_bincode(&all()));
        let at = |bits: u32| [0, 1, (1u128 << bits) - 1, 1 << bits, (1 << bits) + 1];
        for number in (0..127).flat_map(at).chain([250, 251, u128::MAX]) {
            let numbers = (
                (number as u8, number as u16, number as u32),
                (number as u64, number, number as usize),
                (number as i8, number as i16, number as i32),
                (number as i64, number as i128, number as isize),
            );
            assert_eq!(
                to_bytes(&numbers).unwrap(),
                by_bincode(&numbers),
                "{number}"
            );
        }
    }

    #[test]
    fn lists_of_plain_numbers_agree_with_bincode() {
        macro_rules! agree {
            ($($of:ty: $with:expr;)*) => {$(
                for count in [0, 1, 2, 250, 251, 3000] {
                    let spread = |at: usize| (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (at % 64);
                    let list: Vec<$of> = (0..count).map(spread).map($with).collect();
                    let bytes = to_bytes(&(1u8, &list, 2u8)).unwrap();
                    assert_eq!(bytes, by_bincode(&(1u8, &list, 2u8)), "{}", stringify!($of));
                    assert_eq!(from_bytes::<(u8, Vec<$of>, u8)>(&bytes), Ok((1, list.clone(), 2)));
                    for cut in [1, count / 2, count].map(|cut| cut.min(bytes.len())) {
                        let cut = &bytes[..bytes.len() - cut.max(1)];
                        assert!(from_bytes::<(u8, Vec<$of>, u8)>(cut).is_err());
                    }
                    // Other lists, and lists in lists.
                    let other: std::collections::VecDeque<$of> = list.iter().copied().collect();
                    let nested = vec![other.clone(), other];
                    let bytes = to_bytes(&nested).unwrap();
                    assert_eq!(bytes, by_bincode(&nested));
                    assert_eq!(from_bytes(&bytes), Ok(nested));
                }
            )*};
        }
        agree! {
            u8: |n| n as u8; u16: |n| n as u16; u32: |n| n as u32; u64: |n| n; usize: |n| n as usize;
            i8: |n| n as i8; i16: |n| n as i16; i32: |n| n as i32; i64: |n| n as i64;
            isize: |n| n as isize; f32: |n| n as f32; f64: |n| n as f64; bool: |n| n % 2 == 1;
            u128: |n| n.into(); i128: |n| n.into(); char: |n| (n as u8).into(); (): |_| ();
        }
        assert!(from_bytes::<Vec<u16>>(&[1, 252, 0, 0, 0, 0]).is_err());
        assert!(from_bytes::<Vec<bool>>(&[1, 2]).is_err());
    }

    /// A list whose elements have several types, which is read as far as `.0` says.
    #[derive(PartialEq, Debug)]
    struct Mixed(usize, Vec<u8>, String);

    impl Serialize for Mixed {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut list = serializer.serialize_seq(Some(self.1.len() + 3))?;
            self.1
                .iter()
                .try_for_each(|byte| list.serialize_element(byte))?;
            list.serialize_element(&self.2)?;
            list.serialize_element(&7u16)?;
            list.serialize_element(&8u8)?;
            list.end()
        }
    }

    impl<'de> Deserialize<'de> for Mixed {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Read;
            impl<'de> Visitor<'de> for Read {
                type Value = Mixed;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a mixed list")
                }
                fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Mixed, A::Error> {
                    let bytes = [list.next_element()?, list.next_element()?];
                    let text = list.next_element()?;
                    assert_eq!(list.next_element::<u16>()?, Some(7));
                    assert_eq!(list.next_element::<u8>()?, Some(8));
                    assert_eq!(
                        (list.size_hint(), list.next_element::<u8>()?),
                        (Some(0), None)
                    );
                    let bytes = bytes.into_iter().flatten().collect();
                    Ok(Mixed(2, bytes, text.unwrap_or_default()))
                }
            }
            deserializer.deserialize_seq(Read)
        }
    }

    #[test]
    fn a_list_may_change_the_type_of_its_elements() {
        let mixed = (Mixed(2, vec![3, 4], "text".into()), 9u8);
        let bytes = to_bytes(&mixed).unwrap();
        assert_eq!(from_bytes(&bytes), Ok(mixed));
    }

    #[test]
    fn bytes_are_written_and_read_in_one_go() {
        // An iterator that promises more bytes than it has: each byte alone would not notice.
        struct Short;
        impl Iterator for Short {
            type Item = u8;
            fn next(&mut self) -> Option<u8> {
                None
            }
            fn size_hint(&self) -> (usize, Option<usize>) {
                (3, Some(3))
            }
        }
        struct List;
        impl Serialize for List {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(Short)
            }
        }
        assert!(to_bytes(&List).is_err());
        // A vector is one copy, in memory of exactly its size.
        let bytes = to_bytes(&vec![7u8; 3000]).unwrap();
        let read: Vec<u8> = from_bytes(&bytes).unwrap();
        assert_eq!((read.len(), read.capacity()), (3000, 3000));
        // Too few bytes are noticed before the first is read.
        struct Count<'a>(&'a mut usize);
        impl<'de> DeserializeSeed<'de> for Count<'_> {
            type Value = ();
            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
                deserializer.deserialize_seq(self)
            }
        }
        impl<'de> Visitor<'de> for Count<'_> {
            type Value = ();
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
                while list.next_element::<u8>()?.is_some() {
                    *self.0 += 1;
                }
                Ok(())
            }
        }
        let read = |bytes: &[u8]| {
            let mut count = 0;
            let done = Count(&mut count).deserialize(&mut read::Reader::new(bytes, None));
            (done.is_ok(), count)
        };
        assert_eq!(
            (read(&[3, 1, 2, 3]), read(&[3, 1, 2])),
            ((true, 3), (false, 0))
        );
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_encoded() {
        /// Fails the test when it is encoded.
        #[derive(Clone)]
        struct Never;
        impl Serialize for Never {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                panic!("the list is too long")
            }
        }
        /// A list of many such elements.
        struct Many<T>(T, usize);
        impl<T: Serialize + Clone> Serialize for Many<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(std::iter::repeat_n(self.0.clone(), self.1))
            }
        }
        let too_large = |told: Result<Vec<u8>, CodecError>, from: usize| {
            let error = told.unwrap_err();
            assert!(
                error.is_too_large() && error.0.contains("Reader"),
                "{error}"
            );
            let told: usize = error.0.split(' ').next().unwrap().parse().unwrap();
            assert!((from..from + 2000).contains(&told), "{error}");
        };
        let count = MAX_MESSAGE + 1;
        too_large(to_bytes(&Many(Never, count)), count);
        let text = String::from_utf8(vec![b'a'; count]).unwrap();
        too_large(to_bytes(&text), count);
        too_large(to_bytes(text.as_bytes()), count);
        too_large(to_bytes(&Blob::from(text.into_bytes())), count);
        let behind = |left| vec![0; MAX_MESSAGE - left];
        too_large(append(behind(5000), &vec![0f64; 5000 / 8]), count);
        too_large(append(behind(5000), &vec![u32::MAX; 5000 / 4]), count);
        // Whatever follows the part that is too large is not encoded.
        let half = "a".repeat(MAX_MESSAGE / 2);
        too_large(to_bytes(&(&half, &half, Never)), count);
        let fits = "a".repeat(MAX_MESSAGE - 5);
        assert_eq!(to_bytes(&fits).unwrap().len(), MAX_MESSAGE);
        too_large(append(vec![0], &fits), MAX_MESSAGE + 1);
        // Elements without bytes are counted like others, because a reader cannot know.
        too_large(to_bytes(&Many((), count)), count);
        assert_eq!(to_bytes(&Many((), 300)).unwrap().len(), 3);
    }

    #[test]
    fn what_cannot_be_encoded_is_named_with_its_place() {
        use std::os::unix::ffi::OsStringExt as _;
        #[derive(Clone, Serialize)]
        struct Inner {
            #[serde(flatten)]
            more: BTreeMap<String, u8>,
        }
        #[derive(Serialize)]
        struct Outer {
            number: u8,
            list: Vec<Inner>,
            path: Option<std::path::PathBuf>,
        }
        let outer = |count, path: &[u8]| {
            let more = BTreeMap::new();
            let list = vec![Inner { more }; count];
            let path = std::ffi::OsString::from_vec(path.to_vec()).into();
            to_bytes(&(
                "",
                Outer {
                    number: 1,
                    list,
                    path: Some(path),
                },
            ))
        };
        outer(0, b"/srv").unwrap();
        let flat = outer(1, b"/srv").unwrap_err().0;
        assert!(
            flat.starts_with("Outer.list: ") && flat.contains("`flatten`"),
            "{flat}"
        );
        let odd = outer(0, b"/\xff").unwrap_err().0;
        assert!(
            odd.starts_with("Outer.path: ") && odd.contains("AnyPath"),
            "{odd}"
        );
        let early = std::time::UNIX_EPOCH - std::time::Duration::from_secs(1);
        let early = to_bytes(&early).unwrap_err().0;
        assert!(
            early.contains("later than UNIX_EPOCH; send the seconds"),
            "{early}"
        );
    }

    #[test]
    fn decoding_agrees_with_bincode() {
        let bytes = to_bytes(&all()).unwrap();
        assert_eq!(from_bytes::<All>(&bytes), Ok(all()));
        for cut in 0..bytes.len() {
            assert!(from_bytes::<All>(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        // Whatever is changed: both readers take it for the same, or for nothing.
        for at in 0..bytes.len() {
            for change in [1, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                let theirs = bincode::DefaultOptions::new()
                    .with_limit(1 << 20)
                    .deserialize::<All>(&changed);
                let ours = from_bytes::<All>(&changed);
                match (ours, theirs) {
                    (Ok(ours), Ok(theirs)) => {
                        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"))
                    }
                    (ours, theirs) => assert!(
                        ours.is_err() && theirs.is_err(),
                        "{at}: {ours:?} {theirs:?}"
                    ),
                }
            }
        }
    }

    /// Fields with all that serde does to them, as they are written and as they are read.
    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Job {
        #[serde(skip)]
        cached: Option<u8>,
        #[serde(default)]
        retries: Option<u8>,
        #[serde(rename = "p")]
        port: u16,
        #[serde(skip, default = "seven")]
        seven: u8,
        #[serde(default, skip_serializing_if = "Option::is_none", alias = "prio")]
        priority: Option<Box<Order>>,
        last_one: (u8, Form),
    }

    fn seven() -> u8 {
        7
    }

    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    enum Order {
        #[serde(rename = "now")]
        Now {
            #[serde(skip_serializing_if = "Vec::is_empty")]
            jobs: Vec<Job>,
            #[serde(skip)]
            seen: bool,
            by: u8,
        },
        Plain(u8),
    }

    fn job(priority: Option<Order>) -> Job {
        let priority = priority.map(Box::new);
        Job {
            cached: None,
            retries: Some(0),
            port: 1,
            seven: 7,
            priority,
            last_one: (2, Form::Unit),
        }
    }

    #[test]
    fn a_conditionally_skipped_field_is_an_error_when_encoding() {
        // What no value has is nothing, whatever its fields are called or default to.
        let full = Job {
            cached: Some(3),
            ..job(Some(Order::Plain(4)))
        };
        let bytes = to_bytes(&full).unwrap();
        assert_eq!(
            from_bytes(&bytes),
            Ok(Job {
                cached: None,
                ..full.clone()
            })
        );
        let plain = (
            full.retries,
            full.port,
            full.priority.clone(),
            full.last_one.clone(),
        );
        assert_eq!(bytes, to_bytes(&plain).unwrap());

        let left_out = |error: CodecError, of: &str| {
            assert!(
                error
                    .0
                    .starts_with(&format!("{of} is left out by `skip_serializing_if`")),
                "{error}"
            );
        };
        left_out(to_bytes(&job(None)).unwrap_err(), "Job.priority");
        let order = |jobs| Order::Now {
            jobs,
            seen: true,
            by: 9,
        };
        left_out(to_bytes(&order(Vec::new())).unwrap_err(), "now.jobs");
        // However deep within other values, and in messages as well.
        let nested = order(vec![job(Some(order(vec![job(None)])))]);
        left_out(to_bytes(&nested).unwrap_err(), "Job.priority");
        let within: BTreeMap<u8, Option<[(Order,); 1]>> = [(1, Some([(nested,)]))].into();
        left_out(to_bytes(&within).unwrap_err(), "Job.priority");
        left_out(
            to_message(Vec::new(), &Some(&within)).err().unwrap(),
            "Job.priority",
        );
    }

    #[test]
    fn lengths_and_nesting_are_checked_against_limits_first() {
        let mut nested = vec![1; DEPTH as usize + 1];
        nested.push(0);
        let error = from_bytes::<Form>(&nested).unwrap_err();
        assert!(error.0.contains("too deep"), "{error}");
        for length in [u64::MAX, MAX_MESSAGE as u64 + 1] {
            let bytes = to_bytes(&length).unwrap();
            assert!(from_bytes::<Vec<()>>(&bytes).is_err());
            assert!(from_bytes::<String>(&bytes).is_err());
            assert!(from_bytes::<Vec<[u64; 32]>>(&bytes).is_err());
        }
        assert!(from_bytes::<bool>(&[2]).is_err());
        assert!(from_bytes::<u16>(&[252, 0, 0, 0, 0]).is_err());
        assert!(from_bytes::<()>(&[0]).is_err(), "all bytes must be used");
    }
}
