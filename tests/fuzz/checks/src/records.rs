//! Records of chains and channels. They do not depend on how their bytes are split, no length makes
//! a reader buffer more than has arrived, and invalid records, greetings and messages are refused.

use crate::forms;
use crate::input::{Input, as_arrived, pieces};
use crate::memory;
use offshoot_agent::{Error, RecvError};
use offshoot_codec as codec;
use offshoot_codec::MAX_MESSAGE;
use offshoot_proto::message::chain::CallQueue;

/// A record: four bytes of length, one byte of kind, and the payload.
const HEAD: usize = 5;
/// Bytes that may be allocated besides the received bytes: growing lists and error texts.
const BESIDE: usize = 16 << 10;
/// Bytes that may be allocated per byte of records: the shortest has five, and is an entry of a
/// list that may exist twice while it grows.
const FOR_A_BYTE: usize = 48;
/// Bytes that decoding one message may always allocate (see `messages`).
const FOR_A_MESSAGE: usize = 4 << 20;

type Record<'a> = (u8, &'a [u8]);

/// Runs the check.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    match input.byte() % 5 {
        0 => cut(&mut input),
        1 => called(&mut input),
        2 => received(&mut input),
        3 => greeted(&mut input),
        _ => written(&mut input),
    }
}

/// A plain model: returns the records at the start of `bytes`, then a length over `limit` if there
/// is one.
fn plain(mut bytes: &[u8], limit: usize) -> (Vec<Record<'_>>, Option<usize>) {
    let mut records = Vec::new();
    while let Some((&[a, b, c, d, kind], rest)) = bytes.split_first_chunk::<HEAD>() {
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > limit {
            return (records, Some(length));
        }
        if length > rest.len() {
            break;
        }
        let (content, rest) = rest.split_at(length);
        records.push((kind, content));
        bytes = rest;
    }
    (records, None)
}

fn bounded<T>(length: usize, for_a_byte: usize, beside: usize, work: impl FnOnce() -> T) -> T {
    let (done, held) = memory::most_during(work);
    assert!(
        held <= beside + for_a_byte * length,
        "{held} bytes for records of {length}"
    );
    done
}

/// Limits: reachable ones, the maximum, and small ones.
fn limit(input: &mut Input<'_>) -> usize {
    match input.below(4) {
        0 => usize::from(input.byte()),
        1 => 1 << 20,
        _ => MAX_MESSAGE,
    }
}

fn cut(input: &mut Input<'_>) {
    let (limit, lengths) = (limit(input), input.bytes());
    let (expected, too_long) = plain(input.0, limit);
    let (mut have, mut at) = (Vec::new(), 0);
    let pieces = pieces(input.0, lengths);
    let (found, refused) = bounded(input.0.len(), FOR_A_BYTE, BESIDE, || {
        let mut found = Vec::new();
        for piece in pieces {
            have.extend_from_slice(piece);
            loop {
                match forms::take_record(&mut have, &mut at, limit) {
                    Ok(Some(record)) => found.push(record),
                    Ok(None) => break,
                    Err(length) => return (found, Some(length)),
                }
            }
            assert_eq!(at, 0, "records that were taken are removed");
        }
        (found, None)
    });
    assert!(
        found
            .iter()
            .map(|(kind, content)| (*kind, &content[..]))
            .eq(expected.iter().copied())
    );
    assert_eq!(refused, too_long);
    if refused.is_none() {
        let taken: usize = expected
            .iter()
            .map(|(_, content)| HEAD + content.len())
            .sum();
        assert_eq!(have, input.0[taken..], "an incomplete record waits");
    }
}

/// A chain at the callee: its queue has the calls sent, in order, without the cancelled ones.
fn called(input: &mut Input<'_>) {
    let lengths = input.bytes();
    let [call, _, cancel] = forms::CHAIN_KINDS;
    let (records, too_long) = plain(input.0, MAX_MESSAGE);
    let (mut expected, mut next) = (Vec::<(u32, u8, &[u8])>::new(), 0);
    for (kind, content) in records {
        if kind == cancel {
            let number = content.try_into().map_or(u32::MAX, u32::from_le_bytes);
            let theirs = |record: &&mut (u32, u8, &[u8])| record.0 == number && record.1 == call;
            if let Some(record) = expected.iter_mut().find(theirs) {
                record.1 = cancel;
            }
        } else {
            expected.push((next, kind, content));
            next += u32::from(kind == call);
        }
    }
    let pieces = pieces(input.0, lengths);
    bounded(input.0.len(), FOR_A_BYTE, BESIDE, || {
        let mut chain = CallQueue::default();
        let outcome = pieces.into_iter().try_for_each(|piece| {
            // No running call could be cancelled.
            chain
                .take(piece, 0, None)
                .map(|given_up| assert!(!given_up))
        });
        assert_eq!(outcome.err(), too_long);
        let waiting = chain
            .iter()
            .map(|record| (record.number, record.kind, &record.content[..]));
        assert!(waiting.eq(expected.iter().copied()));
        assert_eq!(
            chain.length(),
            expected
                .iter()
                .map(|(_, _, content)| content.len())
                .sum::<usize>()
        );
    });
}

