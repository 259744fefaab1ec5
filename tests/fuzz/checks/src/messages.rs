//! Message types of the codec. Arbitrary bytes are decoded or refused without allocating more than
//! they could fill, a decoded value always encodes to the same bytes, and values round-trip.

use crate::forms;
use crate::input::{Input, as_arrived};
use crate::memory;
use offshoot_agent::{ConnectError, ConnectErrorKind, Error, Reason, Secret};
use offshoot_codec as codec;
use offshoot_proto::ContextId;
use offshoot_proto::DeadLetter;
use offshoot_proto::connect::dialogue::{Explanation, Reaction, Rule, When};
use offshoot_proto::connect::recipe::{Attach, Recipe};
use offshoot_proto::message::connect::ConnectRequest;
use offshoot_proto::message::prompt::PromptKind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Bytes that a reader may allocate for any message: serde reserves up to a mebibyte for a list
/// that claims to be long, and lists nest.
const AT_ONCE: usize = 4 << 20;
/// Bytes that a reader may allocate per byte of a message: the shortest list element takes one
/// byte, and its value up to this, twice while the list grows.
const FOR_A_BYTE: usize = 256;

/// Runs the check.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let number = usize::from(input.byte());
    let count = forms::MESSAGES.len();
    match number % (count + 5) {
        number if number < count => {
            written_again(forms::MESSAGES[number].0, input.0);
        }
        number => match number - count {
            0 => bounded(input.0, || offshoot_agent::testing::log_arrived(input.0)),
            1 => reply(input.0),
            2 => {
                let request = request(&mut input);
                let read: ConnectRequest =
                    codec::from_bytes(&written(&request)).expect("it was just written");
                assert_eq!(read.recipe, request.recipe);
                assert_eq!(
                    (&read.name, read.announce),
                    (&request.name, request.announce)
                );
                assert_eq!(read.heartbeat, request.heartbeat);
            }
            3 => {
                let error = error(&mut input);
                arrives(&error);
                let raw = input.text();
                assert_eq!(
                    codec::from_bytes(&written(&Error::Function(raw.clone()))),
                    Ok(Error::Function(as_arrived(&raw)))
                );
                assert_eq!(forms::reply(&forms::failed(&error)), Err(error.clone()));
                assert!(
                    !error.to_string().is_empty()
                        || matches!(error, Error::Image(_) | Error::Function(_))
                );
            }
            _ => {
                let reason = reason(&mut input);
                arrives(&DeadLetter {
                    reason,
                    by: ContextId(input.u32()),
                    text: clean(&mut input),
                });
                let texts = input.some(Input::text);
                assert_eq!(forms::reply(&forms::value(&texts)), Ok(texts));
            }
        },
    }
}

fn bounded<T>(bytes: &[u8], work: impl FnOnce() -> T) -> T {
    let (done, held) = memory::most_during(work);
    let limit = AT_ONCE + FOR_A_BYTE * bytes.len();
    assert!(held <= limit, "{held} bytes to read {}", bytes.len());
    done
}

/// Decodes bytes as the message of this name and encodes the value, which must then round-trip.
pub fn written_again(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let (_, again) = forms::MESSAGES
        .iter()
        .find(|(other, _)| *other == name)
        .expect("it is a message");
    let written = bounded(bytes, || again(bytes))?;
    // A forbidden character is replaced by one of three bytes.
    let harmful = bytes.len()
        - String::from_utf8_lossy(bytes)
            .chars()
            .filter(|c| !c.is_control())
            .count();
    assert!(
        written.len() <= bytes.len() + 2 * harmful,
        "what is written is the shortest form"
    );
    assert_eq!(
        bounded(&written, || again(&written)).as_ref(),
        Some(&written),
        "{name}"
    );
    Some(written)
}

fn reply(bytes: &[u8]) {
    let read = bounded(bytes, || forms::reply(bytes));
    let again = match &read {
        Ok(value) => forms::value(value),
        Err(error) => forms::failed(error),
    };
    assert_eq!(forms::reply(&again), read);
}

fn written<T: Serialize>(value: &T) -> Vec<u8> {
    codec::to_bytes(value).expect("it can be written")
}

fn arrives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let bytes = written(value);
    assert_eq!(codec::from_bytes::<T>(&bytes).as_ref(), Ok(value));
    // A truncated message, or one with trailing bytes, is invalid.
    assert!(codec::from_bytes::<T>(&bytes[..bytes.len() - 1]).is_err());
    assert!(codec::from_bytes::<T>(&[&bytes[..], &[0]].concat()).is_err());
}

