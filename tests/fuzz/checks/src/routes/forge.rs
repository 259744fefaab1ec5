//! Forged frames that violate the protocol, put on a link as if its other end had sent them.

use super::record::{FORGED, FORGED_TEXT};
use super::world::{UP, World};
use crate::forms;
use crate::input::Input;
use offshoot_codec as codec;
use offshoot_proto::log::Filter;
use offshoot_proto::message::boot::BootInfo;
use offshoot_proto::wire::{Flags, HEADER_LEN, Header, Kind, MAX_PAYLOAD, encode};
use offshoot_proto::{ContextId, FlowKey, Handle, LinkId};
use offshoot_proto::{DeadLetter, Reason};

/// The kinds of forgery.
const MANY: std::ops::Range<u8> = 200..250;
const BROKEN_OFF: std::ops::Range<u8> = 190..200;
const NO_FRAME: std::ops::RangeInclusive<u8> = 250..=255;

/// Puts a frame, several with different handles, or invalid bytes on a link.
pub(super) fn inject(world: &mut World, input: &mut Input<'_>) {
    if world.cables.is_empty() {
        return;
    }
    let number = input.below(world.cables.len());
    let up = input.flag();
    let child = world.cables[number].child;
    world.record.forged.insert((child, up));
    let how = input.byte();
    if NO_FRAME.contains(&how) {
        return deliver(world, child, up, input.bytes());
    }
    let (header, payload) = frame(world, input, child, up);
    let count = if MANY.contains(&how) {
        u32::from(input.byte()).min(world.forgeries)
    } else {
        1
    };
    world.forgeries = world.forgeries.saturating_sub(count);
    let step = u32::from(input.byte());
    for turn in 0..count {
        let Some(cable) = world.cables.iter_mut().find(|cable| cable.child == child) else {
            return;
        };
        let end = if up {
            (cable.parent, cable.link)
        } else {
            (cable.child, UP)
        };
        if world.paused.contains(&end) {
            return;
        }
        let mut header = header;
        if header.kind != Kind::Open {
            header.handle.0 = header.handle.0.wrapping_add(turn * step);
        }
        header.reply_to.0 = header.reply_to.0.wrapping_add(turn * step);
        let lane = if up { &mut cable.up } else { &mut cable.down };
        let mut bytes = Vec::new();
        encode(&header, &payload, lane.sequence, &mut bytes);
        lane.sequence = lane.sequence.wrapping_add(1);
        if BROKEN_OFF.contains(&how) {
            deliver(
                world,
                child,
                up,
                &bytes[..HEADER_LEN.min(usize::from(how - BROKEN_OFF.start) * 6)],
            );
            return world.cut_child(child);
        }
        deliver(world, child, up, &bytes);
        world.listen();
    }
}

fn deliver(world: &mut World, child: ContextId, up: bool, bytes: &[u8]) {
    let Some(cable) = world.cables.iter().find(|cable| cable.child == child) else {
        return;
    };
    let (to, link): (ContextId, LinkId) = if up {
        (cable.parent, cable.link)
    } else {
        (cable.child, UP)
    };
    if !world.paused.contains(&(to, link)) {
        world.put_in += 1 + bytes.len();
        world.read(to, link, bytes);
    }
}

fn frame(
    world: &mut World,
    input: &mut Input<'_>,
    child: ContextId,
    up: bool,
) -> (Header, Vec<u8>) {
    let kind = Kind::ALL[input.below(Kind::ALL.len())];
    let known = input.byte();
    // An existing flow, as its peer would address it; or anything.
    let flow = world.flows.iter().rev().nth(known.into()).copied();
    let (src, dst, key) = match flow {
        Some((at, flow)) if known < 128 => (flow.peer, at, Some(flow)),
        _ => (
            context(world, input, child),
            context(world, input, child),
            None,
        ),
    };
    let handle = match (kind, key) {
        (Kind::Open, _) => Handle(u32::from(input.byte()) % 9),
        (_, Some(FlowKey { handle, .. })) => Handle(handle.0.wrapping_add(input.byte().into())),
        _ => Handle(u32::from(input.u16())),
    };
    let bits = input.byte();
    let opener = key.map_or(bits & 1 == 1, |flow| !flow.opener);
    let header = Header {
        flags: Flags(u16::from(bits & 6) | u16::from(bits >> 1 & 8)).with(Flags::OPENER, opener),
        auth: if bits & 8 == 0 {
            src
        } else {
            context(world, input, child)
        },
        handle,
        reply_to: match kind {
            Kind::Dead => Handle(context(world, input, child).0),
            _ => key.map_or(Handle(u32::from(input.u16())), |flow| flow.handle),
        },
        streams: input.byte() & 15,
        answering: bits,
        offset: offset(world, input, flow),
        ..Header::new(kind, src, dst)
    };
    let payload = payload(world, input, &header, child, up);
    if header.kind == Kind::Open && header.handle == Handle::CONNECT {
        world.record.claimed(ContextId(header.offset as u32), child);
    }
    (header, payload)
}

