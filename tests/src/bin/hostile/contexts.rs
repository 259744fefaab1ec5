//! Attacks with made-up contexts: the child is granted ids and announces each as a context.

use std::sync::mpsc::Receiver;

use offshoot_codec::{from_bytes, to_bytes};
use offshoot_proto::wire::{Flags, Frame, Header, Kind, MAX_PAYLOAD};
use offshoot_proto::{ContextId, Handle};

use super::attacks::News;
use super::streams::{LONGEST, OFFERED, Out, Outs, VALUE, WRITER, go_on, greeting, sender};
use super::wire::{FrameWriter, Over};

/// The number of made-up contexts, and of flows of each.
const CONTEXTS: u32 = 250;
const EACH: u32 = 16;

/// Runs the attack `how`.
pub(crate) fn perform(
    how: &str,
    writer: &mut FrameWriter,
    heard: &Receiver<Frame>,
) -> Result<(), Over> {
    let (to, first) = match how {
        "crowd-senders" => {
            let (to, key) = sender(heard);
            (to, greeting(WRITER, key, 0))
        }
        "crowd-handles" => {
            // The second call shows that the handler is ready.
            let calls = heard.iter().filter(|frame| frame.header.kind == Kind::Open);
            let _ = calls.take(2).last();
            (OFFERED, Vec::new())
        }
        _ => (Handle::CALL, Vec::new()),
    };
    let contexts = crowd(writer, heard)?;
    if how == "crowd-blind" {
        return blind(writer, &contexts);
    }
    let message = [
        &(LONGEST as u32).to_le_bytes()[..],
        &[VALUE],
        &vec![7; LONGEST - 10],
    ]
    .concat();
    let mut outs = Outs::new();
    for (number, id) in (64..).zip(contexts.iter().flat_map(|id| [*id; EACH as usize])) {
        let mut out = Out::of(id, message.clone());
        out.begin(writer, to, number, &first)?;
        outs.insert(number, out);
    }
    go_on(writer, heard, outs)
}

/// Allocates ids and announces made-up contexts.
fn crowd(writer: &mut FrameWriter, heard: &Receiver<Frame>) -> Result<Vec<ContextId>, Over> {
    let mut contexts = Vec::new();
    let me = writer.me;
    for number in 0.. {
        let header = Header {
            handle: Handle::ALLOCATE,
            reply_to: Handle(10_000 + number),
            flags: Flags(Flags::OPENER.0 | Flags::END.0),
            ..writer.header(Kind::Open, 0)
        };
        writer.frame(&header, &[])?;
        writer.flush()?;
        let is = |frame: &Frame| {
            (frame.header.kind, frame.header.handle) == (Kind::Data, header.reply_to)
        };
        let reply = heard.iter().find(is).ok_or(Over::Closed)?;
        let Ok((ContextId(first), count)) = from_bytes::<(ContextId, u32)>(&reply.payload[1..])
        else {
            break;
        };
        for id in (first..first + count).map(ContextId) {
            let news = to_bytes(&News::Added(id, me)).expect("it serialises");
            writer.link(Kind::Route, &news)?;
            contexts.push(id);
            if contexts.len() == CONTEXTS as usize {
                return Ok(contexts);
            }
        }
    }
    Ok(contexts)
}

/// Sends whole frames on every flow, ignoring credit.
fn blind(writer: &mut FrameWriter, contexts: &[ContextId]) -> Result<(), Over> {
    let own = [writer.me; EACH as usize];
    let all = contexts
        .iter()
        .flat_map(|id| [*id; EACH as usize])
        .chain(own);
    for (number, id) in (64..).zip(all) {
        let header = Header {
            flags: Flags::OPENER,
            ..Header::new(Kind::Open, id, ContextId::ROOT)
        };
        writer.frame(
            &Header {
                handle: Handle::CALL,
                reply_to: Handle(number),
                ..header
            },
            &[],
        )?;
        for piece in 0..16 {
            let (kind, handle, offset) = (Kind::Data, Handle(number), piece * MAX_PAYLOAD as u64);
            writer.frame(
                &Header {
                    kind,
                    handle,
                    offset,
                    ..header
                },
                &[7; MAX_PAYLOAD],
            )?;
        }
    }
    Ok(())
}
