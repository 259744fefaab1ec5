//! The frame decoder with pieces and damage of all kinds. Every run prints its seed;
//! `OFFSHOOT_SEED` repeats one.

use offshoot_proto::wire::{
    Decoder, Flags, Frame, HEADER_LEN, Header, Kind, MAX_PAYLOAD, WireError, encode,
};
use offshoot_proto::{ContextId, Handle};

struct Random(u64);

impl Random {
    fn seeded(test: &str) -> Self {
        let now = || {
            std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(1, |now| now.as_nanos() as u64)
        };
        let seed = std::env::var("OFFSHOOT_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or_else(now);
        println!("{test}: OFFSHOOT_SEED={seed}");
        Self(seed | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }

    fn frame(&mut self) -> Frame {
        let id = |random: &mut Self| ContextId(random.below(usize::MAX) as u32);
        let header = Header {
            flags: Flags(self.below(4) as u16),
            auth: id(self),
            handle: Handle(self.below(usize::MAX) as u32),
            reply_to: Handle(self.below(usize::MAX) as u32),
            streams: self.below(9) as u8,
            answering: self.below(256) as u8,
            offset: self.below(usize::MAX) as u64,
            ..Header::new(Kind::ALL[self.below(Kind::ALL.len())], id(self), id(self))
        };
        let length = match self.below(10) {
            0 => MAX_PAYLOAD,
            1 => 0,
            _ => self.below(2000),
        };
        Frame::new(header, (0..length).map(|_| self.below(256) as u8).collect())
    }
}

fn stream(frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (sequence, frame) in (0..).zip(frames) {
        encode(&frame.header, &frame.payload, sequence, &mut bytes);
    }
    bytes
}

/// Decodes `bytes` in random pieces. Returns the frames and the final error.
fn decode(random: &mut Random, mut bytes: &[u8]) -> (Vec<Frame>, Option<WireError>) {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let piece = 1 + random.below(bytes.len().min(100_000));
        let mut read = &bytes[..piece];
        bytes = &bytes[piece..];
        loop {
            match decoder.next_frame(&mut read) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    let again = decoder.next_frame(&mut &b"more"[..]);
                    assert_eq!(again, Err(error.clone()), "a broken stream stays broken");
                    return (frames, Some(error));
                }
            }
        }
        assert!(read.is_empty() && decoder.pending() < HEADER_LEN + MAX_PAYLOAD);
    }
    (frames, None)
}

#[test]
fn frames_round_trip_however_the_stream_is_split() {
    let mut random = Random::seeded("pieces");
    for _ in 0..100 {
        let count = random.below(12);
        let frames: Vec<Frame> = (0..count).map(|_| random.frame()).collect();
        let bytes = stream(&frames);
        assert_eq!(decode(&mut random, &bytes), (frames, None));
    }
}

#[test]
fn a_flipped_bit_is_detected_and_nothing_after_it_is_accepted() {
    let mut random = Random::seeded("flips");
    for _ in 0..400 {
        let frames: Vec<Frame> = (0..4).map(|_| random.frame()).collect();
        let mut bytes = stream(&frames);
        let at = random.below(bytes.len());
        bytes[at] ^= 1 << random.below(8);
        // Padding, so that a longer length finds the bytes that it claims.
        bytes.extend(std::iter::repeat_n(0, MAX_PAYLOAD));
        let (out, error) = decode(&mut random, &bytes);
        assert!(error.is_some(), "a damaged stream must not pass");
        assert!(
            out.len() < 4 && out[..] == frames[..out.len()],
            "only whole frames before the damage"
        );
    }
}

#[test]
fn lost_bytes_are_detected() {
    let mut random = Random::seeded("losses");
    for _ in 0..200 {
        let frames: Vec<Frame> = (0..4).map(|_| random.frame()).collect();
        let mut bytes = stream(&frames);
        let from = random.below(bytes.len() - 1);
        let to = (from + 1 + random.below(5000)).min(bytes.len());
        bytes.drain(from..to);
        bytes.extend(std::iter::repeat_n(0, HEADER_LEN + MAX_PAYLOAD));
        let (out, error) = decode(&mut random, &bytes);
        assert!(error.is_some());
        assert_eq!(out[..], frames[..out.len()]);
    }
}

#[test]
fn a_lost_frame_is_detected_by_its_sequence_number() {
    let mut random = Random::seeded("gap");
    let frames: Vec<Frame> = (0..3).map(|_| random.frame()).collect();
    let mut bytes = stream(&frames[..1]);
    encode(&frames[2].header, &frames[2].payload, 2, &mut bytes);
    assert_eq!(decode(&mut random, &bytes).1, Some(WireError::Lost(1, 2)));
}

#[test]
fn an_oversized_length_is_refused_before_anything_is_buffered() {
    let mut bytes = stream(&[Frame::new(
        Header::new(Kind::Ping, ContextId(1), ContextId(2)),
        Vec::new(),
    )]);
    bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(
        decode(&mut Random(7), &bytes).1,
        Some(WireError::Length(u32::MAX))
    );
}

#[test]
fn another_protocol_version_is_refused_and_named() {
    let header = Header::new(Kind::Ping, ContextId(1), ContextId(2));
    let mut bytes = stream(&[Frame::new(header, Vec::new())]);
    bytes[2] = 9;
    let error = decode(&mut Random(7), &bytes).1.expect("it is another's");
    assert_eq!(error, WireError::Version(9));
    assert!(error.to_string().contains("version 9"), "{error}");
}

#[test]
fn text_in_the_stream_is_quoted_in_the_error() {
    let error = decode(&mut Random(7), b"bash: warning: setlocale\n")
        .1
        .expect("it is no frame");
    assert!(error.to_string().contains("b") && matches!(error, WireError::NotAFrame(_)));
}
