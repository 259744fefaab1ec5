//! A child process that violates the protocol. Its parent stays up, within its bounds for memory,
//! processor and log, keeps answering others and shuts down in time.
//!
//! Each attack of `hostile` runs directly below the controller and behind an honest agent, which
//! must survive.

use offshoot_tests::Leaks;
use offshoot_tests::hostile::Outlook::{Ends, NotUp, Stays};
use offshoot_tests::hostile::{Attack, Outlook, Place};

#[track_caller]
fn under_attack(outlook: Outlook, heartbeat: u32, acts: &[&str]) {
    for place in [Place::Below, Place::Behind] {
        for how in acts {
            let _leaks = Leaks::begin();
            let mut attack = Attack::begin(env!("CARGO_BIN_EXE_hostile"), how, place, heartbeat);
            attack.hold_out();
            attack.expect(outlook);
            attack.expect_bounds();
            attack.end();
        }
    }
}

#[test]
fn a_child_with_an_invalid_handshake_is_refused() {
    under_attack(
        NotUp,
        0,
        &["early", "long-hello", "endless-hello", "endless-noise"],
    );
}

#[test]
fn floods_with_unread_replies_are_bounded() {
    under_attack(
        Stays,
        0,
        &["nowhere", "nowhere-small", "images", "pings", "calls"],
    );
}

#[test]
fn floods_of_requests_are_refused_and_bounded() {
    under_attack(Stays, 0, &["opens", "unfinished", "numbers", "chains"]);
}

#[test]
fn a_flood_of_log_records_is_rate_limited_and_truncated() {
    under_attack(Stays, 0, &["logs", "small-logs"]);
}

#[test]
fn frames_with_a_forged_source_close_the_link() {
    under_attack(Ends, 0, &["others", "in-the-roots-name", "routes", "dead"]);
}

#[test]
fn orders_from_a_child_a_second_hello_or_an_invalid_flow_close_the_link() {
    under_attack(Ends, 0, &["orders", "hellos", "streams"]);
}

#[test]
fn flow_control_violations_close_the_link() {
    under_attack(Ends, 0, &["credit", "gap"]);
}

#[test]
fn oversized_late_or_reset_replies_do_no_harm() {
    under_attack(Stays, 0, &["long-answer", "late", "reset"]);
}

#[test]
fn a_false_report_that_a_context_is_gone_is_ignored() {
    under_attack(Stays, 0, &["gone"]);
}

#[test]
fn a_child_that_chokes_every_flow_stalls_only_itself() {
    under_attack(Stays, 0, &["choke", "flicker"]);
}

#[test]
fn garbage_or_end_of_file_closes_the_link() {
    under_attack(Ends, 0, &["garbage", "closed"]);
}

#[test]
fn waiting_for_an_unfinished_frame_uses_no_cpu() {
    under_attack(Stays, 0, &["truncated", "drip", "deaf"]);
}

#[test]
fn a_child_that_answers_no_heartbeat_is_disconnected() {
    under_attack(Ends, 1, &["truncated", "deaf", "mute"]);
}

#[test]
fn a_child_that_ignores_sigterm_or_leaks_its_pipes_delays_no_shutdown() {
    under_attack(Stays, 0, &["undying", "holders"]);
}
