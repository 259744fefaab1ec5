//! The rules for host keys that ssh does not accept: unknown, changed and revoked ones.
//!
//! A key, its fingerprint and its host are quoted from lines that ssh itself prints before it has
//! accepted the key. Nothing that the host writes can precede these lines where the connection is
//! direct. A host on the way may write what it likes. But an ssh that has refused a key ends
//! without another word: if the ssh of this hop has lost its connection then, that of a host on
//! the way has refused the key; if that has lost its connection, too, no key was refused.

use super::ssh_facts::{DIRECT, IN};
use offshoot_proto::ConnectErrorKind as Kind;
use offshoot_proto::connect::dialogue::{Explanation, Reaction, Rule, When};

/// The host has proved its key, and ssh has accepted it.
const ACCEPTED: u32 = 256;
/// ssh has refused a changed key.
const CHANGED: u32 = 512;
/// ssh has refused a revoked key.
const REVOKED: u32 = 1024;
/// ssh has refused an unknown key.
const UNKNOWN: u32 = 2048;
/// The ssh of this hop, and not that of a host on the way, talks to its host.
const OURS: u32 = 1 << 15;

/// Before ssh has accepted the key of its host.
const BEFORE: When = When {
    needs: 0,
    lacks: ACCEPTED | IN,
};

/// The numbers of notes.
mod note {
    /// The type and the fingerprint that the host of ssh has shown, from debug messages.
    pub(super) const SHOWN: u8 = 0;
    /// The type in a warning or question.
    pub(super) const TYPE: u8 = 1;
    /// The fingerprint in a warning or question, behind `SHA256:`.
    pub(super) const FINGERPRINT: u8 = 2;
    /// The host in a message.
    pub(super) const HOST: u8 = 3;
    /// The file with the offending key.
    pub(super) const FILE: u8 = 4;
}

/// The texts of lines of which a part is noted: see [`Rule::texts`].
const NOTES: &[(u8, &[&str])] = &[
    (note::SHOWN, &["^debug1: Server host key: "]),
    (note::SHOWN, &["^debug1: Server host certificate: ", ","]),
    (note::TYPE, &["^The fingerprint for the ", " key sent by"]),
    (note::TYPE, &["^", " key fingerprint is SHA256:"]),
    (note::FINGERPRINT, &["^SHA256:", "."]),
    (note::FINGERPRINT, &[" key fingerprint is SHA256:", "."]),
    (note::HOST, &["^Host key for ", " has changed"]),
    (
        note::HOST,
        &["^No ", " host key is known for ", " and you have"],
    ),
    (
        note::HOST,
        &["^", " host key for ", " was revoked and you have"],
    ),
    (note::HOST, &["^The authenticity of host '", " ("]),
    (note::FILE, &["^Offending ", " key in ", ":"]),
    (note::FILE, &[" revoked by file "]),
];

/// The messages with which ssh refuses a key: the texts, the fact, the kind, and the reason for the
/// host of ssh.
const REFUSALS: &[(&[&str], u32, Kind, &str)] = &[
    (
        &["^Host key for ", " has changed"],
        CHANGED,
        Kind::HostKeyChanged,
        "the host's key has changed: it is %1 SHA256:%2, and %4 has another for %3",
    ),
    (
        &["^Host key ", " revoked by file "],
        REVOKED,
        Kind::HostKeyRevoked,
        "the host's key is revoked: %0, in %4",
    ),
    (
        &["^", " host key for ", " was revoked and you have"],
        REVOKED,
        Kind::HostKeyRevoked,
        "the host's key is revoked: %0, in a file of known hosts",
    ),
    (
        &["^No ", " host key is known for ", " and you have"],
        UNKNOWN,
        Kind::HostKey,
        "the host's key is unknown: %0",
    ),
    (
        &["^Host key verification failed"],
        UNKNOWN,
        Kind::HostKey,
        "the host's key is unknown: %0",
    ),
];

