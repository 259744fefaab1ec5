//! Attacks with ends of channels and pipes, with chains, and with the handlers of a program.

use std::collections::HashMap;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use offshoot_codec::from_bytes;
use offshoot_proto::wire::{Flags, Frame, Header, Kind, MAX_PAYLOAD};
use offshoot_proto::{ContextId, Handle};

use super::attacks::{answer, flood};
use super::wire::{FrameWriter, Over};

/// The address of a hub: context, handle and key; mirrors a private type of `offshoot_agent`.
pub(crate) type Address = (ContextId, u32, u64);

/// The lowest handle of a hub.
pub(crate) const FIRST_HUB: u32 = 1 << 31;

/// The handle of the suite's handler.
pub(crate) const OFFERED: Handle = Handle(300);
/// The initial credit of a peer without authority.
pub(crate) const WINDOW: usize = 2 << 10;
/// Bytes of empty records sent on a flow.
const EMPTY: usize = 64 << 10;
/// The longest message of a peer without authority.
pub(crate) const LONGEST: usize = 1 << 20;
/// The most flows that one context may have to handlers and hubs.
const FLOWS: u32 = 256;
/// The silence after which no more input is expected.
const SILENCE: Duration = Duration::from_millis(1500);

pub(crate) const WRITER: u8 = 0;
const READER: u8 = 1;
pub(crate) const VALUE: u8 = 0;
const COPY: u8 = 3;
const VOID: u8 = 4;
const CLOSED: u8 = 5;

