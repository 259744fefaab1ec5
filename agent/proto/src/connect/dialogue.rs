//! The dialogue with the program of a hop before the agent is up: its questions and messages, and
//! the reactions to them. Pure.

use crate::error::connect::ConnectError;
use crate::error::connect::ConnectErrorKind;
use crate::message::prompt::PromptKind;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use offshoot_codec::Secret;
use serde::Deserialize;
use serde::Serialize;

/// Maximum length in bytes of a kept incomplete line. Longer ones keep their end, where a prompt
/// is.
const LINE_LIMIT: usize = 4096;

/// Maximum length in bytes of a quoted question.
const QUOTED: usize = 200;

/// Maximum length in bytes of the lines that are kept as the beginning of a question.
const BEFORE: usize = 1024;

/// Maximum length in bytes of the first of them.
const FIRST: usize = 512;

/// The number of the note of the place where the program leads, if the hop has another name.
pub const PLACE: u8 = 9;

/// Facts about a dialogue, one bit each. Rules define further ones.
pub mod fact {
    /// An answer was given, by a rule or by whoever was asked.
    pub const ANSWERED: u32 = 1;
    /// The reason is known in case the program exits.
    pub const EXPLAINED: u32 = 2;
    /// The answer of a rule was given.
    pub const GIVEN: u32 = 1 << 30;
    /// The login shell of the target refuses `exec`, so that the command must do without.
    pub const NO_EXEC: u32 = 1 << 31;
}

/// The reason why a hop fails.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// Kind of failure.
    pub kind: ConnectErrorKind,
    /// Reason, as a fragment of a sentence. A `%` at its end is replaced by the part of the line
    /// before the last text of the rule, or behind its only text; a `%` with a digit by the note of
    /// this number.
    pub detail: String,
    /// Advice, in which notes are replaced as well.
    pub hint: String,
}

/// The reaction to a line or question.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reaction {
    /// Sends the answer and a newline, once. If asked again, the answer was wrong; if there is
    /// none, one was required.
    Answer(Option<Secret>),
    /// Asks the context that requested the hop, and sends its answer and a newline. For a line,
    /// only tells it.
    Ask(PromptKind),
    /// Sends an empty line to a question, as often as it is asked. Has no effect on a line.
    Skip,
    /// Records the reason in case the program exits. It replaces an earlier one and the facts that
    /// came with that. For a question, fails with it at once.
    Explain(Explanation),
    /// Ignores the line, which is of no interest to the user, or a text that is no question.
    Ignore,
    /// Ignores the line, and forgets the recorded reason with the facts that came with it.
    Forget,
    /// Records a name of the program itself.
    Name,
    /// Records the path that the program is going to take.
    Way,
    /// Records that the network connection of the program holds something back.
    HeldBack,
    /// Notes a part of the line under this number, 0 to 9, for reasons. All such rules apply to a
    /// line, before the first of another kind.
    Note(u8),
}

/// Condition of a rule: facts that must be known, and facts that must not be.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct When {
    /// Facts that must all be known.
    pub needs: u32,
    /// Facts of which none may be known.
    pub lacks: u32,
}

impl When {
    /// No condition.
    pub const ALWAYS: Self = Self { needs: 0, lacks: 0 };
    /// After an answer.
    pub const ANSWERED: Self = Self {
        needs: fact::ANSWERED,
        lacks: 0,
    };
    /// Before any answer.
    pub const UNANSWERED: Self = Self {
        needs: 0,
        lacks: fact::ANSWERED,
    };
}

/// A rule of a dialogue. The first rule that matches a text applies.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rule {
    /// True if the rule is about a question: an incomplete line that ends in `:`, `?` or the wide
    /// colon of Chinese and Japanese, without echoed stars. False if it is about a complete line on
    /// the terminal or stderr.
    pub asked: bool,
    /// Texts to find in this order, ignoring case. A text that begins with `^` must follow the one
    /// before it directly, or begin the line. The text `@` stands for any recorded name of the
    /// program, and must follow directly as well. Of a question in several lines, the first with a
    /// name since the last answer counts, because a host may end its question with another name.
    pub texts: Vec<String>,
    /// Condition.
    pub when: When,
    /// Facts that are known once the rule has applied.
    pub sets: u32,
    /// Reaction.
    pub reaction: Reaction,
}

impl Rule {
    /// Creates a rule for a complete line with these texts.
    pub fn line(when: When, texts: &[&str], reaction: Reaction) -> Self {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        Self {
            asked: false,
            texts,
            when,
            sets: 0,
            reaction,
        }
    }