/// The reasons for a host on the way, by the fact.
const ON_THE_WAY: &[(u32, Kind, &str)] = &[
    (
        CHANGED,
        Kind::HostKeyChanged,
        "the key of a host on the way has changed: that of %3 is %1 SHA256:%2, and %4 has another",
    ),
    (
        REVOKED,
        Kind::HostKeyRevoked,
        "the key of a host on the way is revoked: that of %3",
    ),
    (
        UNKNOWN,
        Kind::HostKey,
        "the key of a host on the way is unknown: that of %3",
    ),
];

/// Lines of this hop's ssh that has lost a connection that leads over other hosts.
const WAY_LOST: [&[&str]; 2] = [
    &["^Connection ", " by UNKNOWN port"],
    &["^banner exchange: Connection ", "UNKNOWN port"],
];

/// Lines of any ssh that has lost a connection, so that it has not refused a key before.
const LOST: [&[&str]; 3] = [
    &["^Connection ", " by "],
    &["^ssh_dispatch_run_fatal: "],
    &["^Disconnect"],
];

/// Adds the rules. `plain` is the command that connects to the host by hand; `nonce` begins the
/// lines of the script before ssh. Without the debug messages of ssh (`debug`), the lines before
/// and behind the acceptance of a key are not told apart, so that nothing is quoted.
pub(super) fn add(rules: &mut Vec<Rule>, nonce: &str, plain: &str, debug: bool) {
    let explanation = |kind, detail: &'static str| match (debug, detail.split_once(':')) {
        (false, Some((detail, _))) => Explanation {
            kind,
            detail: detail.into(),
            hint: format!("ssh says more below, and by: {plain}"),
        },
        _ => explanation(kind, detail, plain),
    };
    let note = |number, texts: &[&str]| Rule::line(BEFORE, texts, Reaction::Note(number));
    // A question of a host on the way does not name it, if there is no terminal to ask on.
    rules.push(note(note::HOST, &[&format!("^{nonce} over ")]));
    rules.extend(NOTES.iter().map(|(number, texts)| note(*number, texts)));
    let mut fact = |needs, texts: &[&str], sets| {
        rules.push(Rule {
            sets,
            ..Rule::line(When { needs, lacks: 0 }, texts, Reaction::Ignore)
        });
    };
    fact(0, &["^debug1: Authenticating to ", "@", "^:"], OURS);
    fact(OURS, &["^debug1: SSH2_MSG_NEWKEYS received"], ACCEPTED);
    for (texts, fact, kind, detail) in REFUSALS {
        let lacks = BEFORE.lacks | CHANGED | REVOKED | UNKNOWN;
        let why = Reaction::Explain(explanation(*kind, detail));
        rules.push(Rule {
            sets: *fact,
            ..Rule::line(When { needs: 0, lacks }, texts, why)
        });
    }
    for (fact, kind, detail) in ON_THE_WAY {
        let when = |lacks| When {
            needs: *fact,
            lacks: lacks | IN,
        };
        for texts in WAY_LOST {
            let way = Reaction::Explain(explanation(*kind, detail));
            rules.push(Rule {
                sets: *fact,
                ..Rule::line(when(DIRECT), texts, way)
            });
        }
        for texts in LOST {
            rules.push(Rule::explain(
                when(0),
                texts,
                Kind::Denied,
                "the host has closed the connection while we logged in, and wrote that its key was refused",
                "do not believe it",
            ));
        }
    }
}

/// Returns the reason for a question about the key of a host, which the lines before it name.
pub(super) fn asked(plain: &str) -> Explanation {
    let detail = "the key of %3 is unknown: %1 SHA256:%2";
    explanation(Kind::HostKey, detail, plain)
}

/// The condition under which ssh itself asks about the key of a host.
pub(super) const ASKED: When = BEFORE;

fn explanation(kind: Kind, detail: &str, plain: &str) -> Explanation {
    let hint = match kind {
        Kind::HostKeyChanged => format!(
            "ask who runs the host whether they changed it; only then: ssh-keygen -R '%3' -f '%4', and accept the new one once by: {plain}"
        ),
        Kind::HostKeyRevoked => {
            "somebody may impersonate the host with a stolen key: do not connect, and ask whoever revoked the key".into()
        }
        _ => format!(
            "compare it with the host's own (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there); accept it by host-keys=accept-new, or once by: {plain}"
        ),
    };
    Explanation {
        kind,
        detail: detail.into(),
        hint,
    }
}