/// A receiver: messages and errors do not depend on how bytes are split, and one end follows.
fn received(input: &mut Input<'_>) {
    let (ends, lengths) = (input.below(3), input.bytes());
    let all = |pieces: Vec<&[u8]>| {
        let (mut receiving, mut all) = (forms::Receiving::default(), Vec::new());
        let end = match ends {
            0 => None,
            1 => Some(Ok(None)),
            _ => Some(Err(Error::Function("it broke off".into()))),
        };
        let chunks = pieces.into_iter().map(|piece| Ok(Some(piece.to_vec())));
        for chunk in chunks.chain(end) {
            receiving.take(chunk);
            while let Some(message) = receiving.receive() {
                let over = message == Err(RecvError::Closed);
                all.push(message);
                if over {
                    assert_eq!(
                        receiving.receive(),
                        Some(Err(RecvError::Closed)),
                        "the end is final"
                    );
                    return all;
                }
            }
        }
        all
    };
    let length = input.0.len();
    let whole = bounded(length, 256, FOR_A_MESSAGE, || all(vec![input.0]));
    let in_pieces = bounded(length, 256, FOR_A_MESSAGE, || all(pieces(input.0, lengths)));
    assert_eq!(whole, in_pieces);
    let [value, failed, lost] = forms::CHANNEL_KINDS;
    // Each message follows the id of its sender.
    let (records, too_long) = plain(input.0, MAX_MESSAGE + 4);
    let mut said = whole.iter();
    for (kind, content) in records {
        if ![value, failed, lost].contains(&kind) {
            continue;
        }
        let message = said
            .next()
            .expect("every record that is known is one message");
        if kind == value && content.len() >= 4 {
            assert_eq!(message.as_deref(), Ok(content));
        } else if kind == value {
            assert!(
                matches!(message, Err(RecvError::Unreadable(_))),
                "nobody has sent it"
            );
        } else {
            assert!(matches!(
                message,
                Err(RecvError::Failed { .. } | RecvError::Lost(_) | RecvError::Unreadable(_))
            ));
        }
    }
    if too_long.is_some() {
        assert!(
            matches!(said.next(), Some(Err(RecvError::Unreadable(_)))),
            "a length that is too long"
        );
    } else if ends == 2 {
        let broken = Error::Function("it broke off".into());
        assert_eq!(
            said.next(),
            Some(&Err(RecvError::Lost(broken))),
            "what broke off says so"
        );
    }
    if too_long.is_some() || ends != 0 {
        assert_eq!(said.next(), Some(&Err(RecvError::Closed)));
    }
    assert_eq!(said.next(), None);
}

/// A greeting round-trips; one that is too short or has an unknown role is refused.
fn greeted(input: &mut Input<'_>) {
    let (receives, key, copy) = (input.flag(), input.u64(), input.u64());
    let mut greeting = forms::greet(receives, key, copy);
    assert_eq!(forms::greeting(&greeting), Some((receives, key, copy)));
    assert_eq!(forms::greeting(&greeting[..greeting.len() - 1]), None);
    greeting.extend_from_slice(input.bytes());
    assert_eq!(
        forms::greeting(&greeting),
        Some((receives, key, copy)),
        "its records may follow at once"
    );
    if let Some((receives, key, copy)) = forms::greeting(input.0) {
        assert!(input.0.starts_with(&forms::greet(receives, key, copy)));
    }
}

/// Messages round-trip, and an excessive length allocates nothing.
fn written(input: &mut Input<'_>) {
    let said = (input.text(), input.text());
    let [value, failed, lost] = forms::CHANNEL_KINDS;
    let error = Error::Function(as_arrived(&input.text()));
    let content = [&input.u32().to_le_bytes()[..], input.bytes()].concat();
    let bytes = |value: &dyn Fn() -> Result<Vec<u8>, codec::CodecError>| {
        value().expect("it can be written")
    };
    let records = [
        forms::record(value, &content),
        forms::record(failed, &bytes(&|| codec::to_bytes(&said))),
        forms::record(lost, &bytes(&|| codec::to_bytes(&error))),
    ];
    let mut receiving = forms::Receiving::default();
    receiving.take(Ok(Some(records.concat())));
    assert_eq!(receiving.receive(), Some(Ok(content)));
    let (context, text) = said;
    let (context, text) = (as_arrived(&context), as_arrived(&text));
    assert_eq!(
        receiving.receive(),
        Some(Err(RecvError::Failed { context, text }))
    );
    assert_eq!(receiving.receive(), Some(Err(RecvError::Lost(error))));
    assert_eq!(receiving.receive(), None);
    let claim = [&input.u32().to_le_bytes()[..], &[input.byte()]].concat();
    bounded(claim.len(), FOR_A_BYTE, BESIDE, || {
        let (mut receiving, mut chain) = (forms::Receiving::default(), CallQueue::default());
        receiving.take(Ok(Some(claim.clone())));
        let _ = receiving.receive();
        let _ = chain.take(&claim, 0, None);
    });
}
