//! The dialogue of prompts and the watcher of bootstraps against bytes in any pieces.
//!
//! The meaning of an unfinished line depends on where a program pauses, so the actions may depend
//! on where bytes are split. They may not depend on a split at which nothing was done; and however
//! the bytes are split, a password is typed once, and only at a prompt.

use crate::input::{Input, pieces};
use crate::messages::rule;
use offshoot_agent::method::Method;
use offshoot_agent::method::Ssh;
use offshoot_agent::method::Sudo;
use offshoot_agent::{ConnectErrorKind, Secret};
use offshoot_bootstrap::{Mode, Nonce, Platform, agent_marker};
use offshoot_proto::connect::bootstrap::{BootstrapWatcher, Progress, Retry};
use offshoot_proto::connect::dialogue::{Act, Dialogue, Explanation, Reaction, Rule, When, fact};
use offshoot_proto::message::prompt::PromptKind;

const NONCE: [u8; 8] = *b"\x01\x23\x45\x67\x89\xab\xcd\xef";
const READY: &[u8] = b"offshoot:0123456789abcdef:ready:4711\n";
/// The least number of bytes of a line that are remembered.
const REMEMBERED: usize = 2048;

/// Runs the check.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mode = input.byte();
    let rules = match input.byte() % 3 {
        0 => sudo(),
        1 => ssh(),
        _ => (0..=input.below(4)).map(|_| rule(&mut input)).collect(),
    };
    let lengths = input.bytes();
    if mode % 2 == 0 {
        prompts(&rules, input.0, lengths);
    } else {
        bootstrap(&rules, mode, input.0, lengths);
    }
}

fn sudo() -> Vec<Rule> {
    let mut sudo = Sudo::default();
    sudo.set_password("secret".into());
    sudo.recipe("5f5f5f5f").rules
}

fn ssh() -> Vec<Rule> {
    let mut ssh = Ssh::new("web1");
    ssh.set_password("secret".into());
    ssh.recipe("5f5f5f5f").rules
}

/// A plain model of the rules: keeps everything and searches from the start.
struct Model<'a> {
    rules: &'a [Rule],
    line: Vec<u8>,
    names: Vec<Vec<u8>>,
    facts: u32,
    /// The facts of the rule with the reason.
    reasons: u32,
    notes: [Vec<u8>; 10],
    explained: Option<Explanation>,
    /// True if a line was longer than the memory, so that a part of it may be forgotten.
    overlong: bool,
}

