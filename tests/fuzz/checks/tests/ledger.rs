//! Bytes that a node holds for the contexts behind one link: bounded for any number of contexts,
//! and never so that incomplete messages block each other.

use offshoot_codec::to_bytes;
use offshoot_proto::flow::FIRST_WINDOW;
use offshoot_proto::node::{Event, FAVOUR, FAVOURED, LENT, Node};
use offshoot_proto::routing::Policy;
use offshoot_proto::wire::{Decoder, Flags, Header, Kind, MAX_PAYLOAD, encode};
use offshoot_proto::{ContextId, FlowKey, Handle, LinkId};
use serde::Serialize;
use std::collections::BTreeMap;

const CHILD: ContextId = ContextId(1000);
/// The longest message of a peer without authority.
const LONGEST: usize = 1 << 20;

#[derive(Serialize)]
enum News {
    Added(ContextId, ContextId),
}

/// A message that is sent as credit arrives.
struct Message {
    said: usize,
    limit: usize,
    length: usize,
    /// True if its end will be sent.
    ends: bool,
}

/// A root with one child that makes up contexts, and the bytes its broker would hold.
struct World {
    root: Node,
    link: LinkId,
    sequence: u32,
    decoder: Decoder,
    messages: BTreeMap<(ContextId, u32), Message>,
    held: BTreeMap<FlowKey, usize>,
    most: usize,
    answered: usize,
    refused: usize,
}

impl World {
    fn new() -> Self {
        let mut root = Node::root();
        root.serve(Handle::CALL, Policy::Anyone);
        let link = root.add_child(CHILD).expect("its number is free");
        let mut world = Self {
            root,
            link,
            sequence: 0,
            decoder: Decoder::default(),
            messages: BTreeMap::new(),
            held: BTreeMap::new(),
            most: 0,
            answered: 0,
            refused: 0,
        };
        world.say(&Header::new(Kind::Hello, CHILD, ContextId::ROOT), &[]);
        world.root.link_up(link);
        world
    }

    fn say(&mut self, header: &Header, payload: &[u8]) {
        let mut frame = Vec::new();
        encode(header, payload, self.sequence, &mut frame);
        self.sequence += 1;
        self.root.receive(self.link, &frame);
        while let Some(event) = self.root.poll_event() {
            let (flow, length, end) = match event {
                Event::Opened {
                    flow, bytes, end, ..
                }
                | Event::Data { flow, bytes, end } => (flow, bytes.len(), end),
                Event::Broken { why, .. } => panic!("{why}"),
                _ => continue,
            };
            let held = self.held.entry(flow).or_default();
            *held += length;
            let kept = *held;
            self.root.take(flow, length, kept);
            self.most = self.most.max(self.held.values().sum());
            if end {
                // The request is answered and its bytes are released.
                self.root.send(flow, &[], true, false);
                self.held.remove(&flow);
                self.answered += 1;
            }
        }
    }

    /// Makes up that many contexts with that many messages each.
    fn crowd(&mut self, contexts: u32, each: u32, length: usize, ends: bool) {
        let mut numbers = 0..0;
        for _ in 0..contexts {
            if numbers.is_empty() {
                let (first, count) = self.root.grant(CHILD).expect("they are not used up");
                numbers = first.0..first.0 + count;
            }
            let id = ContextId(numbers.next().expect("there are some"));
            let news = to_bytes(&News::Added(id, CHILD)).expect("it serialises");
            self.say(&Header::new(Kind::Route, CHILD, ContextId::ROOT), &news);
            for number in 64..64 + each {
                let limit = FIRST_WINDOW as usize;
                self.messages.insert(
                    (id, number),
                    Message {
                        said: 0,
                        limit,
                        length,
                        ends,
                    },
                );
            }
        }
    }

