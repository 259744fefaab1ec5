//! The rules for the questions and messages of ssh: a table for the dialogue of a hop, which is
//! plain data.
//!
//! A question is recognised by the words that ssh itself puts before it, with the user and the host
//! that `ssh -G` has named. A message explains a failure only in ssh's own form, and only until ssh
//! has logged in: after that, programs on the host write to its stderr as well.

use super::questions::CODES;
use super::ssh_facts::{BEGUN, DIRECT, IN};
use super::{ssh_accounts, ssh_host_keys};
use offshoot_codec::Secret;
use offshoot_proto::ConnectErrorKind as Kind;
use offshoot_proto::connect::dialogue::Explanation;
use offshoot_proto::connect::dialogue::PLACE;
use offshoot_proto::connect::dialogue::Reaction;
use offshoot_proto::connect::dialogue::Rule;
use offshoot_proto::connect::dialogue::When;
use offshoot_proto::connect::dialogue::fact;
use offshoot_proto::message::prompt::PromptKind;

/// ssh connects through a command of the user.
const COMMAND: u32 = 8;

/// A key was accepted, and the host asks for a second factor.
const PARTIAL: u32 = 32;

/// A key could not be used, and the reason is known.
const KEY: u32 = 64;

const GIVE: &str =
    "give one (password(), password-file=PATH on the command line), or a key (identity(), -i)";

const REACH: &str = "check the name, the port and the network; run ssh -v for details";

const UNLOCK: &str = "ssh-add it, use another key (identity(), -i), or give a password";

const BUSY: &str = "the host, or a host on the way to it, accepts no more connections at once (MaxStartups, PerSourcePenalties of sshd): make fewer hops at a time";

const WAY: &str = "the host named there is one on the way (ProxyJump, ProxyCommand): connect to it alone with plain ssh";

const CHANGE: &str = "change it with plain ssh";

/// ssh tries another key or method after one that was accepted and could not be used.
const MORE: u32 = 1 << 16;

/// The host would take the key that ssh tries.
const TAKEN: u32 = 1 << 17;

/// A row: the texts, the facts that are needed, the facts that exclude it, the facts that it sets,
/// and the reason.
type Row = (
    &'static [&'static str],
    u32,
    u32,
    u32,
    Kind,
    &'static str,
    &'static str,
);