fn request(input: &mut Input<'_>) -> ConnectRequest {
    const ATTACH: [Attach; 5] = [
        Attach::Direct,
        Attach::Words,
        Attach::GuardedWords,
        Attach::Line,
        Attach::Script,
    ];
    let (hop, key, argv, at_once) = (
        input.text(),
        input.text(),
        input.some(Input::text),
        input.u32(),
    );
    let mut recipe = Recipe::new(hop, argv, ATTACH[input.below(ATTACH.len())]);
    recipe.key = key;
    recipe.shell = input.some(Input::text);
    recipe.prelude = input.text();
    recipe.at_once = at_once;
    recipe.terminal = input.flag();
    recipe.rules = input.some(rule);
    recipe.timeout_ms = input.u64();
    recipe.hint = input.text();
    ConnectRequest {
        name: input.text(),
        title: input.flag().then(|| input.text()),
        recipe,
        announce: input.flag(),
        heartbeat: input.u32(),
        prompts: offshoot_proto::Handle(input.u32()),
    }
}

/// Returns any rule of a dialogue.
pub fn rule(input: &mut Input<'_>) -> Rule {
    let texts = input.some(Input::text);
    let asked = input.flag();
    let when = When {
        needs: u32::from(input.byte() & 7),
        lacks: u32::from(input.byte() & 7),
    };
    let reaction = match input.below(11) {
        0 => Reaction::Answer(None),
        1 => Reaction::Answer(Some(Secret::new(input.text()))),
        2 => Reaction::Skip,
        3 => Reaction::Ignore,
        4 => Reaction::Forget,
        5 => Reaction::Name,
        6 => Reaction::Way,
        7 => Reaction::Ask(prompt_kind(input)),
        8 => Reaction::HeldBack,
        9 => Reaction::Note(input.byte() % 10),
        _ => Reaction::Explain(Explanation {
            kind: kind(input),
            detail: input.text(),
            hint: input.text(),
        }),
    };
    Rule {
        asked,
        texts,
        when,
        sets: u32::from(input.byte()),
        reaction,
    }
}

fn prompt_kind(input: &mut Input<'_>) -> PromptKind {
    const KINDS: [PromptKind; 7] = [
        PromptKind::Password,
        PromptKind::Passphrase,
        PromptKind::Pin,
        PromptKind::Code,
        PromptKind::HostKey,
        PromptKind::Touch,
        PromptKind::Other,
    ];
    KINDS[input.below(KINDS.len())]
}

fn kind(input: &mut Input<'_>) -> ConnectErrorKind {
    const KINDS: [ConnectErrorKind; 19] = [
        ConnectErrorKind::Start,
        ConnectErrorKind::PasswordRequired,
        ConnectErrorKind::PasswordIncorrect,
        ConnectErrorKind::Denied,
        ConnectErrorKind::HostKey,
        ConnectErrorKind::Unreachable,
        ConnectErrorKind::Exited,
        ConnectErrorKind::Bootstrap,
        ConnectErrorKind::TimedOut,
        ConnectErrorKind::Platform,
        ConnectErrorKind::Protocol,
        ConnectErrorKind::Cancelled,
        ConnectErrorKind::Functions,
        ConnectErrorKind::NoSuchUser,
        ConnectErrorKind::Question,
        ConnectErrorKind::Dropped,
        ConnectErrorKind::HostKeyChanged,
        ConnectErrorKind::HostKeyRevoked,
        ConnectErrorKind::Restricted,
    ];
    KINDS[input.below(KINDS.len())]
}

fn reason(input: &mut Input<'_>) -> Reason {
    const REASONS: [Reason; 13] = [
        Reason::NoRoute,
        Reason::Isolated,
        Reason::NoHandle,
        Reason::Refused,
        Reason::Lost,
        Reason::ConnectFailed,
        Reason::QueueFull,
        Reason::Cancelled,
        Reason::Violation,
        Reason::TooLarge,
        Reason::ShutDown,
        Reason::Silent,
        Reason::Stopped,
    ];
    REASONS[input.below(REASONS.len())]
}

/// Returns a text as it is in a received error.
fn clean(input: &mut Input<'_>) -> String {
    as_arrived(&input.text())
}

fn error(input: &mut Input<'_>) -> Error {
    match input.below(11) {
        0 => {
            let mut error = ConnectError::new(kind(input), clean(input));
            (error.context, error.hop, error.hint) = (clean(input), clean(input), clean(input));
            error.output = input.some(clean);
            error.into()
        }
        1 => Error::Undelivered {
            context: clean(input),
            reason: reason(input),
            detail: clean(input),
        },
        2 => Error::NoSuchFunction {
            context: clean(input),
            function: clean(input),
        },
        3 => Error::Panicked {
            context: clean(input),
            message: clean(input),
        },
        4 => Error::Codec {
            context: clean(input),
            detail: clean(input),
        },
        5 => Error::TimedOut {
            context: clean(input),
            after_ms: input.u64(),
        },
        6 => Error::Spawn {
            context: clean(input),
            program: clean(input),
            errno: input.u32() as i32,
            detail: clean(input),
        },
        7 => Error::ShutDown,
        8 => Error::Image(clean(input)),
        9 => Error::System {
            action: clean(input),
            detail: clean(input),
        },
        _ => Error::Function(clean(input)),
    }
}
