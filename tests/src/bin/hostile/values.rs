//! Forged replies where contexts and ends of channels and pipes are expected. The suite chooses
//! their bytes.

use std::sync::mpsc::Receiver;

use offshoot_codec::{from_bytes, to_bytes};
use offshoot_proto::DeadLetter;
use offshoot_proto::wire::{Flags, Frame, Header, Kind};
use offshoot_proto::{ContextId, Handle};

use super::attacks::News;
use super::streams::{Address, FIRST_HUB, VALUE, WRITER, greeting, record};
use super::wire::{FrameWriter, Over};

/// Reply tags of a function's value and of a function's error.
const VALUE_OF: u8 = 0;
const ERROR_OF: u8 = 1;

/// Answers calls, chained ones as well, until the link ends.
pub(crate) fn perform(writer: &mut FrameWriter, heard: &Receiver<Frame>) -> Result<(), Over> {
    let (mut chain, mut said, mut number) = (None, 0, 64);
    while let Ok(frame) = heard.recv() {
        let header = frame.header;
        match (header.kind, header.handle) {
            (Kind::Open, Handle::CALL) => {
                let reply = reply(writer, heard, &frame.payload, &mut number)?;
                say(writer, &header, header.reply_to, Flags::END, 0, &reply)?;
            }
            (Kind::Open, Handle::CHAIN) => (chain, said) = (Some(header.reply_to), 0),
            (Kind::Data, flow) if chain == Some(flow) && frame.payload.len() > 5 => {
                let reply = record(0, &reply(writer, heard, &frame.payload[5..], &mut number)?);
                say(writer, &header, flow, Flags::default(), said, &reply)?;
                said += reply.len() as u64;
            }
            _ => {}
        }
        writer.flush()?;
    }
    Ok(())
}

fn say(
    writer: &mut FrameWriter,
    to: &Header,
    flow: Handle,
    flags: Flags,
    offset: u64,
    bytes: &[u8],
) -> Result<(), Over> {
    let header = Header {
        handle: flow,
        flags,
        offset,
        ..writer.header(Kind::Data, to.src.0)
    };
    writer.frame(&header, bytes)
}

/// Splits a call into the function's name and its arguments.
fn function(call: &[u8]) -> Option<(&str, &[u8])> {
    let (flags, rest) = call.split_first()?;
    let rest = if flags & 2 == 0 { rest } else { rest.get(4..)? };
    let (length, rest) = rest.split_first_chunk()?;
    let (name, arguments) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((
        std::str::from_utf8(name).ok()?.rsplit("::").next()?,
        arguments,
    ))
}

fn answered(bytes: &[u8]) -> Vec<u8> {
    [&[VALUE_OF], bytes].concat()
}

/// Returns the reply of a function that failed without a text.
fn failed(bytes: &[u8]) -> Vec<u8> {
    [&[ERROR_OF, 0, 0], bytes].concat()
}

/// Runs the side effect of a call and returns the reply.
fn reply(
    writer: &mut FrameWriter,
    heard: &Receiver<Frame>,
    call: &[u8],
    number: &mut u32,
) -> Result<Vec<u8>, Over> {
    let Some((name, arguments)) = function(call) else {
        return Ok(answered(&[]));
    };
    *number += 1;
    Ok(match name {
        "error" => {
            let say: Vec<u8> = from_bytes(arguments).expect("the suite sends it");
            failed(&say)
        }
        "send" => {
            let (say, ((_, hub, key), copy)): (Vec<u8>, (Address, u64)) =
                from_bytes(arguments).expect("the suite sends it");
            let first = [greeting(WRITER, key, copy), record(VALUE, &say)].concat();
            writer.open(0, FIRST_HUB | hub, *number, &first)?;
            answered(&[])
        }
        "ask" => {
            let (of, service, say): (u32, u32, Vec<u8>) =
                from_bytes(arguments).expect("the suite sends it");
            let header = Header {
                handle: Handle(service),
                reply_to: Handle(*number),
                flags: Flags(Flags::OPENER.0 | Flags::END.0),
                ..writer.header(Kind::Open, of)
            };
            writer.frame(&header, &say)?;
            writer.flush()?;
            let told = |frame: &Frame| {
                let ends = [Kind::Data, Kind::Reset, Kind::Dead].contains(&frame.header.kind);
                ends && frame.header.handle == Handle(*number)
            };
            let told = heard.iter().find(told).expect("it is answered");
            if told.header.kind == Kind::Data {
                answered(&to_bytes(&told.payload).expect("it serialises"))
            } else {
                let letter = from_bytes::<DeadLetter>(&told.payload).expect("it says why");
                failed(&to_bytes(&letter.reason.to_string()).expect("it serialises"))
            }
        }
        "announce" => {
            let (child, parent) = from_bytes(arguments).expect("the suite sends it");
            let news = News::Added(ContextId(child), ContextId(parent));
            writer.link(Kind::Route, &to_bytes(&news).expect("it serialises"))?;
            answered(&[])
        }
        "told" => {
            let (_, say): ((ContextId, String), Vec<u8>) =
                from_bytes(arguments).expect("the suite sends it");
            answered(&say)
        }
        _ => answered(&from_bytes::<Vec<u8>>(arguments).unwrap_or_default()),
    })
}