impl Model<'_> {
    fn terminal(&mut self, bytes: &[u8]) -> Option<Act> {
        for byte in bytes {
            if matches!(byte, b'\n' | b'\r') {
                self.end_of_line();
                self.line.clear();
            } else {
                self.line.push(*byte);
                self.overlong |= self.line.len() > REMEMBERED;
            }
        }
        let rule = self
            .rules
            .iter()
            .find(|rule| !is_note(rule) && self.applies(rule.when) && self.asks(rule))?;
        let answered = self.facts & fact::ANSWERED != 0;
        let fail = |kind| {
            Act::Fail(Explanation {
                kind,
                detail: String::new(),
                hint: String::new(),
            })
        };
        let act = match &rule.reaction {
            Reaction::Answer(Some(secret)) if !answered => {
                self.facts |= fact::ANSWERED;
                Act::Type(secret.clone())
            }
            Reaction::Answer(Some(_)) => fail(ConnectErrorKind::PasswordIncorrect),
            Reaction::Answer(None) => fail(ConnectErrorKind::PasswordRequired),
            Reaction::Explain(why) => fail(why.kind),
            Reaction::Ask(kind) => {
                if matches!(kind, PromptKind::Password | PromptKind::Code) {
                    self.facts |= fact::ANSWERED;
                }
                Act::Ask(*kind, String::new())
            }
            _ => Act::Type(Secret::new("")),
        };
        self.line.clear();
        Some(act)
    }

    /// Returns the parts of the line before and after the last of the texts.
    fn parts(&self, texts: &[String]) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut rest = self.line.clone();
        let mut before = rest.clone();
        for text in texts {
            let starts = |rest: &[u8], text: &[u8]| {
                rest.to_ascii_lowercase()
                    .starts_with(&text.to_ascii_lowercase())
            };
            let end = if text == "@" {
                before.clear();
                let mut fitting: Vec<&Vec<u8>> = self
                    .names
                    .iter()
                    .filter(|name| starts(&rest, name))
                    .collect();
                fitting.sort_by_key(|name| name.len());
                fitting.last()?.len()
            } else if let Some(text) = text.strip_prefix('^') {
                before.clear();
                starts(&rest, text.as_bytes()).then_some(text.len())?
            } else {
                if text.is_empty() {
                    return None;
                }
                let at = (0..rest.len()).find(|at| starts(&rest[*at..], text.as_bytes()))?;
                before = rest[..at].to_vec();
                at + text.len()
            };
            rest = rest[end..].to_vec();
        }
        Some((before, rest))
    }

    /// Returns true if the unfinished line is this prompt: its texts, the end of a prompt, and no
    /// echoed star.
    fn asks(&self, rule: &Rule) -> bool {
        let Some((_, rest)) = self.parts(&rule.texts).filter(|_| rule.asked) else {
            return false;
        };
        let line = self.line.trim_ascii_end();
        (line.ends_with(b":") || line.ends_with(b"?")) && !rest.contains(&b'*')
    }

    /// Returns a text with its notes and, at its end, a quoted part.
    fn filled(&self, text: &str, quoted: &[u8]) -> String {
        let mut filled = String::new();
        let mut parts = text.split('%').peekable();
        filled.push_str(parts.next().unwrap_or_default());
        while let Some(part) = parts.next() {
            let digit = part.chars().next().and_then(|digit| digit.to_digit(10));
            match digit {
                Some(digit) => {
                    filled.push_str(&String::from_utf8_lossy(&self.notes[digit as usize]));
                    filled.push_str(&part[1..]);
                }
                None if part.is_empty() && parts.peek().is_none() => {
                    filled.push_str(&String::from_utf8_lossy(quoted));
                }
                None => {
                    filled.push('%');
                    filled.push_str(part);
                }
            }
        }
        filled
    }

    fn quoted(&self, texts: &[String]) -> Option<Vec<u8>> {
        let (before, behind) = self.parts(texts)?;
        let quoted = if texts.len() == 1 { behind } else { before };
        Some(quoted.trim_ascii().to_vec())
    }

    fn end_of_line(&mut self) {
        for rule in self.rules {
            if let Reaction::Note(number) = rule.reaction
                && self.applies(rule.when)
                && let Some(quoted) = self.quoted(&rule.texts)
            {
                let kept = quoted.into_iter().filter(|c| *c != b'\'').collect();
                self.notes[usize::from(number)] = kept;
            }
        }
        let fits = |rule: &&Rule| {
            !rule.asked
                && !is_note(rule)
                && self.applies(rule.when)
                && self.parts(&rule.texts).is_some()
        };
        let Some(rule) = self.rules.iter().find(fits) else {
            return;
        };
        let Some(quoted) = self.quoted(&rule.texts) else {
            return;
        };
        self.facts |= rule.sets;
        match &rule.reaction {
            Reaction::Explain(why) => {
                self.explained = Some(Explanation {
                    kind: why.kind,
                    detail: self.filled(&why.detail, &quoted),
                    hint: self.filled(&why.hint, b"%"),
                });
                self.facts &= !self.reasons | rule.sets;
                self.facts |= fact::EXPLAINED;
                self.reasons = rule.sets;
            }
            Reaction::Forget => {
                self.explained = None;
                self.facts &= !(fact::EXPLAINED | self.reasons);
                self.reasons = 0;
            }
            Reaction::Name => self.names.push(quoted),
            Reaction::Way
            | Reaction::HeldBack
            | Reaction::Ignore
            | Reaction::Skip
            | Reaction::Ask(_)
            | Reaction::Note(_)
            | Reaction::Answer(_) => {}
        }
    }

    fn applies(&self, when: When) -> bool {
        (0..32).all(|bit| {
            let (fact, has) = (1 << bit, |facts: u32| facts & (1 << bit) != 0);
            let known = self.facts & fact != 0;
            (!has(when.needs) || known) && !(has(when.lacks) && known)
        })
    }
}

fn is_note(rule: &Rule) -> bool {
    matches!(rule.reaction, Reaction::Note(_))
}

/// Returns the kind of an action and its secret, without the texts of a failure.
fn gist(act: &Option<Act>) -> Option<Result<Result<&Secret, PromptKind>, ConnectErrorKind>> {
    act.as_ref().map(|act| match act {
        Act::Type(secret) => Ok(Ok(secret)),
        Act::Ask(kind, _) => Ok(Err(*kind)),
        Act::Fail(why) => Err(why.kind),
    })
}

fn prompts(rules: &[Rule], stream: &[u8], lengths: &[u8]) {
    let mut dialogue = Dialogue::new(rules.to_vec());
    let (line, names, explained) = (Vec::new(), Vec::new(), None);
    let mut model = Model {
        rules,
        line,
        names,
        facts: 0,
        reasons: 0,
        notes: Default::default(),
        explained,
        overlong: false,
    };
    let mut acts = Vec::new();
    // The same stream without the splits at which nothing was done.
    let mut merged: Vec<Vec<u8>> = vec![Vec::new()];
    let mut answers = 0;
    for piece in pieces(stream, lengths) {
        let answered = model.facts & fact::ANSWERED;
        let (act, expected) = (dialogue.terminal(piece), model.terminal(piece));
        if model.overlong {
            return;
        }
        assert_eq!(
            gist(&act),
            gist(&expected),
            "at the piece {:?}",
            piece.escape_ascii().to_string()
        );
        answers += usize::from(model.facts & fact::ANSWERED != answered);
        merged
            .last_mut()
            .expect("there is one")
            .extend_from_slice(piece);
        if act.is_some() {
            merged.push(Vec::new());
            acts.push(act);
        }
    }
    assert!(answers <= 1, "a password is given once");
    if !model.overlong {
        assert_eq!(dialogue.explanation(), model.explained.as_ref());
    }
    let mut other = Dialogue::new(rules.to_vec());
    let again: Vec<_> = merged
        .iter()
        .map(|piece| other.terminal(piece))
        .filter(Option::is_some)
        .collect();
    assert_eq!(again, acts, "cuts at which nothing was done");
    assert_eq!(other.explanation(), dialogue.explanation());
}