    /// Sends once whatever credit allows. Returns true if anything was sent.
    fn go_on(&mut self) -> bool {
        let mut any = false;
        for (id, number) in self.messages.keys().copied().collect::<Vec<_>>() {
            while let Some(message) = self.messages.get_mut(&(id, number)) {
                let piece = (message.limit.min(message.length) - message.said).min(MAX_PAYLOAD);
                if piece == 0 {
                    break;
                }
                let (first, offset) = (message.said == 0, message.said as u64);
                message.said += piece;
                let end = message.said == message.length && message.ends;
                let flags = Flags::OPENER
                    .with(Flags::END, end)
                    .with(Flags::FULL, message.said == message.limit);
                if end {
                    self.messages.remove(&(id, number));
                }
                any = true;
                let header = if first {
                    let (handle, reply_to) = (Handle::CALL, Handle(number));
                    Header {
                        handle,
                        reply_to,
                        flags,
                        ..Header::new(Kind::Open, id, ContextId::ROOT)
                    }
                } else {
                    let handle = Handle(number);
                    Header {
                        handle,
                        flags,
                        offset,
                        ..Header::new(Kind::Data, id, ContextId::ROOT)
                    }
                };
                self.say(&header, &vec![7; piece]);
            }
        }
        self.hear();
        any
    }

    /// Reads the root's output: credit and refusals.
    fn hear(&mut self) {
        let mut out = Vec::new();
        self.root.take_dirty();
        self.root.transmit(self.link, &mut out, usize::MAX);
        let mut rest = &out[..];
        while let Some(frame) = self
            .decoder
            .next_frame(&mut rest)
            .expect("it says what can be read")
        {
            let key = (frame.header.dst, frame.header.handle.0);
            match (frame.header.kind, self.messages.get_mut(&key)) {
                (Kind::Credit, Some(message)) => {
                    message.limit = message.limit.max(frame.header.offset as usize);
                }
                (Kind::Dead | Kind::Reset, Some(_)) => {
                    self.refused += 1;
                    self.messages.remove(&key);
                }
                _ => {}
            }
        }
    }
}

const BOUND: usize = LENT + FAVOURED * FAVOUR + 4096 * FIRST_WINDOW as usize;

#[test]
fn bytes_held_for_a_link_are_bounded_for_any_number_of_contexts() {
    let mut world = World::new();
    world.crowd(300, 16, LONGEST, false);
    for _ in 0..50 {
        world.go_on();
    }
    assert!(
        world.most <= BOUND,
        "{} bytes are held because of one link",
        world.most
    );
    assert!(
        world.most >= LENT,
        "what may be lent is used: {}",
        world.most
    );
    assert_eq!(
        world.refused,
        300 * 16 - 4096,
        "the requests beyond the limit"
    );
    let (lent, flows) = world.root.lent(world.link);
    assert!(
        lent <= LENT + FAVOURED * FAVOUR && flows == 4096,
        "{lent} lent for {flows} flows"
    );
    // After the loss of the link everything is released.
    world
        .root
        .link_lost(world.link, offshoot_proto::Reason::Lost, "cut");
    assert_eq!(world.root.flows(), 0);
}

#[test]
fn incomplete_messages_do_not_block_each_other() {
    for (contexts, each, length) in [
        (100, 1, LONGEST),
        (20, 16, LONGEST),
        (250, 16, 100_000),
        (200, 16, 3000),
    ] {
        let mut world = World::new();
        world.crowd(contexts, each, length, true);
        while world.go_on() {}
        let all = (contexts * each) as usize;
        assert_eq!(
            (world.answered, world.refused),
            (all, 0),
            "{contexts} contexts, {each} of {length} bytes each"
        );
        assert!(
            world.most <= BOUND,
            "{} bytes are held because of one link",
            world.most
        );
        assert_eq!(world.root.lent(world.link), (0, 0), "all was given back");
    }
}

#[test]
fn a_context_that_never_continues_blocks_no_other() {
    // Some contexts have as many incomplete messages as allowed and send no more: messages of
    // another context still complete.
    let mut world = World::new();
    world.crowd(1, 16, LONGEST, false);
    while world.go_on() {}
    world.crowd(2, 16, LONGEST, false);
    while world.go_on() {}
    let stuck = world.messages.len();
    world.crowd(1, 5, LONGEST, true);
    while world.go_on() {}
    assert_eq!((world.answered, world.messages.len()), (5, stuck));
}
