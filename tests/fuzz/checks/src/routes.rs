//! A small tree of nodes in memory, driven by bytes: connects, calls, streams, ends, losses, and
//! forged frames on any link.
//!
//! This file reads the bytes. The invariants are in `record`; `world` carries bytes from node to
//! node.

mod forge;
mod record;
mod world;

use crate::input::Input;
use offshoot_proto::Reason;
use offshoot_proto::flow::INITIAL_WINDOW;
use offshoot_proto::node::Opening;
use offshoot_proto::{ContextId, FlowKey, Handle};
use world::{OPEN_TO_ALL, World};

/// The initial trees, as pairs of parent and child; ids count up.
const TREES: [&[(u32, u32)]; 4] = [
    &[(0, 1)],
    &[(0, 1), (1, 2), (2, 3)],
    &[(0, 1), (0, 2), (1, 3), (1, 4)],
    &[(0, 1), (1, 2), (1, 3), (0, 4), (4, 5)],
];
/// The most bytes that one run sends, for speed.
const BUDGET: usize = 1536 << 10;

/// Runs the check.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let first = input.byte();
    let tree = TREES[usize::from(first) % TREES.len()];
    let mut world = World::grown(tree, u32::from(first >= 128));
    let mut budget = BUDGET;
    while !input.is_empty() {
        step(&mut world, &mut input, &mut budget);
        world.listen();
    }
    world.finish();
}

fn step(world: &mut World, input: &mut Input<'_>, budget: &mut usize) {
    match input.byte() % 20 {
        0 | 1 => open(world, input, budget),
        2 | 3 => {
            if let Some((at, flow)) = flow(world, input) {
                let length = length(input).min(*budget);
                let taken = world.send(at, flow, length, input.byte() & 7 == 7);
                *budget -= taken;
            }
        }
        4 => {
            if let Some((at, flow)) = flow(world, input) {
                let held = world.record.held(at, flow);
                world.consume(at, flow, length(input).min(held as usize));
            }
        }
        5 => {
            if let Some((at, flow)) = flow(world, input) {
                world.reset(at, flow);
            }
        }
        6 => {
            let (from, to) = (context(world, input), context(world, input));
            world.order(from, to);
        }
        7 => world.bring_up(input.below(256)),
        8 => world.fail_connect(input.below(256), Reason::ConnectFailed),
        9 => world.restart(input.below(256)),
        10 if input.byte() & 3 == 3 => world.cut(input.below(256)),
        11 => world.settle(),
        12 | 13 => {
            let (cable, up) = (input.below(256), input.flag());
            world.carry(cable, up, 1 + input.below(8), usize::from(input.byte()));
        }
        14 => world.chat(context(world, input), input.byte()),
        15 => forge::inject(world, input),
        16 => world.ask(context(world, input)),
        17 => world.pair(
            context(world, input),
            context(world, input),
            input.byte() & 3 != 3,
        ),
        _ => world.pass(u64::from(input.byte()) * 20),
    }
}

fn open(world: &mut World, input: &mut Input<'_>, budget: &mut usize) {
    const SERVICES: [Handle; 5] = [
        Handle::CALL,
        Handle::EXEC,
        Handle::ALLOCATE,
        Handle::DISCONNECT,
        OPEN_TO_ALL,
    ];
    let (from, to) = (context(world, input), context(world, input));
    let service = SERVICES[input.below(SERVICES.len())];
    let opening = Opening {
        streams: u8::try_from(input.below(5)).unwrap_or(0),
        answering: input.byte(),
        secret: input.flag(),
        ..Opening::default()
    };
    let length = length(input).min(*budget);
    *budget -= world.open(from, to, service, length, opening);
}

/// Returns a length of an interesting size.
fn length(input: &mut Input<'_>) -> usize {
    let number = usize::from(input.byte());
    match number {
        255 => INITIAL_WINDOW as usize,
        240.. => (number - 239) << 12,
        200.. => number << 4,
        _ => number & 0x3F,
    }
}

/// Returns a context of the tree, or one that may exist later.
fn context(world: &World, input: &mut Input<'_>) -> ContextId {
    world.name(usize::from(input.byte()).min(world.names.len()))
}

fn flow(world: &World, input: &mut Input<'_>) -> Option<(ContextId, FlowKey)> {
    let number = input.below(256);
    let flows = &world.flows;
    // The newest contexts are the most interesting.
    (!flows.is_empty()).then(|| flows[flows.len() - 1 - number % flows.len()])
}
