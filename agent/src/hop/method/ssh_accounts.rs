//! The rules for what ssh prints after the login, if an account runs no command of ours or the
//! connection is lost.
//!
//! These lines come from the host, except for debug messages; they explain only why a hop to this
//! very host has failed.

use super::ssh_facts::{BEGUN, DIRECT, IN};
use offshoot_proto::ConnectErrorKind as Kind;
use offshoot_proto::connect::dialogue::{Reaction, Rule, When, fact};

/// The key has a forced command.
const FORCED: u32 = 1 << 12;
/// The host says that the account has expired.
const EXPIRED: u32 = 1 << 13;
/// ssh says that it has lost the connection.
const LOST: u32 = 1 << 14;

/// The number of the note of the exit status that the host has sent.
const STATUS: u8 = 6;
/// The number of the note of the file and the line with a key.
const KEY_AT: u8 = 7;

const SHELL: &str = "use an account with a shell (user(), user=)";

/// Lines that name the account's own program: the texts, the reason, and advice.
const ACCOUNTS: &[(&[&str], &str, &str)] = &[
    (
        &["^This account is currently not available"],
        "its login shell lets nobody in (nologin)",
        SHELL,
    ),
    (
        &["^This service allows sftp connections only"],
        "the account is for sftp only (internal-sftp)",
        SHELL,
    ),
    (
        &["^fatal: unrecognized command '"],
        "the account is for git only (git-shell)",
        SHELL,
    ),
    (
        &["does not provide shell access"],
        "the account is for git only",
        SHELL,
    ),
];

/// Lines with which ssh says that the connection is lost.
const LOSSES: &[&[&str]] = &[
    &["^Connection to ", " closed by remote host"],
    &["^client_loop: send disconnect: "],
    &["^Timeout, server ", " not responding"],
];

/// Adds the rules. `plain` is the command that connects to the host by hand. `inside` is the fact
/// that ssh has logged in, if ssh prints it.
pub(super) fn add(rules: &mut Vec<Rule>, plain: &str, inside: u32) {
    let mut explain = |when, texts: &[&str], sets, kind, detail: &str, hint: &str| {
        let rule = Rule::explain(when, texts, kind, detail, hint);
        rules.push(Rule { sets, ..rule });
    };
    let inside = When {
        needs: inside,
        lacks: 0,
    };
    for (texts, detail, hint) in ACCOUNTS {
        explain(inside, texts, 0, Kind::Restricted, detail, hint);
    }
    let why = "its login shell is restricted and finds no sh on its PATH";
    explain(
        inside,
        &["^rbash: ", ": sh: command not found"],
        0,
        Kind::Restricted,
        why,
        SHELL,
    );
    explain(
        inside,
        &["exec: restricted"],
        fact::NO_EXEC,
        Kind::Restricted,
        "its login shell is restricted and executes nothing: %",
        SHELL,
    );
    explain(
        inside,
        &["^Password change required but no TTY"],
        0,
        Kind::Denied,
        "the host wants the password to be changed",
        "change it with plain ssh",
    );
    explain(
        inside,
        &["^channel 0: open failed: "],
        0,
        Kind::Denied,
        "the host opens no session: %",
        "see MaxSessions in its sshd_config",
    );
    let log = "ssh itself ended, not a program there: look at the log of its sshd";
    for texts in LOSSES {
        let lost = "the connection was lost after the login, before an agent was up";
        explain(inside, texts, LOST, Kind::Exited, lost, log);
    }
    explain(
        inside,
        &["^debug1: client_input_channel_req: channel 0 rtype exit-signal"],
        0,
        Kind::Exited,
        "its login shell, or a command forced in its place, was killed before an agent was up",
        "look at the log of its sshd, at its memory and its limits",
    );
    let expired = When {
        needs: DIRECT | BEGUN | EXPIRED,
        lacks: IN,
    };
    explain(
        expired,
        &["^Connection ", " by "],
        0,
        Kind::Denied,
        "the account has expired",
        "extend it there (chage -E), or use another (user(), user=)",
    );
    statuses(rules, plain);
}

/// Adds the rules for the exit status, which the host sends only if a program there has ended.
fn statuses(rules: &mut Vec<Rule>, plain: &str) {
    let when = |needs, lacks| When {
        needs: needs | IN,
        lacks,
    };
    let mut line = |when, texts: &[&str], sets, reaction| {
        rules.push(Rule {
            sets,
            ..Rule::line(when, texts, reaction)
        })
    };
    let begun = When {
        needs: DIRECT | BEGUN,
        lacks: IN,
    };
    let expired = &["^Your account has expired"];
    line(begun, expired, EXPIRED, Reaction::Ignore);
    let options = &["^debug1: Remote: ", ": key options: "];
    line(when(0, 0), options, 0, Reaction::Note(KEY_AT));
    let forced = &["^debug1: Remote: ", ": key options: ", "command"];
    line(when(0, 0), forced, FORCED, Reaction::Ignore);
    let status = &["^debug1: Exit status "];
    line(when(0, 0), status, 0, Reaction::Note(STATUS));
    // ssh itself has failed.
    let none = &["^debug1: Exit status -1"];
    line(when(0, 0), none, 0, Reaction::Ignore);
    for unknown_word in ["126", "127"] {
        let texts = &["^debug1: Exit status ", unknown_word];
        line(when(0, FORCED | LOST), texts, 0, Reaction::Ignore);
    }
    let mut ended = |needs, kind, detail: &str, hint: &str| {
        // If ssh has lost the connection, it has no status: so a program there has written that.
        for when in [when(needs | LOST, 0), when(needs, fact::EXPLAINED)] {
            rules.push(Rule::explain(when, status, kind, detail, hint));
        }
    };
    ended(
        FORCED,
        Kind::Restricted,
        "the key has a command of its own (command= at %7), which ran instead of our agent and ended with status %6",
        "take the command away there, or use another key (identity(), -i)",
    );
    let hint = format!(
        "ssh itself did not fail: see ForceCommand in its sshd_config, the account's shell, and what this prints: {plain} true"
    );
    ended(
        0,
        Kind::Exited,
        "its login shell, or a command forced in its place, ended with status %6 before an agent was up",
        &hint,
    );
}
