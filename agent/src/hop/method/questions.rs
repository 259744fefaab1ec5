//! Parts of the methods that lead to another user. Most are rules for programs that ask for a
//! password in words of their own, which may be in any language: the first question is answered,
//! and further ones are different questions.

use super::spec::BadOption;
use offshoot_codec::Secret;
use offshoot_proto::ConnectErrorKind as Kind;
use offshoot_proto::connect::dialogue::{Explanation, Reaction, Rule, When};

/// Words of questions that a password does not answer, as modules of PAM ask them.
pub(super) const CODES: [&str; 6] = [
    "verification code",
    "one-time",
    "one time",
    "passcode",
    "(otp)",
    "token",
];

/// Words of the questions for an expired password.
const EXPIRED: [&str; 4] = [
    "new password",
    "old password",
    "current password",
    "(current)",
];

/// Advice for a hop that wants an administrator's permission.
pub(super) const LOOK: &str = "its output is shown below; the administrator there has to allow it";

/// The reason where a setuid program gets no rights.
pub(super) const NO_NEW_PRIVS: &str = "nobody can become another user there: no_new_privs is set";

/// The advice for it.
pub(super) const BEFORE: &str =
    "bwrap sets it, as do other sandboxes and services: become the user before that hop";

/// The advice where a program has no rights, of which a sandbox may be the reason.
pub(super) const SETUID: &str = "its file has to belong to root and be setuid, on a file system without nosuid; behind \
                                 bwrap, or with no_new_privs, that is of no use: become the user before that hop";

/// Returns the rules for the questions of a program.
pub(super) fn questions(password: Option<&Secret>) -> Vec<Rule> {
    let fail = |kind, detail: &str, hint: &str| {
        Reaction::Explain(Explanation {
            kind,
            detail: detail.into(),
            hint: hint.into(),
        })
    };
    let mut rules = Vec::new();
    for words in CODES {
        let code = fail(
            Kind::Question,
            "it asks for a code, which a password does not answer",
            "use a way that asks for none",
        );
        rules.push(Rule::asked(When::ALWAYS, &[words], code));
    }
    for words in EXPIRED {
        let expired = fail(
            Kind::Denied,
            "the password has to be changed",
            "change it there with passwd",
        );
        rules.push(Rule::asked(When::ALWAYS, &[words], expired));
    }
    rules.push(Rule::asked(
        When::UNANSWERED,
        &[],
        Reaction::Answer(password.cloned()),
    ));
    let more = fail(
        Kind::Question,
        "it asks for more than the password: %",
        "use a way that asks for a password only",
    );
    rules.push(Rule::asked(When::ANSWERED, &[], more));
    rules
}

/// A line that explains why a program ends: its condition, its texts, and the reason.
pub(super) type Row<'a> = (When, &'a [&'a str], Kind, &'a str, &'a str);

/// Returns the rules of a table.
pub(super) fn explained(rows: &[Row<'_>]) -> impl Iterator<Item = Rule> {
    rows.iter()
        .map(|(when, texts, kind, detail, hint)| Rule::explain(*when, texts, *kind, detail, hint))
}

/// Checks the name of a user that stands among the words of a program.
pub(super) fn check_user(user: &str) -> Result<(), BadOption> {
    match user.is_empty() || user.starts_with('-') {
        true => {
            Err(BadOption::new("user", user)
                .because("a name is not empty and does not begin with -"))
        }
        false => Ok(()),
    }
}

/// Returns the hop as an operator writes it, which names no user where it is root.
pub(super) fn hop_to(method: &str, user: &str) -> String {
    match user {
        "root" => method.into(),
        user => format!("{method}:{user}"),
    }
}

/// Returns the name by which a program calls itself in its messages.
pub(super) fn short_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}
