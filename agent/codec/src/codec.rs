//! Encoding and decoding of values, with checks of whole messages.

use crate::error::{CodecError, MAX_MESSAGE, unwritten};
use crate::message::Message;
use crate::write::Whole;
use crate::{plain, read};
use bincode::Options;
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
    let mut written = crate::secret::Written(bytes);
    // bincode's own limit would serialise twice, once to count.
    crate::secret::in_frame(|| {
        bincode::DefaultOptions::new().serialize_into(&mut written, &Whole(value))
    })
    .map_err(|error| unwritten(*error))?;
    let bytes = written.0;
    if bytes.len() > MAX_MESSAGE {
        return Err(CodecError::too_large(bytes.len()));
    }
    Ok(bytes)
}

/// Encodes a value as a message that begins with `head`. Large blobs are not copied.
///
/// # Errors
/// Returns an error in the cases of [`to_bytes`].
#[inline(never)]
pub fn to_message<T: Serialize + ?Sized>(head: Vec<u8>, value: &T) -> Result<Message, CodecError> {
    let mut message = Message::from(head);
    crate::secret::in_frame(|| {
        bincode::DefaultOptions::new().serialize_into(&mut message, &Whole(value))
    })
    .map_err(|error| unwritten(*error))?;
    let message = message.finish();
    let length = message.length();
    if length > MAX_MESSAGE {
        return Err(CodecError::too_large(length));
    }
    Ok(message)
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
    use crate::read::DEPTH;
    use serde::Deserialize;
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
        // Three million elements of a byte each: 8 bytes in memory, and 24.
        let numbers = vec![0u64; 3_000_000];
        let bytes = to_bytes(&numbers).unwrap();
        assert_eq!(from_bytes::<Vec<u64>>(&bytes).unwrap(), numbers);
        for error in [
            from_bytes::<Vec<String>>(&bytes).err(),
            from_bytes::<Vec<Vec<u8>>>(&bytes).err(),
        ] {
            assert!(error.unwrap().to_string().contains("memory"));
        }
        // In many lists as in one, and in maps.
        let lists = vec![vec![String::new(); 1000]; 3000];
        assert!(from_bytes::<Vec<Vec<String>>>(&to_bytes(&lists).unwrap()).is_err());
        // Short lists may be of whatever.
        let texts = vec![String::new(); 500_000];
        assert_eq!(
            from_bytes::<Vec<String>>(&to_bytes(&texts).unwrap()).unwrap(),
            texts
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