    /// Creates a rule for a question with these texts.
    pub fn asked(when: When, texts: &[&str], reaction: Reaction) -> Self {
        Self {
            asked: true,
            ..Self::line(when, texts, reaction)
        }
    }

    /// Returns true if its condition is met where these facts are known.
    fn applies(&self, facts: u32) -> bool {
        let When { needs, lacks } = self.when;
        facts & needs == needs && facts & lacks == 0
    }

    /// Creates a rule for a complete line with these texts that explains why the program exits.
    pub fn explain(
        when: When,
        texts: &[&str],
        kind: ConnectErrorKind,
        detail: &str,
        hint: &str,
    ) -> Self {
        let explanation = Explanation {
            kind,
            detail: detail.into(),
            hint: hint.into(),
        };
        Self::line(when, texts, Reaction::Explain(explanation))
    }
}

/// A request to the owner of a dialogue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// Write this to the terminal.
    Type(Secret),
    /// Ask the context that requested the hop for such an answer, with this text.
    Ask(PromptKind, String),
    /// Fail the hop for this reason.
    Fail(Explanation),
}

/// The state of one dialogue.
pub struct Dialogue {
    rules: Vec<Rule>,
    names: Vec<Vec<u8>>,
    way: Option<Vec<u8>>,
    held_back: bool,
    tail: Vec<u8>,
    /// The lines that the terminal shows before the incomplete one, from the last answer on.
    before: Vec<u8>,
    /// The number of lines that were left out there, behind the first.
    left_out: u32,
    /// A line of which the context that requested the hop is told.
    notice: Option<(PromptKind, String)>,
    facts: u32,
    explained: Option<Explanation>,
    /// The facts that came with the recorded reason.
    reasons: u32,
    notes: Vec<Vec<u8>>,
}

