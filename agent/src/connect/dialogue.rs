//! What a hop's program asks and says before the agent is up, and what is done about it. Pure.

use crate::error::ConnectErrorKind;
use crate::secret::Secret;
use serde::{Deserialize, Serialize};

/// How many bytes may follow a prompt's text on its line: some programs wrap and translate what they are given.
const PROMPT_TAIL: usize = 50;
/// The most of an unfinished line that is kept. Of a longer one the end counts, where a prompt would stand.
const LINE_LIMIT: usize = 4096;

/// What is looked for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Pattern {
    /// An unfinished line on the terminal that holds this text, any case, with little after it and no echoed stars.
    Prompt(String),
    /// A finished line, on the terminal or stderr, that holds all of these texts.
    Line(Vec<String>),
}

/// What is done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reaction {
    /// Send this and a newline, once. Asked again, the answer was wrong; with no answer to give, one was needed.
    Answer(Option<Secret>),
    /// Send an empty line, as often as asked.
    Skip,
    /// Remember this as the reason, should the program end.
    Explain {
        /// The kind of failure.
        kind: ConnectErrorKind,
        /// The reason, as a fragment of a sentence.
        detail: String,
        /// The way out.
        hint: String,
    },
}

/// When a rule applies.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum When {
    /// At any time.
    Always,
    /// After an answer was given.
    Answered,
    /// Before any answer was given.
    Unanswered,
}

/// One line of a dialogue. The first that fits a text is the one that acts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// What is looked for.
    pub pattern: Pattern,
    /// When.
    pub when: When,
    /// What is done.
    pub reaction: Reaction,
}

impl Rule {
    /// A finished line with all of `texts` explains the end of the program.
    pub fn explain(when: When, texts: &[&str], kind: ConnectErrorKind, detail: &str, hint: &str) -> Rule {
        Rule {
            pattern: Pattern::Line(texts.iter().map(|text| (*text).to_owned()).collect()),
            when,
            reaction: Reaction::Explain { kind, detail: detail.into(), hint: hint.into() },
        }
    }
}

/// What the owner of a dialogue has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// Write this to the terminal.
    Type(Secret),
    /// Give the hop up for this reason.
    Fail(ConnectErrorKind, String, String),
}

/// The state of one dialogue.
pub struct Dialogue {
    rules: Vec<Rule>,
    tail: Vec<u8>,
    answered: bool,
    explained: Option<(ConnectErrorKind, String, String)>,
}

impl Dialogue {
    /// A dialogue by these rules.
    pub fn new(rules: Vec<Rule>) -> Dialogue {
        Dialogue { rules, tail: Vec::new(), answered: false, explained: None }
    }

    /// Forgets what was to be answered: no password stays where none is asked for any more.
    pub fn forget(&mut self) {
        self.rules.clear();
    }

    /// Bytes that came on the terminal.
    pub fn terminal(&mut self, bytes: &[u8]) -> Option<Act> {
        for byte in bytes {
            if matches!(byte, b'\n' | b'\r') {
                let line = std::mem::take(&mut self.tail);
                self.line(&line);
            } else {
                if self.tail.len() == LINE_LIMIT {
                    self.tail.drain(..LINE_LIMIT / 2);
                }
                self.tail.push(*byte);
            }
        }
        self.prompt()
    }

    /// A finished line of stderr.
    pub fn line(&mut self, line: &[u8]) {
        let answered = self.answered;
        let found = self.rules.iter().find_map(|rule| match (&rule.pattern, &rule.reaction) {
            (Pattern::Line(texts), Reaction::Explain { kind, detail, hint })
                if applies(rule.when, answered)
                    && texts.iter().all(|text| find(line, text.as_bytes(), false).is_some()) =>
            {
                Some((*kind, detail.clone(), hint.clone()))
            }
            _ => None,
        });
        if self.explained.is_none() || answered {
            self.explained = found.or(self.explained.take());
        }
    }

    /// Why the program ended, where it has said so.
    pub fn explanation(&self) -> Option<&(ConnectErrorKind, String, String)> {
        self.explained.as_ref()
    }

    fn prompt(&mut self) -> Option<Act> {
        let tail = &self.tail;
        let rule = self.rules.iter().find(|rule| {
            let Pattern::Prompt(text) = &rule.pattern else { return false };
            applies(rule.when, self.answered)
                && find(tail, text.as_bytes(), true).is_some_and(|end| {
                    let rest = &tail[end..];
                    rest.len() <= PROMPT_TAIL && !rest.contains(&b'*')
                })
        })?;
        let act = match &rule.reaction {
            Reaction::Answer(Some(_)) if self.answered => Act::Fail(
                ConnectErrorKind::PasswordIncorrect,
                "the password was not accepted".into(),
                "check the password, and that it is the one this hop asks for".into(),
            ),
            Reaction::Answer(Some(secret)) => Act::Type(secret.clone()),
            Reaction::Answer(None) => Act::Fail(
                ConnectErrorKind::PasswordRequired,
                "it asks for a password and none was given".into(),
                "give one: password() in a program, password-file=PATH or a terminal on the command line"
                    .into(),
            ),
            Reaction::Skip => Act::Type(Secret::new("")),
            Reaction::Explain { kind, detail, hint } => Act::Fail(*kind, detail.clone(), hint.clone()),
        };
        self.answered |= matches!((&rule.reaction, &act), (Reaction::Answer(_), Act::Type(_)));
        self.tail.clear();
        Some(act)
    }
}

