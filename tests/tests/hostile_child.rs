//! A child that breaks the rules, as a real process: its parent lives, stays small and quiet, answers others, and ends in time.
//!
//! Each act of `hostile` is played directly below the controller and behind an honest agent, which must not be lost.

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
fn who_never_greets_well_is_refused() {
    under_attack(NotUp, 0, &["early", "long-hello", "endless-hello", "endless-noise"]);
}

#[test]
fn floods_that_nobody_reads_the_answers_of_are_bounded() {
    under_attack(Stays, 0, &["nowhere", "nowhere-small", "images", "pings", "calls"]);
}

#[test]
fn floods_of_requests_are_refused_and_bounded() {
    under_attack(Stays, 0, &["opens", "unfinished", "numbers", "chains"]);
}

#[test]
fn a_flood_of_log_records_is_thinned_and_cut() {
    under_attack(Stays, 0, &["logs", "small-logs"]);
}

#[test]
fn what_is_said_in_anothers_name_ends_the_link_that_it_came_over() {
    under_attack(Ends, 0, &["others", "in-the-roots-name", "routes", "dead"]);
}

#[test]
fn orders_from_below_second_greetings_and_impossible_flows_end_the_link() {
    under_attack(Ends, 0, &["orders", "hellos", "streams"]);
}

#[test]
fn lies_about_flows_end_the_link() {
    under_attack(Ends, 0, &["credit", "gap"]);
}

#[test]
fn answers_that_are_too_long_too_late_or_taken_back_harm_nobody() {
    under_attack(Stays, 0, &["long-answer", "late", "reset"]);
}

#[test]
fn news_of_the_end_of_others_is_not_believed() {
    under_attack(Stays, 0, &["gone"]);
}

#[test]
fn who_chokes_everything_for_ever_stops_itself_alone() {
    under_attack(Stays, 0, &["choke", "flicker"]);
}

#[test]
fn damaged_and_closed_links_are_ended() {
    under_attack(Ends, 0, &["garbage", "closed"]);
}

#[test]
fn frames_that_do_not_end_are_waited_for_without_effort() {
    under_attack(Stays, 0, &["truncated", "drip", "deaf"]);
}

#[test]
fn who_answers_no_heartbeat_is_given_up() {
    under_attack(Ends, 1, &["truncated", "deaf", "mute"]);
}

#[test]
fn who_will_not_die_or_leaves_the_pipes_to_others_holds_up_no_end() {
    under_attack(Stays, 0, &["undying", "holders"]);
}