impl Dialogue {
    /// Creates a dialogue with these rules.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self {
            rules,
            names: Vec::new(),
            way: None,
            held_back: false,
            tail: Vec::new(),
            before: Vec::new(),
            left_out: 0,
            notice: None,
            facts: 0,
            explained: None,
            reasons: 0,
            notes: Vec::new(),
        }
    }

    /// Creates a dialogue with the rules of this one, which loses them.
    pub fn anew(&mut self) -> Self {
        Self::new(core::mem::take(&mut self.rules))
    }

    /// Forgets all answers, so that passwords are not kept longer than needed.
    pub fn forget(&mut self) {
        self.rules.retain(|rule| rule.reaction == Reaction::Ignore);
    }

    /// Takes bytes of the terminal, and reacts to the question at their end.
    pub fn terminal(&mut self, bytes: &[u8]) -> Option<Act> {
        self.feed(bytes);
        self.prompt()
    }

    /// Takes bytes of the terminal.
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if matches!(byte, b'\n' | b'\r') {
                let line = core::mem::take(&mut self.tail);
                if !line.trim_ascii().is_empty() {
                    self.keep(&line);
                }
                self.line(&line);
            } else {
                if self.tail.len() == LINE_LIMIT {
                    if self.before.is_empty() {
                        let first = self.tail.get(..FIRST).unwrap_or_default().to_vec();
                        self.keep(&first);
                    }
                    self.tail.drain(..LINE_LIMIT / 2);
                    // A truncated line has no beginning that a text could match.
                    self.tail.iter_mut().take(1).for_each(|first| *first = 0);
                }
                self.tail.push(*byte);
            }
        }
    }

    /// Keeps a line as a part of the question. Of many, the first stays, where ssh names the host
    /// that asks: the host writes the others, and could end them as another host's question.
    fn keep(&mut self, line: &[u8]) {
        let most = if self.before.is_empty() {
            FIRST
        } else {
            BEFORE
        };
        self.before.extend(line.iter().take(most));
        self.before.push(b'\n');
        while self.before.len() > BEFORE {
            let mut ends = self.before.split_inclusive(|byte| *byte == b'\n');
            let mut length = || ends.next().map_or(0, <[u8]>::len);
            let (first, second) = (length(), length());
            self.before.drain(first..first + second);
            self.left_out += 1;
        }
    }

    /// Takes a complete line of stderr. Returns false if it is of no interest to the user.
    pub fn line(&mut self, line: &[u8]) -> bool {
        self.note(line);
        let Some((rule, quoted)) = find(&self.rules, &self.names, self.facts, line, false) else {
            return true;
        };
        self.facts |= rule.sets;
        match &rule.reaction {
            Reaction::Ignore => {}
            Reaction::Forget => {
                self.explained = None;
                self.facts &= !(fact::EXPLAINED | self.reasons);
                self.reasons = 0;
            }
            Reaction::Name => self.names.push(quoted.to_vec()),
            Reaction::Way => self.way = Some(quoted.to_vec()),
            Reaction::HeldBack => self.held_back = true,
            Reaction::Explain(why) => {
                self.explained = Some(why.about(quoted, &self.notes));
                self.facts &= !self.reasons | rule.sets;
                self.facts |= fact::EXPLAINED;
                self.reasons = rule.sets;
                // Debug output of ssh is there for these rules only; the reason quotes it.
                return !line.starts_with(b"debug1: ");
            }
            Reaction::Ask(kind) => {
                let text = String::from_utf8_lossy(line).into_owned();
                self.notice = Some((*kind, text));
                return true;
            }
            Reaction::Answer(_) | Reaction::Skip | Reaction::Note(_) => return true,
        }
        false
    }

    /// Takes the notes of a line.
    fn note(&mut self, line: &[u8]) {
        for rule in &self.rules {
            let Reaction::Note(number) = rule.reaction else {
                continue;
            };
            if rule.applies(self.facts)
                && let Some(quoted) = quoted(&self.names, line, &rule.texts, false)
            {
                let number = usize::from(number);
                if self.notes.len() <= number {
                    self.notes.resize(number + 1, Vec::new());
                }
                // A reason may put it between quotes of a shell.
                self.notes[number] = quoted.iter().copied().filter(|c| *c != b'\'').collect();
            }
        }
    }

    /// Returns true if all these facts are known.
    pub fn knows(&self, facts: u32) -> bool {
        self.facts & facts == facts
    }

    /// Returns the name of a hop with the place where its program leads, if that is noted.
    pub fn with_place(&self, hop: &str) -> String {
        match self.notes.get(usize::from(PLACE)) {
            Some(place) => [hop, ", ", &String::from_utf8_lossy(place)].concat(),
            None => hop.into(),
        }
    }

    /// Removes and returns the path that the program is going to take, if it has reported one.
    pub fn take_way(&mut self) -> Option<Vec<u8>> {
        self.way.take()
    }

    /// Returns true, once, if the network connection of the program holds something back.
    pub fn take_held_back(&mut self) -> bool {
        core::mem::take(&mut self.held_back)
    }

    /// Removes and returns what the context that requested the hop is to be told.
    pub fn take_notice(&mut self) -> Option<(PromptKind, String)> {
        self.notice.take()
    }

    /// Returns the open question that no rule answers, to be asked; see [`Self::question`].
    pub fn ask(&mut self) -> Option<Act> {
        self.question()?;
        Some(Act::Ask(PromptKind::Other, self.take_text()))
    }

    /// Removes and returns the open question with the lines before it.
    fn take_text(&mut self) -> String {
        let mut text = core::mem::take(&mut self.before);
        let left_out = core::mem::take(&mut self.left_out);
        if left_out > 0 {
            let first = text.iter().take_while(|byte| **byte != b'\n').count() + 1;
            let note = format!("({left_out} lines are left out)\n");
            text.splice(first..first, note.into_bytes());
        }
        text.append(&mut self.tail);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Returns the reason why the program exits, if it has given one.
    pub fn explanation(&self) -> Option<&Explanation> {
        self.explained.as_ref()
    }

    /// Returns the open question that no rule answers, as a reason why the hop fails.
    pub fn question(&self) -> Option<Explanation> {
        let from = self.tail.len().saturating_sub(QUOTED);
        let asked = self.tail.get(from..).unwrap_or_default().trim_ascii();
        // Stars and backspaces are the echo of an answer.
        let is_text = asked.iter().any(|byte| !b"* \x08".contains(byte));
        is_text.then(|| unanswered_question(asked))
    }

    fn prompt(&mut self) -> Option<Act> {
        let (rule, quoted) = find(&self.rules, &self.names, self.facts, &self.tail, true)?;
        if !self.before.is_empty() && rule.texts.iter().any(|text| text == "@") {
            return None;
        }
        let wrong = |kind, detail: &str, hint: &str| {
            Act::Fail(Explanation {
                kind,
                detail: detail.into(),
                hint: hint.into(),
            })
        };
        let act = match &rule.reaction {
            Reaction::Answer(Some(_)) if self.facts & fact::GIVEN != 0 => wrong(
                ConnectErrorKind::PasswordIncorrect,
                "the password was not accepted",
                "check the password, and that it is the one this hop asks for",
            ),
            Reaction::Answer(Some(secret)) => {
                self.facts |= fact::ANSWERED | fact::GIVEN;
                Act::Type(secret.clone())
            }
            Reaction::Answer(None) => wrong(
                ConnectErrorKind::PasswordRequired,
                "it asks for a password and none was given",
                "give one: password() in a program, password-file=PATH or a terminal on the command line",
            ),
            Reaction::Explain(why) => Act::Fail(why.about(quoted, &self.notes)),
            Reaction::Ignore => return None,
            Reaction::Ask(kind) => {
                let kind = *kind;
                if let PromptKind::Password | PromptKind::Code = kind {
                    self.facts |= fact::ANSWERED;
                }
                Act::Ask(kind, self.take_text())
            }
            _ => Act::Type(Secret::new("")),
        };
        self.tail.clear();
        self.before.clear();
        self.left_out = 0;
        Some(act)
    }
}