/// Runs the attack `how`.
pub(crate) fn perform(
    how: &str,
    writer: &mut FrameWriter,
    heard: &Receiver<Frame>,
) -> Result<(), Over> {
    match how {
        "hub-greetings" => {
            let (to, key) = sender(heard);
            flood(writer, 10_000, |writer, number| {
                let greeting = match number % 5 {
                    0 => greeting(WRITER, key ^ 1, 0),
                    1 => greeting(READER, key.rotate_left(number), 0),
                    2 => greeting(2 + number as u8 % 250, key, 0),
                    3 => greeting(WRITER, key, 0)[..number as usize % 17].to_vec(),
                    _ => vec![0xFF; WINDOW],
                };
                writer.open(0, to.0, 64 + number, &greeting)
            })
        }
        "hub-readers" => {
            let (to, key) = sender(heard);
            flood(writer, 1000, |writer, number| {
                writer.open(0, to.0, 64 + number, &greeting(READER, key, number.into()))
            })
        }
        "hub-writers" => {
            let (to, key) = sender(heard);
            flood(writer, 20_000, |writer, number| {
                writer.open(0, to.0, 64 + number, &greeting(WRITER, key, number.into()))
            })
        }
        "hub-copies" => {
            let (to, key) = sender(heard);
            let about = |kind: u8, numbers: std::ops::Range<u64>| {
                numbers
                    .flat_map(|number| record(kind, &number.to_le_bytes()))
                    .collect::<Vec<u8>>()
            };
            let said = [
                // More than the limit.
                about(COPY, 0..70_000),
                // Up to the limit, and closing others.
                [
                    about(COPY, 0..65_000),
                    about(VOID, 1 << 40..(1 << 40) + 60_000),
                ]
                .concat(),
                // After the end of the flow.
                [
                    about(CLOSED, 0..9),
                    about(VALUE, 0..9),
                    about(COPY, 0..900),
                    about(CLOSED, 0..9),
                ]
                .concat(),
                // A flow that stays open.
                about(COPY, 0..60_000),
            ];
            let mut outs: Outs = (64..)
                .zip(said)
                .map(|(number, said)| (number, Out::new(said)))
                .collect();
            for (number, out) in &mut outs {
                out.begin(writer, to, *number, &greeting(WRITER, key, 0))?;
            }
            go_on(writer, heard, outs)
        }
        "hub-lengths" => {
            let (to, key) = sender(heard);
            flood(writer, 5000, |writer, number| {
                let length = [u32::MAX, 128 << 20, (1 << 20) + 1, 3][number as usize % 4];
                let record = [&length.to_le_bytes()[..], &[number as u8], b"abc"].concat();
                writer.open(
                    0,
                    to.0,
                    64 + number,
                    &[greeting(WRITER, key, 0), record].concat(),
                )
            })
        }
        "hub-parts" => {
            let (to, key) = sender(heard);
            let claim = [
                &(LONGEST as u32).to_le_bytes()[..],
                &[VALUE],
                &vec![7; LONGEST - 1],
            ]
            .concat();
            let mut outs = Outs::new();
            for number in 64..64 + FLOWS - 1 {
                let mut out = Out::new(claim.clone());
                out.begin(writer, to, number, &greeting(WRITER, key, 0))?;
                outs.insert(number, out);
            }
            go_on(writer, heard, outs)
        }
        "hub-empty" => {
            let (to, key) = sender(heard);
            let records = record(VALUE, &[]).repeat(EMPTY / 5 - 10);
            let mut outs = Outs::new();
            for number in 64..64 + FLOWS / 4 {
                let mut out = Out::new(records.clone());
                out.begin(writer, to, number, &greeting(WRITER, key, 0))?;
                outs.insert(number, out);
            }
            go_on(writer, heard, outs)
        }
        "hub-miser" => {
            let (_, hub, key) = brought(heard, |address: &Address| address.0);
            writer.open(0, FIRST_HUB | hub, 64, &greeting(READER, key, 0))
        }
        "chains" => {
            let parent = writer.parent.0;
            flood(writer, 20_000, |writer, number| {
                let dst = if number % 2 == 0 { 0 } else { parent };
                writer.open(
                    dst,
                    Handle::CHAIN.0,
                    64 + number,
                    &record(0, b"\x04ping\0\0"),
                )
            })
        }
        "chain-early" => {
            let chain = chain(heard);
            answer(
                writer,
                &chain,
                Kind::Data,
                0,
                &record(0, &[0, 2, b'h', b'i']),
            )
        }
        "chain-twice" => {
            let chain = called(heard);
            let reply = record(0, &[0, 2, b'h', b'i']);
            flood(writer, 1000, |writer, number| {
                answer(
                    writer,
                    &chain,
                    Kind::Data,
                    u64::from(number) * reply.len() as u64,
                    &reply,
                )
            })
        }
        "chain-long" => {
            let chain = called(heard);
            answer(writer, &chain, Kind::Data, 0, &[0xFF; 5])?;
            // The flow is reset by now, or will be.
            flood(writer, 10_000, |writer, number| {
                answer(
                    writer,
                    &chain,
                    Kind::Data,
                    5 + u64::from(number) * 20,
                    &[0; 20],
                )
            })
        }
        "chain-kinds" => {
            let chain = called(heard);
            let replies = (1..=4u8)
                .flat_map(|kind| record(kind * 60, &[kind; 50]))
                .collect::<Vec<u8>>();
            answer(writer, &chain, Kind::Data, 0, &replies)
        }
        // Fewer than the 65,536 refusals that end a link: how many are refused is a matter of time.
        "requests-withdrawn" => flood(writer, 60_000, |writer, number| {
            let header = Header {
                handle: OFFERED,
                reply_to: Handle(64 + number),
                flags: Flags(Flags::OPENER.0 | Flags::END.0),
                ..writer.header(Kind::Open, 0)
            };
            // A complete list of bytes.
            writer.frame(&header, &[&[0xFB, 0xE5, 3][..], &[1; 997]].concat())?;
            let header = Header {
                handle: header.reply_to,
                flags: Flags::OPENER,
                ..writer.header(Kind::Reset, 0)
            };
            writer.frame(&header, &[])
        }),
        "requests-long" | "requests-endless" => {
            let length = if how == "requests-long" {
                2 * LONGEST
            } else {
                LONGEST - 1
            };
            let mut outs = Outs::new();
            for number in 64..64 + FLOWS {
                let mut out = Out::new(vec![1; length]);
                out.begin(writer, OFFERED, number, &[])?;
                outs.insert(number, out);
            }
            go_on(writer, heard, outs)
        }
        other => panic!("no such act: {other}"),
    }
}

pub(crate) fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32).to_le_bytes()[..], &[kind], content].concat()
}

pub(crate) fn greeting(role: u8, key: u64, copy: u64) -> Vec<u8> {
    [&[role][..], &key.to_le_bytes(), &copy.to_le_bytes()].concat()
}