/// An event of a bootstrap.
enum Said {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    Terminal(Vec<u8>),
}

/// The outcome of a bootstrap.
#[derive(PartialEq, Debug)]
struct Course {
    up: Option<Vec<u8>>,
    lines: Vec<Vec<u8>>,
    end: Option<(ConnectErrorKind, String, String, Vec<String>)>,
}

fn bootstrap(rules: &[Rule], mode: u8, stream: &[u8], lengths: &[u8]) {
    let mut input = Input(stream);
    let (status, signal) = (
        input.maybe(|input| i32::from(input.byte())),
        input.maybe(|input| i32::from(input.byte())),
    );
    let mode = if mode & 2 == 0 {
        Mode::Optimistic
    } else {
        Mode::Wait
    };
    let marker = agent_marker(&Nonce::new(NONCE));
    let mut said = Vec::new();
    while !input.is_empty() {
        said.push(match input.byte() % 10 {
            0..3 => Said::Stdout(input.bytes().to_vec()),
            3..5 => Said::Stderr(input.bytes().to_vec()),
            5 => Said::Terminal(input.bytes().to_vec()),
            6 => Said::Stdout(b"x".repeat(usize::from(input.u16() & 0xFFF))),
            7 => Said::Stdout(READY.to_vec()),
            8 => Said::Stdout([&b"offshoot:platform:"[..], input.bytes(), b":\n"].concat()),
            // The marker or a part of it.
            _ => Said::Stdout(
                marker[..marker.len() - input.below(2) * input.below(marker.len())].to_vec(),
            ),
        });
    }
    let whole = course(rules, mode, &said, &[255; 40], (status, signal));
    let cut = course(rules, mode, &said, lengths, (status, signal));
    assert_eq!(whole.0, cut.0);
    assert!(cut.1 <= 1 && whole.1 <= cut.1, "the loader is ready once");
    let stdout: Vec<u8> = said
        .iter()
        .filter_map(|said| {
            if let Said::Stdout(bytes) = said {
                Some(bytes.as_slice())
            } else {
                None
            }
        })
        .collect::<Vec<_>>()
        .concat();
    let at = stdout
        .windows(marker.len())
        .position(|window| window == marker);
    let rest = at.map(|at| stdout[at + marker.len()..].to_vec());
    assert_eq!(
        cut.0.up, rest,
        "all that follows the marker, and nothing before it"
    );
}

fn course(
    rules: &[Rule],
    mode: Mode,
    said: &[Said],
    lengths: &[u8],
    end: (Option<i32>, Option<i32>),
) -> (Course, u32) {
    let mut boot = BootstrapWatcher::new(mode, Platform::X86_64);
    let begin = |boot: &mut BootstrapWatcher, mode| {
        let dialogue = Dialogue::new(rules.to_vec());
        boot.begin(
            Platform::X86_64,
            mode,
            dialogue,
            &Nonce::new(NONCE),
            READY.to_vec(),
        );
    };
    begin(&mut boot, mode);
    let mut course = Course {
        up: None,
        lines: Vec::new(),
        end: None,
    };
    let mut ready = 0;
    for said in said {
        match said {
            Said::Stdout(bytes) => {
                for piece in pieces(bytes, lengths) {
                    match (&mut course.up, ()) {
                        (Some(rest), ()) => rest.extend_from_slice(piece),
                        (up, ()) => match boot.stdout(piece) {
                            Progress::Noise => {}
                            Progress::Ready => ready += 1,
                            Progress::Up(rest) => *up = Some(rest),
                        },
                    }
                }
            }
            Said::Stderr(bytes) => {
                pieces(bytes, lengths)
                    .iter()
                    .for_each(|piece| course.lines.extend(boot.stderr(piece)));
            }
            Said::Terminal(bytes) => {
                pieces(bytes, lengths)
                    .iter()
                    .for_each(|piece| course.lines.extend(boot.terminal(piece)));
            }
        }
    }
    assert!(
        ready == 0 || mode == Mode::Wait,
        "no attempt waits for a loader that was not asked"
    );
    if course.up.is_none() {
        let mut verdict = boot.exited(end.0, end.1, "hint");
        if let Retry::Again(_) = verdict {
            begin(&mut boot, Mode::Wait);
            verdict = boot.exited(end.0, end.1, "hint");
        }
        let Retry::Failed(error) = verdict else {
            panic!("the attempts would never end")
        };
        assert!(!error.detail.is_empty() || boot.dialogue.explanation().is_some());
        assert!(error.output.len() <= 300 && error.output.iter().all(|line| line.len() <= 3 * 512));
        course.end = Some((error.kind, error.detail, error.hint, error.output));
    }
    (course, ready)
}
