//! Handshake of parent and child: hello and boot messages, from arbitrary bytes and as values that
//! must arrive.

use crate::forms;
use crate::input::Input;
use crate::messages::written_again;
use offshoot_codec as codec;
use offshoot_proto::Reason;
use offshoot_proto::log::Filter;
use offshoot_proto::message::boot::BootInfo;
use offshoot_proto::node::{Event, Node};
use offshoot_proto::wire::{Decoder, Header, Kind, MAX_PAYLOAD, encode};
use offshoot_proto::{ContextId, LinkId};

/// Runs the check.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    match input.byte() % 4 {
        0 => {
            written_again("hello", input.0);
            written_again("boot", input.0);
        }
        1 => agent_is_told(input.0),
        2 => told_by_a_parent(&mut input),
        _ => {
            let (build, process) = (input.u64(), input.u32());
            let hello = forms::hello(build, process, &input.text(), &input.text());
            assert_eq!(written_again("hello", &hello), Some(hello));
        }
    }
}

/// Gives an agent these bytes as its boot message: it adopts them, or closes the link.
fn agent_is_told(payload: &[u8]) {
    let payload = &payload[..payload.len().min(MAX_PAYLOAD)];
    let (mut node, up) = Node::agent();
    let mut stream = Vec::new();
    encode(
        &Header::new(Kind::Boot, ContextId(1), ContextId(0)),
        payload,
        0,
        &mut stream,
    );
    node.receive(up, &stream);
    match (codec::from_bytes::<BootInfo>(payload), node.poll_event()) {
        (Ok(expected), Some(Event::Boot(boot))) => became(&node, &expected, &boot),
        (Err(_), Some(Event::Broken { link, reason, why })) => {
            assert_eq!((link, reason), (up, Reason::Violation));
            assert!(why.starts_with("boot: "), "{why}");
            assert_eq!(node.id(), ContextId(u32::MAX), "the node has no id yet");
        }
        (expected, event) => panic!("{expected:?} gave {event:?}"),
    }
    assert!(node.poll_event().is_none());
}

/// Sends a boot message from parent to child through both nodes; it precedes frames queued before.
fn told_by_a_parent(input: &mut Input<'_>) {
    let mut parent = Node::root();
    let waiting = input.flag();
    let boot = BootInfo {
        id: ContextId(input.u32().max(1)),
        ancestors: (0..input.byte()).map(|_| ContextId(input.u32())).collect(),
        name: input.text(),
        filter: Filter::up_to(input.byte()),
        heartbeat: input.u32(),
    };
    let link = parent
        .add_child(boot.id)
        .expect("nobody else has the number");
    if waiting {
        parent.open(
            boot.id,
            offshoot_proto::Handle::CALL,
            b"early",
            Default::default(),
        );
    }
    parent.boot(link, &boot);
    let mut stream = Vec::new();
    parent.transmit(link, &mut stream, usize::MAX);
    let mut decoder = Decoder::default();
    let first = decoder
        .next_frame(&mut &stream[..])
        .expect("it is whole")
        .expect("it is there");
    assert_eq!(first.header.kind, Kind::Boot, "nothing goes before it");
    let (mut node, up) = Node::agent();
    let cut = stream.len().min(input.byte().into());
    node.receive(up, &stream[..cut]);
    node.receive(up, &stream[cut..]);
    let Some(Event::Boot(told)) = node.poll_event() else {
        panic!("it was not told who it is")
    };
    became(&node, &boot, &told);
    assert!(
        parent.add_child(boot.id) != Some(LinkId(0)),
        "a number is not used twice"
    );
}

fn became(node: &Node, expected: &BootInfo, told: &BootInfo) {
    assert_eq!(
        (node.id(), node.router.ancestors()),
        (expected.id, &expected.ancestors[..])
    );
    assert_eq!(
        (told.id, &told.ancestors, &told.name),
        (expected.id, &expected.ancestors, &expected.name)
    );
    assert_eq!(
        (&told.filter, told.heartbeat),
        (&expected.filter, expected.heartbeat)
    );
}