/// Lines that explain why ssh ends, the most specific first.
const REASONS: &[Row] = &[
    (
        &["^debug1: Server accepts key: ", " SHA256:"],
        0,
        PARTIAL,
        KEY | TAKEN,
        Kind::Denied,
        "a key that the host would take is locked: %",
        UNLOCK,
    ),
    (
        &["^debug1: Authentications that can continue: "],
        TAKEN,
        MORE | PARTIAL | fact::ANSWERED,
        KEY,
        Kind::Denied,
        "the host knows the key, and still does not let this user in",
        "see PermitRootLogin, AllowUsers and their like in its sshd_config, and its log",
    ),
    (
        &["^Can't open user config file "],
        0,
        0,
        0,
        Kind::Start,
        "ssh cannot read its configuration: %",
        "check the path (config(), -F); one with spaces does not reach a host behind a ProxyJump",
    ),
    (
        &["^sign_and_send_pubkey: signing failed for "],
        0,
        0,
        KEY,
        Kind::Denied,
        "the ssh agent did not sign with a key: %",
        "see whether it wants a confirmation or a touch, or use another key",
    ),
    (
        &["^Warning: Identity file ", " not accessible"],
        0,
        0,
        KEY,
        Kind::Denied,
        "there is no such key file: %",
        "check the path (identity(), -i)",
    ),
    (
        &["^Permissions ", " for '", "' are too open"],
        0,
        0,
        KEY,
        Kind::Denied,
        "others may read the key file, so that ssh does not use it: %",
        "chmod 600 keeps it to you",
    ),
    (
        &["^", ": Permission denied ("],
        0,
        DIRECT,
        0,
        Kind::Denied,
        "a host on the way did not accept us: %",
        WAY,
    ),
    (
        &["^Received disconnect from "],
        0,
        0,
        0,
        Kind::Denied,
        "the host has ended it: %",
        "run ssh -v for details",
    ),
    (
        &["^ssh: "],
        0,
        DIRECT,
        0,
        Kind::Unreachable,
        "the way there fails: %",
        WAY,
    ),
    (
        &["^channel 0: open failed: administratively prohibited"],
        0,
        DIRECT,
        0,
        Kind::Denied,
        "the last host on the way does not lead there",
        "see AllowTcpForwarding and PermitOpen in its sshd_config, and the options of the key there",
    ),
    (
        &["^channel 0: open failed: "],
        0,
        DIRECT,
        0,
        Kind::Unreachable,
        "the last host on the way cannot reach it: %",
        REACH,
    ),
    (
        &["^ssh: Could not resolve hostname"],
        0,
        0,
        0,
        Kind::Unreachable,
        "the name of the host is unknown",
        REACH,
    ),
    (
        &["^ssh: connect to host ", ": Connection refused"],
        0,
        0,
        0,
        Kind::Unreachable,
        "nothing listens at that port of the host",
        REACH,
    ),
    (
        &["^ssh: connect to host ", " timed out"],
        0,
        0,
        0,
        Kind::Unreachable,
        "the host does not answer",
        REACH,
    ),
    (
        &["^ssh: connect to host ", ": No route to host"],
        0,
        0,
        0,
        Kind::Unreachable,
        "there is no route to the host",
        REACH,
    ),
    (
        &["^ssh: connect to host ", ": Network is unreachable"],
        0,
        0,
        0,
        Kind::Unreachable,
        "there is no route to the host",
        REACH,
    ),
    (
        &["^ssh: connect to host "],
        0,
        0,
        0,
        Kind::Unreachable,
        "it cannot be reached: %",
        REACH,
    ),
    (
        &["^Connection ", " timed out"],
        0,
        fact::EXPLAINED,
        0,
        Kind::Unreachable,
        "the host does not answer",
        REACH,
    ),
    (
        &["^ssh_exchange_identification: "],
        DIRECT,
        fact::EXPLAINED,
        0,
        Kind::Dropped,
        "the connection was dropped before anybody logged in: %",
        BUSY,
    ),
    (
        &["^Connection ", " by "],
        BEGUN,
        0,
        0,
        Kind::Denied,
        "the host has closed the connection while we logged in",
        "its output is shown below; the account may be locked or expired",
    ),
    (
        &["^Connection ", " by UNKNOWN"],
        COMMAND,
        fact::EXPLAINED,
        0,
        Kind::Unreachable,
        "the command that leads there (ProxyCommand) has ended",
        WAY,
    ),
    (
        &["^Connection ", " by "],
        0,
        fact::EXPLAINED,
        0,
        Kind::Dropped,
        "the connection was dropped before anybody logged in",
        BUSY,
    ),
];

/// Lines that tell how far ssh has come: the texts, the facts they set, and true if earlier lines
/// do not explain a failure any more.
const STEPS: &[(&[&str], u32, bool)] = &[
    (&["Authenticated to ", "@", "^ ("], IN, true),
    // A master connection of the user has given us a session.
    (
        &["^debug1: mux_client_request_session: master session id: "],
        IN,
        true,
    ),
    // The ssh of a jump host, whose own configuration makes it print this.
    (&["^Authenticated to "], 0, true),
    (&["^Authenticated using "], PARTIAL, true),
    (
        &["^debug1: Authentications that can continue: "],
        BEGUN,
        false,
    ),
    (&["^debug1: "], 0, false),
    (&["^Transferred: sent "], 0, false),
    (&["^Bytes per second: sent "], 0, false),
    (&["^Warning: Permanently added "], 0, false),
];