/// Waits for a call of the suite and decodes the last argument, an end of a channel or pipe of the
/// root.
fn brought<T: serde::de::DeserializeOwned>(
    heard: &Receiver<Frame>,
    context: impl Fn(&T) -> ContextId,
) -> T {
    let calls = heard
        .iter()
        .filter(|frame| (frame.header.kind, frame.header.handle) == (Kind::Open, Handle::CALL));
    let read = |frame: Frame| {
        let ends =
            (0..frame.payload.len()).filter_map(|at| from_bytes::<T>(&frame.payload[at..]).ok());
        ends.filter(|end| context(end) == ContextId::ROOT).last()
    };
    calls
        .filter_map(read)
        .next()
        .expect("the suite gives one away")
}

/// Returns the hub and the key of a received sender.
pub(crate) fn sender(heard: &Receiver<Frame>) -> (Handle, u64) {
    let ((_, hub, key), _) = brought(heard, |end: &(Address, u64)| end.0.0);
    (Handle(FIRST_HUB | hub), key)
}

/// Waits for the chain of the suite.
fn chain(heard: &Receiver<Frame>) -> Frame {
    let is =
        |frame: &Frame| (frame.header.kind, frame.header.handle) == (Kind::Open, Handle::CHAIN);
    heard.iter().find(is).expect("the suite opens one")
}

/// Waits until the chain has a call.
fn called(heard: &Receiver<Frame>) -> Frame {
    let chain = chain(heard);
    let is = |frame: &Frame| {
        (frame.header.kind, frame.header.handle) == (Kind::Data, chain.header.reply_to)
    };
    heard.iter().find(is).expect("the suite calls");
    chain
}

/// A flow of a context, with the bytes still to be sent.
pub(crate) struct Out {
    from: ContextId,
    said: usize,
    limit: usize,
    rest: Vec<u8>,
}

pub(crate) type Outs = HashMap<u32, Out>;

impl Out {
    fn new(rest: Vec<u8>) -> Self {
        Self::of(ContextId::ROOT, rest)
    }

    /// Opens a flow of a context.
    pub(crate) fn of(from: ContextId, rest: Vec<u8>) -> Self {
        Self {
            from,
            said: 0,
            limit: WINDOW,
            rest,
        }
    }

    fn header(&self, writer: &FrameWriter, kind: Kind) -> Header {
        let from = if self.from == ContextId::ROOT {
            writer.me
        } else {
            self.from
        };
        Header {
            flags: Flags::OPENER,
            ..Header::new(kind, from, ContextId::ROOT)
        }
    }

    pub(crate) fn begin(
        &mut self,
        writer: &mut FrameWriter,
        to: Handle,
        number: u32,
        first: &[u8],
    ) -> Result<(), Over> {
        let header = Header {
            handle: to,
            reply_to: Handle(number),
            ..self.header(writer, Kind::Open)
        };
        writer.frame(&header, first)?;
        self.said = first.len();
        self.go_on(writer, number)
    }

    /// Sends as much as the credit allows, without an end.
    fn go_on(&mut self, writer: &mut FrameWriter, number: u32) -> Result<(), Over> {
        while self.said < self.limit && !self.rest.is_empty() {
            let length = self
                .rest
                .len()
                .min(self.limit - self.said)
                .min(MAX_PAYLOAD / 16);
            let header = Header {
                handle: Handle(number),
                offset: self.said as u64,
                ..self.header(writer, Kind::Data)
            };
            writer.frame(&header, &self.rest[..length])?;
            self.rest.drain(..length);
            self.said += length;
        }
        Ok(())
    }
}

/// Sends on all flows as credit arrives, until there is silence.
pub(crate) fn go_on(
    writer: &mut FrameWriter,
    heard: &Receiver<Frame>,
    mut outs: Outs,
) -> Result<(), Over> {
    writer.flush()?;
    while let Ok(frame) = heard.recv_timeout(SILENCE) {
        let number = frame.header.handle.0;
        let Some(out) = outs.get_mut(&number) else {
            continue;
        };
        match frame.header.kind {
            Kind::Credit => {
                out.limit = out
                    .limit
                    .max(usize::try_from(frame.header.offset).unwrap_or(usize::MAX));
                out.go_on(writer, number)?;
                writer.flush()?;
            }
            Kind::Reset | Kind::Dead => drop(outs.remove(&number)),
            _ => {}
        }
    }
    Ok(())
}