fn context(world: &World, input: &mut Input<'_>, child: ContextId) -> ContextId {
    match input.byte() {
        number @ 0..48 => ContextId(u32::from(number) % 14),
        // An id from a granted block, or the next one.
        number @ 48..64 => {
            let last = world.names.last().map_or(0, |last| last.0);
            ContextId(last + u32::from(number - 48) * 9)
        }
        64..200 => child,
        200..230 => ContextId::ROOT,
        230..250 => ContextId(u32::from(input.u16())),
        _ => ContextId(u32::MAX - input.u32()),
    }
}

fn offset(world: &World, input: &mut Input<'_>, flow: Option<(ContextId, FlowKey)>) -> u64 {
    match input.byte() % 5 {
        0 => 0,
        1 => u64::from(input.byte()),
        2 => input.u64(),
        3 => u64::MAX - u64::from(input.byte()),
        _ => flow.map_or(0, |(at, flow)| world.record.delivered(at, flow)),
    }
}

fn payload(
    world: &mut World,
    input: &mut Input<'_>,
    header: &Header,
    child: ContextId,
    up: bool,
) -> Vec<u8> {
    let shape = input.byte();
    let readable = shape < 200;
    if header.kind == Kind::Boot && !up {
        world.record.renamed(child);
    }
    world.record.forged_pairs |= header.kind == Kind::Pair && !up;
    let ids =
        |ids: &[ContextId]| -> Vec<u8> { ids.iter().flat_map(|id| id.0.to_le_bytes()).collect() };
    let written = match header.kind {
        Kind::Dead | Kind::Reset if readable => codec::to_bytes(&DeadLetter {
            reason: Reason::Lost,
            by: header.src,
            text: FORGED_TEXT.into(),
        }),
        Kind::Route if readable => {
            let context = context(world, input, child);
            let gone = shape % 2 == 1;
            if up {
                world.record.claimed(context, child);
            }
            if up && gone {
                world.record.claimed(child, child);
            }
            Ok(if gone {
                forms::gone(vec![context, child], Reason::Lost, FORGED_TEXT)
            } else {
                forms::added(
                    context,
                    if shape.is_multiple_of(3) {
                        self::context(world, input, child)
                    } else {
                        child
                    },
                )
            })
        }
        Kind::Choke | Kind::Free if readable => {
            Ok(ids(&input.some(|input| context(world, input, child))))
        }
        Kind::Pair if readable => {
            let (one, other) = (context(world, input, child), context(world, input, child));
            Ok([ids(&[one, other]), vec![shape & 1]].concat())
        }
        Kind::Grant if readable => {
            let (first, owner) = (context(world, input, child), context(world, input, child));
            Ok(ids(&[first, owner]))
        }
        Kind::Expel if readable => codec::to_bytes(&(context(world, input, child), FORGED_TEXT)),
        Kind::Boot if readable => {
            let (id, ancestors) = (
                context(world, input, child),
                input.some(|input| context(world, input, child)),
            );
            codec::to_bytes(&BootInfo {
                id,
                ancestors,
                name: "forged".into(),
                filter: Filter::up_to(shape),
                heartbeat: 1,
            })
        }
        Kind::Boot => Ok(input.bytes().to_vec()),
        _ => Ok(vec![
            FORGED;
            if shape == 255 {
                MAX_PAYLOAD
            } else {
                shape.into()
            }
        ]),
    };
    written.unwrap_or_default()
}