/// Lines behind which the connection of ssh holds something back: each of its messages that another
/// one follows, from the start on, and the acknowledgement without which OpenSSH's server keeps the
/// session from the client for 40 ms.
const HELD_BACK: [&str; 2] = [
    "^debug1: Connection established",
    "^debug1: client_input_global_request: rtype hostkeys",
];

/// Returns all rules for a hop with this password. `plain` is the command that connects to the host
/// by hand. `quiet` leaves out the lines that ssh prints
/// only because the rules need them. `nonce` begins the lines of the script before ssh, `program`
/// is the name of ssh. If the hop is interactive, somebody answers the questions that have no
/// answer here. If it is `fast`, its connection sends small packets at once.
pub(crate) fn rules(
    nonce: &str,
    (program, plain): (&str, &str),
    (password, interactive): (Option<&Secret>, bool),
    quiet: bool,
    fast: bool,
) -> Vec<Rule> {
    let told = |what: &str, reaction, sets| Rule {
        sets,
        ..Rule::line(When::ALWAYS, &[&format!("^{nonce} {what}")], reaction)
    };
    let missing = Explanation {
        kind: Kind::Start,
        detail: format!("{program} cannot be started: there is no such program"),
        hint: format!("is {program} installed there?"),
    };
    let mut rules = vec![
        told("name ", Reaction::Name, 0),
        told("way ", Reaction::Way, 0),
        told("place ", Reaction::Note(PLACE), 0),
        told("place ", Reaction::Ignore, 0),
        told("direct", Reaction::Ignore, DIRECT),
        told("command", Reaction::Ignore, COMMAND),
        told("none", Reaction::Explain(missing), 0),
    ];
    let reason = |row: &Row| {
        let (texts, needs, lacks, sets, kind, detail, hint) = *row;
        Rule {
            sets,
            ..Rule::explain(
                When {
                    needs,
                    lacks: lacks | IN,
                },
                texts,
                kind,
                detail,
                hint,
            )
        }
    };
    if fast {
        rules.extend(HELD_BACK.map(|text| Rule::line(When::ALWAYS, &[text], Reaction::HeldBack)));
    }
    ssh_host_keys::add(&mut rules, nonce, plain, quiet);
    ssh_accounts::add(&mut rules, plain, if quiet { IN } else { 0 });
    if interactive {
        // ssh itself tells of a security key only on a terminal that is its stderr.
        let touch = &["^debug1: Server accepts key: ", "-SK SHA256:"];
        rules.push(Rule {
            sets: KEY | TAKEN,
            ..Rule::line(When::ALWAYS, touch, Reaction::Ask(PromptKind::Touch))
        });
    }
    rules.extend(REASONS[..2].iter().map(reason));
    let steps = if quiet { STEPS } else { &STEPS[..5] };
    for texts in [
        "^debug1: Offering public key: ",
        "^debug1: Next authentication method: ",
    ] {
        let when = When {
            needs: KEY,
            lacks: 0,
        };
        rules.push(Rule {
            sets: MORE,
            ..Rule::line(when, &[texts], Reaction::Ignore)
        });
    }
    rules.extend(steps.iter().map(|(texts, sets, forget)| {
        let reaction = if *forget {
            Reaction::Forget
        } else {
            Reaction::Ignore
        };
        Rule {
            sets: *sets,
            ..Rule::line(When::ALWAYS, texts, reaction)
        }
    }));
    // Old clients do not name the host; and a banner without an end of line may precede the text.
    for (refused, known) in [
        (&["@", "^: Permission denied ("][..], 0),
        (&["^Permission denied ("], 0),
        (&[": Permission denied ("], DIRECT),
    ] {
        let mut add = |then: &[&str], needs, reaction| {
            let when = When {
                needs: needs | known,
                lacks: IN,
            };
            rules.push(Rule::line(when, &[refused, then].concat(), reaction));
        };
        let why = |kind, detail: &str, hint: &str| {
            Reaction::Explain(Explanation {
                kind,
                detail: detail.into(),
                hint: hint.into(),
            })
        };
        let wrong = "the password was not accepted";
        add(
            &[],
            fact::ANSWERED,
            why(
                Kind::PasswordIncorrect,
                wrong,
                "check the password and the user",
            ),
        );
        let more = "the key was accepted; the host asks for more (%";
        add(&["."], PARTIAL, why(Kind::PasswordRequired, more, GIVE));
        add(&[], KEY, Reaction::Skip);
        let none = "no key was accepted; the host would take a password";
        add(&["password"], 0, why(Kind::PasswordRequired, none, GIVE));
        add(
            &["keyboard-interactive"],
            0,
            why(Kind::PasswordRequired, none, GIVE),
        );
        let check = "check the user and the key, or give one (identity(), -i); a user who is locked, expired or without an existing login shell is refused like this as well: the log of sshd tells which";
        add(
            &[],
            0,
            why(Kind::Denied, "the host accepted none of our keys", check),
        );
    }
    rules.extend(REASONS[2..].iter().map(reason));
    questions(&mut rules, plain, password, interactive, quiet);
    rules
}