fn applies(when: When, answered: bool) -> bool {
    match when {
        When::Always => true,
        When::Answered => answered,
        When::Unanswered => !answered,
    }
}

/// Where `needle` ends in `text`, the last time it stands there: what is said before a prompt may hold its text, too.
fn find(text: &[u8], needle: &[u8], any_case: bool) -> Option<usize> {
    let same =
        |window: &&[u8]| if any_case { window.eq_ignore_ascii_case(needle) } else { *window == needle };
    text.windows(needle.len().max(1)).rposition(|window| same(&window)).map(|at| at + needle.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sudo(password: Option<&str>) -> Dialogue {
        Dialogue::new(vec![
            Rule {
                pattern: Pattern::Prompt("[offshoot 5f]".into()),
                when: When::Always,
                reaction: Reaction::Answer(password.map(Secret::from)),
            },
            Rule::explain(When::Always, &["not in the sudoers"], ConnectErrorKind::Denied, "no", ""),
        ])
    }

    #[test]
    fn a_prompt_in_pieces_is_answered_once() {
        let mut dialogue = sudo(Some("pw"));
        assert_eq!(dialogue.terminal(b"We trust you...\r\n[offsh"), None);
        assert_eq!(dialogue.terminal(b"oot 5f] password: "), Some(Act::Type("pw".into())));
        assert_eq!(dialogue.terminal(b"\r\nSorry, try again.\r\n"), None);
        let Some(Act::Fail(kind, ..)) = dialogue.terminal(b"[offshoot 5f] password: ") else { panic!() };
        assert_eq!(kind, ConnectErrorKind::PasswordIncorrect);
    }

    #[test]
    fn the_wrapped_and_translated_prompt_of_sudo_rs_is_known() {
        for prompt in ["[sudo: [offshoot 5f] ] Password: ", "[sudo: [offshoot 5f] ] Mot de passe\u{a0}: "] {
            assert_eq!(sudo(Some("pw")).terminal(prompt.as_bytes()), Some(Act::Type("pw".into())));
        }
    }

    #[test]
    fn a_prompt_without_a_password_says_that_one_is_needed() {
        let Some(Act::Fail(kind, ..)) = sudo(None).terminal(b"[offshoot 5f] password: ") else { panic!() };
        assert_eq!(kind, ConnectErrorKind::PasswordRequired);
    }

    #[test]
    fn echoed_stars_and_finished_lines_are_no_prompts() {
        assert_eq!(sudo(Some("pw")).terminal(b"[offshoot 5f] password: ***"), None);
        assert_eq!(sudo(Some("pw")).terminal(b"[offshoot 5f] password: \r\n"), None);
        let long = [b"[offshoot 5f]".as_slice(), &[b'x'; 60]].concat();
        assert_eq!(sudo(Some("pw")).terminal(&long), None);
    }

    #[test]
    fn the_last_of_several_prompts_on_a_line_counts() {
        let line = b"[offshoot 5f] is what will be asked, by a host that likes to talk a lot: [offshoot 5f] password: ";
        assert_eq!(sudo(Some("pw")).terminal(line), Some(Act::Type("pw".into())));
    }

    #[test]
    fn of_a_line_that_is_too_long_the_end_counts() {
        let filler = |length: usize| vec![b'.'; length];
        for length in [LINE_LIMIT - 20, LINE_LIMIT, 3 * LINE_LIMIT + 7] {
            let asked = [&filler(length)[..], b"[offshoot 5f] password: "].concat();
            assert_eq!(sudo(Some("pw")).terminal(&asked), Some(Act::Type("pw".into())), "{length}");
        }
        // The text ends where a buffer might, but the line goes on.
        let text = b"[offshoot 5f]";
        let quoted = [&filler(LINE_LIMIT - text.len())[..], text, &filler(100)].concat();
        assert_eq!(sudo(Some("pw")).terminal(&quoted), None);
    }

    #[test]
    fn a_prompt_is_only_answered_when_its_rule_applies() {
        let rule = |when| Rule {
            pattern: Pattern::Prompt("code: ".into()),
            when,
            reaction: Reaction::Answer(Some("pw".into())),
        };
        assert_eq!(Dialogue::new(vec![rule(When::Answered)]).terminal(b"code: "), None);
        let mut once = Dialogue::new(vec![rule(When::Unanswered)]);
        assert_eq!(once.terminal(b"code: "), Some(Act::Type("pw".into())));
        assert_eq!(once.terminal(b"code: "), None);
    }

    #[test]
    fn a_line_explains_the_end() {
        let mut dialogue = sudo(None);
        dialogue.line(b"mallory is not in the sudoers file.  This incident will be reported.");
        assert_eq!(dialogue.explanation().map(|(kind, ..)| *kind), Some(ConnectErrorKind::Denied));
    }
}
