//! A child that makes contexts of its own, as many as it likes: what is held because of its link is bounded as for one.

use offshoot::{Blob, Context, Handle, Policy};
use offshoot_test_agent::flows;
use offshoot_tests::Leaks;
use offshoot_tests::siege::{ANSWER, Outlook, Place, Siege};

/// What an honest child sends meanwhile: so many blobs of so many bytes.
const COUNT: usize = 5;
const BYTES: usize = 300_000;

#[track_caller]
fn besieged(how: &str, outlook: Outlook) {
    for place in [Place::Below, Place::Behind] {
        let _leaks = Leaks::begin();
        let mut siege = Siege::with_functions(env!("CARGO_BIN_EXE_hostile"), how, place);
        let act = |_: &Context, _, message: Vec<u8>| message.len();
        let handle = siege.router.add_handler_at(Handle(300), Policy::Anyone, act).expect("it is free");
        let (to, from) = siege.router.channel::<Blob>().expect("the tree lives");
        let bait = siege.hostile.start(flows::send_blobs { count: 0, bytes: 0, to });
        siege.hold_out();
        siege.expect_bounds();
        // Those who do not share its link are held up by nothing.
        let (to, honest) = siege.router.channel::<Blob>().expect("the tree lives");
        let mut reply = siege.honest[0].start(flows::send_blobs { count: COUNT, bytes: BYTES, to });
        for number in 0..COUNT {
            let blob = honest.recv_timeout(ANSWER).unwrap_or_else(|error| panic!("{how}: {number}: {error}"));
            assert_eq!(blob.len(), BYTES, "{how}");
        }
        reply.wait_timeout(ANSWER).unwrap_or_else(|error| panic!("{how}: {error}"));
        siege.expect(outlook);
        drop((handle, from, bait));
        siege.end();
    }
}

#[test]
fn calls_of_contexts_that_are_made_up_are_bounded_as_those_of_one() {
    besieged("crowd-calls", Outlook::Stays);
}

#[test]
fn messages_of_theirs_to_channels_and_handles_are_bounded_as_well() {
    besieged("crowd-senders", Outlook::Stays);
    besieged("crowd-handles", Outlook::Stays);
}

#[test]
fn more_than_may_be_sent_unasked_ends_the_link() {
    besieged("crowd-blind", Outlook::Ends);
}