/// Adds the rules for the questions that ssh asks on its terminal.
fn questions(
    rules: &mut Vec<Rule>,
    plain: &str,
    password: Option<&Secret>,
    interactive: bool,
    quiet: bool,
) {
    let fail = |kind, detail: &str, hint: &str| {
        Reaction::Explain(Explanation {
            kind,
            detail: detail.into(),
            hint: hint.into(),
        })
    };
    // Asks whoever answers questions, or else reacts in this way.
    let or = |kind, reaction| match interactive {
        true => Reaction::Ask(kind),
        false => reaction,
    };
    for texts in [
        "continue connecting (yes/no",
        "continue connecting",
        "type 'yes', 'no' or the fingerprint",
    ] {
        let unknown = Reaction::Explain(ssh_host_keys::asked(plain));
        let reaction = or(PromptKind::HostKey, unknown);
        rules.push(Rule::asked(ssh_host_keys::ASKED, &[texts], reaction));
    }
    let mut ask = |texts: &[&str], reaction| rules.push(Rule::asked(When::ALWAYS, texts, reaction));
    // A locked key cannot be used here; ssh continues with the next method.
    for (text, kind) in [
        ("^Enter passphrase for key '", PromptKind::Passphrase),
        ("^Enter PIN for ", PromptKind::Pin),
    ] {
        ask(&[text], or(kind, Reaction::Skip));
    }
    for new in [
        "new password",
        "old password",
        "current password",
        "(current)",
    ] {
        ask(
            &[new],
            fail(
                Kind::Denied,
                "the host wants the password to be changed",
                CHANGE,
            ),
        );
    }
    // A question in other words is a different one, which the password does not answer.
    for words in CODES {
        ask(
            &["^(", "@", "^) ", words],
            or(
                PromptKind::Code,
                fail(Kind::Question, "the host asks for a one-time code", CODE),
            ),
        );
    }
    let mut answer = |texts: &[&str], needs| {
        let when = When { needs, lacks: 0 };
        rules.push(Rule::asked(
            when,
            texts,
            Reaction::Answer(password.cloned()),
        ));
    };
    // A jump host with the same user and name asks before the target host has printed anything.
    let begun = if quiet { BEGUN } else { 0 };
    for needs in [DIRECT, begun] {
        answer(&["@", "^'s password:"], needs);
        answer(&["^(", "@", "^) ", "password"], needs);
    }
    // Old clients do not name the host of the question, so that the connection must be direct.
    answer(&["^password"], DIRECT);
}

const CODE: &str = "answer it (on_prompt() in a program, a terminal on the command line), or use a key that needs none";
