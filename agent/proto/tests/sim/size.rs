//! Trees of a hundred thousand contexts: their cost for each context is that of small trees, also
//! when they are lost.

use super::plan::{Answer, Step};
use super::steps::connect;
use super::world::World;

/// Grows a tree below `parent`, level by level with these numbers of children, numbered from `next`
/// on.
fn grow(world: &mut World, parent: u32, fans: &[u32], next: &mut u32) {
    let mut level = vec![parent];
    for fan in fans {
        let mut below = Vec::new();
        for parent in level {
            for _ in 0..*fan {
                below.push(*next);
                world.step(&connect(parent, *next));
                *next += 1;
            }
            world.run(None);
        }
        level = below;
    }
}

fn answered(world: &World) -> usize {
    world
        .ledger
        .requests
        .iter()
        .filter(|request| request.outcome.is_some())
        .count()
}

/// Builds a tree with half of its contexts behind one link. Returns the number of contexts, and the
/// events for each context, for each call, for each context lost alone, and for each lost with the
/// link.
fn costs(one: &[u32], rest: &[u32], calls: u32) -> (u32, [f64; 4]) {
    let mut world = World::new(1, None, false);
    world.beat = 0;
    let mut next = 1;
    grow(&mut world, 0, one, &mut next);
    let behind = next - 1;
    grow(&mut world, 0, rest, &mut next);
    let size = next - 1;
    let grown = world.events;
    let since = |world: &mut World| {
        world.run(None);
        assert!(world.failure.is_none(), "{:?}", world.failure);
        world.events
    };
    let (quick, silent) = (Answer::Reply { ms: 1, size: 8 }, Answer::Silent);
    for number in 0..calls {
        world.step(&Step::Call {
            from: 0,
            to: size - number,
            size: 8,
            answer: quick,
        });
    }
    let called = since(&mut world);
    assert_eq!(answered(&world), world.ledger.requests.len());

    // Single leaves, with a call open to each.
    for number in 0..calls {
        world.step(&Step::Call {
            from: 0,
            to: size - number,
            size: 8,
            answer: silent,
        });
        world.step(&Step::Call {
            from: 0,
            to: behind - number,
            size: 8,
            answer: silent,
        });
    }
    world.run(None);
    assert_eq!(
        answered(&world) + 2 * calls as usize,
        world.ledger.requests.len()
    );
    for number in 0..calls {
        world.step(&Step::Vanish {
            child: size - number,
            ms: 1,
        });
    }
    let before = world.events;
    let single = since(&mut world) - before;
    assert_eq!(
        answered(&world) + calls as usize,
        world.ledger.requests.len()
    );

    // One link, with half of all contexts behind it.
    world.step(&Step::Cut {
        child: 1,
        keep: 100,
        parent_ms: 1,
        child_ms: 1,
    });
    let before = world.events;
    let many = since(&mut world) - before;
    world.check_rest();
    assert!(world.failure.is_none(), "{:?}", world.failure);
    assert_eq!(answered(&world), world.ledger.requests.len());
    assert_eq!(
        world.places.iter().flatten().count() as u32,
        size + 1 - behind - calls
    );
    let each = |events: u64, count: u32| events as f64 / f64::from(count);
    let costs = [
        each(grown, size),
        each(called - grown, calls),
        each(single, calls),
        each(many, behind),
    ];
    (size, costs)
}

#[test]
fn a_hundred_thousand_contexts_cost_the_same_per_event() {
    let (few, small) = costs(&[1, 22, 23], &[8, 8, 8], 100);
    let (many, large) = costs(&[1, 224, 223], &[36, 37, 37], 1000);
    println!("events for a context, a call, one that is lost alone, one that is lost with many:");
    println!("{small:?} of {few}, {large:?} of {many}");
    assert!(many >= 100_000);
    for (small, large) in small.into_iter().zip(large) {
        assert!(large < small * 1.3, "{small} became {large}");
    }
}