/// Returns the reason why a hop fails whose program asks this.
pub fn unanswered_question(asked: &[u8]) -> Explanation {
    let detail = "it asks something that no answer was given for: %";
    Explanation {
        kind: ConnectErrorKind::Question,
        detail: detail.trim_end_matches(if asked.is_empty() { ": %" } else { "" }).into(),
        hint: "answer it (on_prompt() in a program, a terminal on the command line), or use a way that asks nothing"
            .into(),
    }
    .about(asked.trim_ascii(), &[])
}

/// Returns the first rule but those of notes that matches, and the part of the line that it quotes.
fn find<'a>(
    rules: &'a [Rule],
    names: &[Vec<u8>],
    facts: u32,
    line: &'a [u8],
    asked: bool,
) -> Option<(&'a Rule, &'a [u8])> {
    rules.iter().find_map(|rule| {
        let is_note = matches!(rule.reaction, Reaction::Note(_));
        if rule.asked != asked || is_note || !rule.applies(facts) {
            return None;
        }
        Some((rule, quoted(names, line, &rule.texts, asked)?))
    })
}

/// Returns the part of a line before the last of these texts, or behind the only one, if the line
/// contains them.
fn quoted<'a>(
    names: &[Vec<u8>],
    line: &'a [u8],
    texts: &[String],
    asked: bool,
) -> Option<&'a [u8]> {
    let (mut rest, mut between) = (line, line);
    for text in texts {
        let begins = |text: &[u8]| {
            rest.get(..text.len())
                .is_some_and(|rest| rest.eq_ignore_ascii_case(text))
        };
        let (place, length) = match text.as_bytes() {
            b"@" => (
                0,
                names
                    .iter()
                    .filter(|name| begins(name))
                    .map(Vec::len)
                    .max()?,
            ),
            [b'^', text @ ..] => (0, begins(text).then_some(text.len())?),
            text => (position(rest, text)?, text.len()),
        };
        between = rest.get(..place)?;
        rest = rest.get(place + length..)?;
    }
    // Stars behind a question are the echo of an answer.
    let ends = matches!(
        line.trim_ascii_end(),
        [.., b':' | b'?'] | [.., 0xef, 0xbc, 0x9a]
    );
    if asked && (rest.contains(&b'*') || !ends) {
        return None;
    }
    Some(if texts.len() == 1 { rest } else { between }.trim_ascii())
}

fn position(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len().max(1))
        .position(|window| window.eq_ignore_ascii_case(needle))
}

impl From<Explanation> for ConnectError {
    fn from(why: Explanation) -> Self {
        let mut error = Self::new(why.kind, why.detail);
        error.hint = why.hint;
        error
    }
}

/// Returns a text with the quoted part of a line for a `%` at its end, and with notes.
fn filled(text: &str, quoted: &[u8], notes: &[Vec<u8>]) -> String {
    let mut filled = Vec::new();
    let mut rest = text.as_bytes();
    while let [c, behind @ ..] = rest {
        rest = behind;
        match (c, behind) {
            (b'%', []) => filled.extend_from_slice(quoted),
            (b'%', [digit @ b'0'..=b'9', behind @ ..]) => {
                let note = notes.get(usize::from(digit - b'0'));
                filled.extend_from_slice(note.map_or(&[], Vec::as_slice));
                rest = behind;
            }
            _ => filled.push(*c),
        }
    }
    String::from_utf8_lossy(&filled).into_owned()
}

impl Explanation {
    /// Returns the explanation with the quoted part of a line and with notes.
    fn about(&self, quoted: &[u8], notes: &[Vec<u8>]) -> Self {
        Self {
            kind: self.kind,
            detail: filled(&self.detail, quoted, notes),
            hint: filled(&self.hint, b"%", notes),
        }
    }
}

#[cfg(test)]
mod tests;
