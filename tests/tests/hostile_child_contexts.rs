//! A child that makes up any number of contexts. Memory held for its link is bounded as for one
//! context.

use offshoot::{Blob, Context, Handle, Policy};
use offshoot_test_agent::channel_ends;
use offshoot_tests::Leaks;
use offshoot_tests::hostile::{Attack, Outlook, Place};
use offshoot_tests::run::LIMIT;

/// The number and size of the blobs that an honest child sends meanwhile.
const COUNT: usize = 5;
const BYTES: usize = 300_000;

#[track_caller]
fn under_attack(how: &str, outlook: Outlook) {
    for place in [Place::Below, Place::Behind] {
        let _leaks = Leaks::begin();
        let mut attack = Attack::with_functions(env!("CARGO_BIN_EXE_hostile"), how, place);
        let act = |_: &Context, _, message: Vec<u8>| message.len();
        let handle = attack
            .router
            .add_handler_at(Handle(300), Policy::Anyone, act)
            .expect("it is free");
        let (to, from) = attack.router.channel::<Blob>().expect("the tree lives");
        let bait = attack.hostile.start(channel_ends::send_blobs {
            count: 0,
            bytes: 0,
            to,
        });
        attack.hold_out();
        attack.expect_bounds();
        // Contexts on other links are not delayed.
        let (to, honest) = attack.router.channel::<Blob>().expect("the tree lives");
        let mut reply = attack.honest[0].start(channel_ends::send_blobs {
            count: COUNT,
            bytes: BYTES,
            to,
        });
        for number in 0..COUNT {
            let blob = honest
                .recv_timeout(LIMIT)
                .unwrap_or_else(|error| panic!("{how}: {number}: {error}"));
            assert_eq!(blob.len(), BYTES, "{how}");
        }
        reply
            .wait_timeout(LIMIT)
            .unwrap_or_else(|error| panic!("{how}: {error}"));
        attack.expect(outlook);
        drop((handle, from, bait));
        attack.end();
    }
}

#[test]
fn calls_from_many_made_up_contexts_share_the_bound_of_one_link() {
    under_attack("crowd-calls", Outlook::Stays);
}

#[test]
fn messages_from_many_made_up_contexts_share_the_bound_of_one_link() {
    under_attack("crowd-senders", Outlook::Stays);
    under_attack("crowd-handles", Outlook::Stays);
}

#[test]
fn sending_beyond_the_initial_credit_closes_the_link() {
    under_attack("crowd-blind", Outlook::Ends);
}
