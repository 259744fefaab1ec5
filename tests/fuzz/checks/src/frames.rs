//! The frame decoder: a stream yields the same frames however it is split, exactly those that were
//! encoded, and never buffers more than has arrived.

use crate::input::{Input, pieces};
use crate::memory;
use offshoot_proto::wire::header_sum;
use offshoot_proto::wire::{
    Decoder, Flags, Frame, HEADER_LEN, Header, Kind, MAX_PAYLOAD, WireError, encode, sum_of,
};
use offshoot_proto::{ContextId, Handle};

/// The outcome of decoding a stream.
#[derive(PartialEq, Debug)]
struct Reading {
    frames: Vec<Frame>,
    error: Option<WireError>,
    pending: usize,
}

/// Runs the check.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mode = input.byte();
    let lengths = input.bytes();
    match mode % 4 {
        0 => any(input.0, lengths),
        1 => any(&mended(input.0), lengths),
        _ => structured(&mut input, lengths),
    }
}

/// Decodes arbitrary bytes.
fn any(stream: &[u8], lengths: &[u8]) {
    let whole = read(stream, &[stream]);
    let cut = read(stream, &pieces(stream, lengths));
    assert_eq!(whole.frames, cut.frames);
    match (&whole.error, &cut.error) {
        // The length of a quotation depends on the bytes available.
        (Some(WireError::NotAFrame(one)), Some(WireError::NotAFrame(other))) => {
            assert!(one.starts_with(other));
        }
        (one, other) => assert_eq!(one, other),
    }
    // A decoded frame encodes to the same bytes.
    let mut again = Vec::new();
    for (sequence, frame) in (0..).zip(&whole.frames) {
        encode(&frame.header, &frame.payload, sequence, &mut again);
    }
    assert_eq!(again, stream[..again.len()]);
    if let Some(error) = whole.error {
        assert!(!error.to_string().is_empty());
    } else {
        assert_eq!(again.len() + whole.pending, stream.len());
    }
}

/// Fixes the checksums wherever a header seems to begin, because a fuzzer does not guess checksums.
fn mended(stream: &[u8]) -> Vec<u8> {
    let mut stream = stream.to_vec();
    let mut at = 0;
    for sequence in 0u32.. {
        let Some((header, rest)) = stream[at..].split_at_mut_checked(HEADER_LEN) else {
            break;
        };
        header[..3].copy_from_slice(&[0x5B, 0x0F, 1]);
        let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        if let Some(payload) = rest.get(..length) {
            header[40..44].copy_from_slice(&sum_of(payload).to_le_bytes());
        }
        let sum = header_sum(&header[..44], sequence);
        header[44..].copy_from_slice(&sum.to_le_bytes());
        if length >= rest.len() {
            break;
        }
        at += HEADER_LEN + length;
    }
    stream
}

/// Encodes frames and decodes them, intact and damaged.
fn structured(input: &mut Input<'_>, lengths: &[u8]) {
    let harm = input.byte();
    let place = usize::from(input.u16());
    let mut frames = Vec::new();
    let mut starts = vec![0];
    let mut stream = Vec::new();
    while !input.is_empty() && frames.len() < 8 {
        let frame = frame(input);
        encode(
            &frame.header,
            &frame.payload,
            frames.len() as u32,
            &mut stream,
        );
        frames.push(frame);
        starts.push(stream.len());
    }
    let reading = read(&stream, &pieces(&stream, lengths));
    assert_eq!(
        reading,
        Reading {
            frames: frames.clone(),
            error: None,
            pending: 0
        }
    );
    if frames.is_empty() {
        return;
    }
    let hit = place % frames.len();
    match harm % 3 {
        0 => {
            let end = place % stream.len();
            let whole = starts[1..].iter().filter(|start| **start <= end).count();
            let reading = read(&stream[..end], &pieces(&stream[..end], lengths));
            assert_eq!(reading.frames, frames[..whole]);
            assert_eq!(
                (reading.error, reading.pending),
                (None, end - starts[whole])
            );
        }
        1 => {
            stream.drain(starts[hit]..starts[hit + 1]);
            let reading = read(&stream, &pieces(&stream, lengths));
            assert_eq!(reading.frames, frames[..hit]);
            let lost = WireError::Lost(hit as u32, hit as u32 + 1);
            assert_eq!(reading.error, (hit + 1 < frames.len()).then_some(lost));
        }
        _ => {
            let at = starts[hit] + usize::from(harm) * 7 % (starts[hit + 1] - starts[hit]);
            stream[at] ^= 1 << (place >> 8 & 7);
            let (header, payload) = stream[starts[hit]..starts[hit + 1]].split_at(HEADER_LEN);
            let sum = |at: usize| {
                u32::from_le_bytes(header[at..at + 4].try_into().expect("they are four"))
            };
            // A checksum is right by chance once in four thousand million times.
            let chance =
                header_sum(&header[..44], hit as u32) == sum(44) && sum_of(payload) == sum(40);
            if !chance {
                let reading = read(&stream, &pieces(&stream, lengths));
                assert_eq!(
                    reading.frames,
                    frames[..hit],
                    "nothing behind the damage is believed"
                );
                assert!(reading.error.is_some(), "damage is noticed at once");
            }
        }
    }
}

fn frame(input: &mut Input<'_>) -> Frame {
    let kind = Kind::ALL[input.below(Kind::ALL.len())];
    let (src, dst, auth) = (
        ContextId(input.u32()),
        ContextId(input.u32()),
        ContextId(input.u32()),
    );
    let header = Header {
        flags: Flags(u16::from(input.byte() & 15)),
        auth,
        handle: Handle(input.u32()),
        reply_to: Handle(input.u32()),
        streams: input.byte(),
        answering: input.byte(),
        offset: input.u64(),
        ..Header::new(kind, src, dst)
    };
    let payload = match input.byte() {
        255 => vec![input.byte(); MAX_PAYLOAD],
        254 => vec![input.byte(); usize::from(input.u16())],
        length => input.take(usize::from(length)).to_vec(),
    };
    Frame::new(header, payload)
}

/// Decodes a stream in these pieces.
fn read(stream: &[u8], pieces: &[&[u8]]) -> Reading {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    let (mut fed, mut used) = (0, 0);
    for mut piece in pieces.iter().copied() {
        fed += piece.len();
        loop {
            let (next, held) = memory::most_during(|| decoder.next_frame(&mut piece));
            assert!(held <= MAX_PAYLOAD + 4 * 160, "{held} bytes for one frame");
            match next {
                Ok(Some(frame)) => {
                    assert!(frame.payload.len() <= MAX_PAYLOAD);
                    used += frame.size();
                    frames.push(frame);
                }
                Ok(None) => break,
                Err(error) => {
                    let again = decoder.next_frame(&mut piece);
                    assert_eq!(again, Err(error.clone()), "a broken stream stays broken");
                    return Reading {
                        frames,
                        error: Some(error),
                        pending: decoder.pending(),
                    };
                }
            }
        }
        assert!(piece.is_empty(), "it takes all that is no frame yet");
        assert_eq!(
            decoder.pending(),
            fed - used,
            "the decoder keeps the bytes that it has not returned"
        );
        assert!(
            decoder.pending() < HEADER_LEN + MAX_PAYLOAD,
            "a whole frame is not kept"
        );
    }
    assert_eq!(fed, stream.len());
    Reading {
        frames,
        error: None,
        pending: decoder.pending(),
    }
}
