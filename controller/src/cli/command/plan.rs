//! `offshoot plan`: what each hop to a target would execute. Nothing is started.

use super::contract::Command;
use crate::cli::app::start_log;
use crate::cli::args::Connection;
use crate::cli::connect::{Passwords, Paths};
use crate::cli::exit::{NO_READER, TRANSPORT, misused};
use crate::cli::ui::notes::tell;
use crate::cli::ui::outlet::Outlet;
use clap::Args;
use offshoot::methods::Attach;
use offshoot::methods::dialogue::{Reaction, Rule};
use offshoot::methods::spec::PasswordOf;
use offshoot::{Context, Router, harmless};
use serde_json::{Value, json};
use std::io;
use std::process::exit;

const ABOUT: &str = "\
Print what each hop to a target would execute, and start nothing: no program runs, no connection is
made, and no password file is read.

For each hop: the context where its program runs, the words of the program as a shell would take
them, how the bootstrap follows them, the image that is sent, the time limit, and the questions that
are expected, with the answers. Long words are shortened unless --full is given.

The real words have a random number where these have sixteen zeros. A hop that is repeated, because
its host has another platform or a password was missing, has other words than at first.";

const EXAMPLES: &str = "\
Exit status: 0; 2 if the command line was wrong; 255 if there is no agent to send.

Examples:
  offshoot plan web1/sudo
  offshoot plan --full ssh:bastion/ssh:db7/sudo:postgres
  offshoot plan --json web1 | jq -r '.words[]'";

/// Words of more bytes are shortened.
const LONG: usize = 160;
/// The characters that a shortened word keeps at its beginning and at its end.
const KEPT: usize = 48;

/// Print what each hop would execute, and start nothing
#[derive(Args, Debug)]
#[command(long_about = ABOUT, after_long_help = EXAMPLES)]
pub(super) struct Plan {
    #[command(flatten)]
    connection: Connection,
    /// Print long words whole
    #[arg(long)]
    full: bool,
    /// Print one JSON object for each hop, with whole words
    #[arg(long)]
    json: bool,
    /// The targets, each a path of hops: see `offshoot help targets`
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
}

impl Command for Plan {
    const NAME: &str = "plan";

    fn run(self) -> ! {
        let log = start_log(self.connection.verbose);
        let targets = self.targets.iter().map(String::as_str);
        let paths = Paths::plan(targets, &self.connection, Passwords::Hidden)
            .unwrap_or_else(|error| misused(error));
        let failed = |error: &dyn std::fmt::Display| -> ! {
            tell(&harmless(&error.to_string()));
            exit(TRANSPORT)
        };
        // A tree without hops starts no program.
        let router = match Router::builder().log_filter(log).start() {
            Ok(router) => router,
            Err(error) => failed(&error),
        };
        let shown = match planned(&paths, &router) {
            Ok(steps) => self.show(&steps),
            Err(error) => failed(&error),
        };
        drop(router);
        match shown {
            Ok(()) => exit(0),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => exit(NO_READER),
            Err(error) => failed(&format!("writing the output: {error}")),
        }
    }
}

impl Plan {
    fn show(&self, steps: &[Step]) -> io::Result<()> {
        let stdout = Outlet::stdout()?;
        for (number, step) in steps.iter().enumerate() {
            if self.json {
                stdout.write_object(step.as_json())?;
            } else {
                if number > 0 && step.hop.0 == 1 {
                    stdout.write(b"\n")?;
                }
                stdout.write(step.as_text(self.full).as_bytes())?;
            }
        }
        Ok(())
    }
}

/// A hop of a target.
struct Step {
    target: String,
    /// The number of the hop, from 1, and the number of hops.
    hop: (usize, usize),
    method: &'static str,
    /// The context where the hop begins. `None` for this program.
    from: Option<String>,
    /// The context that the hop makes.
    to: String,
    password: Password,
    plan: offshoot::Plan,
}

/// The source of a hop's password.
enum Password {
    /// The method asks for none.
    NotNeeded,
    /// The first line of a file.
    File(String),
    /// The user of this terminal.
    Terminal,
    /// No source.
    Missing,
}

/// Returns all hops of all targets.
fn planned(paths: &Paths, root: &Context) -> Result<Vec<Step>, offshoot::Error> {
    let mut steps = Vec::new();
    for (number, target) in paths.targets.iter().enumerate() {
        let hops = paths.hops(number);
        let mut from: Option<String> = None;
        for (at, index) in hops.iter().enumerate() {
            let (hop, plan) = (paths.hop(*index), paths.plan_of(*index, root)?);
            let to = match &from {
                None => plan.name.clone(),
                Some(from) => format!("{from}.{}", plan.name),
            };
            let password = match (hop.password_file(), hop.password_of()) {
                (Some(file), _) => Password::File(file.to_owned()),
                (None, PasswordOf::Nobody) => Password::NotNeeded,
                (None, _) if paths.may_ask() => Password::Terminal,
                (None, _) => Password::Missing,
            };
            steps.push(Step {
                target: target.clone(),
                hop: (at + 1, hops.len()),
                method: hop.method(),
                from: from.replace(to.clone()),
                to,
                password,
                plan,
            });
        }
    }
    Ok(steps)
}

impl Step {
    fn as_json(&self) -> Vec<(&'static str, Value)> {
        let (plan, recipe) = (&self.plan, &self.plan.recipe);
        let (password, file) = match &self.password {
            Password::NotNeeded => ("none", None),
            Password::File(file) => ("file", Some(file)),
            Password::Terminal => ("terminal", None),
            Password::Missing => ("missing", None),
        };
        let questions: Vec<Value> = questions(&recipe.rules)
            .into_iter()
            .map(|(question, reaction)| match reaction {
                Does::Answers(given) => json!({ "question": question, "answered": given }),
                Does::Asks => json!({ "question": question, "answered": false, "asked": true }),
                Does::Skips => json!({ "question": question, "skipped": true }),
                Does::Fails(why) => json!({ "question": question, "fails": why }),
            })
            .collect();
        vec![
            ("target", self.target.as_str().into()),
            ("hop", self.hop.0.into()),
            ("of", self.hop.1.into()),
            ("method", self.method.into()),
            ("from", self.from.as_deref().into()),
            ("context", self.to.as_str().into()),
            ("words", plan.words.as_deref().into()),
            ("bootstrap", form(recipe.attach).0.into()),
            ("title", plan.title.as_str().into()),
            ("machine", plan.machine.into()),
            ("image_bytes", plan.image_bytes.into()),
            ("terminal", recipe.terminal.into()),
            ("timeout_ms", recipe.timeout_ms.into()),
            ("heartbeat_s", plan.heartbeat.into()),
            ("at_once", recipe.at_once.into()),
            ("password", password.into()),
            ("password_file", file.map(String::as_str).into()),
            ("questions", questions.into()),
        ]
    }

    fn as_text(&self, full: bool) -> String {
        let (plan, recipe) = (&self.plan, &self.plan.recipe);
        let (number, of) = self.hop;
        let mut text = String::new();
        if number == 1 {
            text.push_str(&format!("{}\n", harmless(&self.target)));
        }
        text.push_str(&format!(
            "  hop {number} of {of}: {}\n",
            harmless(&recipe.hop)
        ));
        let mut row = |name: &str, value: &str| {
            text.push_str(&format!("    {name:<10} {}\n", harmless(value)));
        };
        let from = self.from.as_deref().unwrap_or("this machine");
        let words = match &plan.words {
            Some(words) => {
                let shown: Vec<String> = words.iter().map(|word| shown(word, full)).collect();
                shown.join(" ")
            }
            None => format!(
                "the agent itself, from memory, as {}",
                quoted_as(&plan.title, &harmless(&plan.title))
            ),
        };
        row("from", from);
        row("executes", &words);
        row("bootstrap", form(recipe.attach).1);
        row(
            "sends",
            &format!("the agent for {}, {} bytes", plan.machine, plan.image_bytes),
        );
        row("becomes", &self.to);
        let mut limits = format!("{} s for the hop", recipe.timeout_ms as f64 / 1e3);
        match plan.heartbeat {
            0 => limits.push_str("; no heartbeats"),
            seconds => limits.push_str(&format!("; heartbeats every {seconds} s")),
        }
        if recipe.at_once > 0 {
            limits.push_str(&format!("; at most {} such hops at once", recipe.at_once));
        }
        row("limits", &limits);
        match &self.password {
            Password::NotNeeded => {}
            Password::File(file) => row("password", &format!("the first line of {file}")),
            Password::Terminal => row(
                "password",
                "asked for on this terminal if the hop needs one; the hop is then repeated",
            ),
            Password::Missing => row("password", "none: a hop that needs one fails"),
        }
        if !recipe.terminal {
            row(
                "questions",
                "none can be asked: the program gets no terminal",
            );
            return text;
        }
        let mut name = "questions";
        let known = questions(&recipe.rules);
        for (question, does) in &known {
            let does = match does {
                // Its rules do so only for the host itself.
                Does::Answers(true) if self.method == "ssh" => {
                    "is answered with the password, if this host asks and no host on the way"
                }
                Does::Answers(true) => "is answered with the password",
                Does::Answers(false) => "has no answer yet",
                Does::Asks => "is put to you",
                Does::Skips => "is answered with an empty line",
                Does::Fails(_) => continue,
            };
            row(name, &format!("{question} {does}"));
            name = "";
        }
        row(name, "any other ends the hop and is quoted");
        text
    }
}

/// The reaction to a question.
enum Does {
    /// The person at the terminal is asked.
    Asks,
    /// The password is typed, if there is one.
    Answers(bool),
    /// An empty line is typed.
    Skips,
    /// The hop fails for this reason.
    Fails(String),
}

/// Returns the questions of these rules as text, each once.
fn questions(rules: &[Rule]) -> Vec<(String, Does)> {
    let mut found: Vec<(String, Does)> = Vec::new();
    for rule in rules.iter().filter(|rule| rule.asked) {
        let does = match &rule.reaction {
            Reaction::Answer(answer) => Does::Answers(answer.is_some()),
            Reaction::Ask(_) => Does::Asks,
            Reaction::Skip => Does::Skips,
            Reaction::Explain(why) => Does::Fails(why.detail.clone()),
            _ => continue,
        };
        let mut question = String::new();
        for text in &rule.texts {
            match (text.as_str(), text.strip_prefix('^')) {
                ("@", _) => question.push_str("NAME"),
                (_, Some(rest)) => question.push_str(rest),
                (_, None) => question.push_str(&format!(
                    "{}{text}",
                    if question.is_empty() || question.ends_with("NAME") {
                        ""
                    } else {
                        "..."
                    }
                )),
            }
        }
        let question = format!("{question:?}");
        if found.iter().all(|(other, _)| *other != question) {
            found.push((question, does));
        }
    }
    found
}

/// Returns the name of a form of the bootstrap, and a sentence about it.
fn form(attach: Attach) -> (&'static str, &'static str) {
    match attach {
        Attach::Direct => ("direct", "none: the agent is executed without a shell"),
        Attach::Words => ("words", "the last word, a script for the shell before it"),
        Attach::GuardedWords => (
            "guarded-words",
            "the last word, a script for the shell before it, without dollar signs",
        ),
        Attach::Line | Attach::PlainLine => (
            "line",
            "the last word, a line for the login shell there, of any kind",
        ),
        Attach::Script => (
            "script",
            "the last word, a script for the shell in the words",
        ),
    }
}

/// Returns a word as a shell would take it, shortened unless it is wanted whole.
fn shown(word: &str, full: bool) -> String {
    let count = word.chars().count();
    if full || word.len() <= LONG || count <= 2 * KEPT {
        return quoted_as(word, &harmless(word));
    }
    let first: String = word.chars().take(KEPT).collect();
    let last: String = word.chars().skip(count - KEPT).collect();
    let one_line = |text: &str| harmless(&text.replace('\n', " "));
    format!(
        "'{} [... {} bytes ...] {}'",
        one_line(&first),
        word.len(),
        one_line(&last)
    )
}

/// Returns a word as a shell reads it, without control characters.
pub(super) fn quoted(word: &str) -> String {
    quoted_as(word, &harmless(word))
}

/// Quotes a word for a shell, if it needs it. One with control characters, which differs from its
/// harmless form, is quoted as bash and other shells read it.
fn quoted_as(word: &str, harmless: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+-=,:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    if word == harmless {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    let mut text = "$'".to_owned();
    for c in word.chars() {
        match c {
            '\'' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            c if offshoot::harmless(c.encode_utf8(&mut [0; 4])) == c.to_string() => text.push(c),
            c => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    text.push_str(&format!("\\{byte:03o}"));
                }
            }
        }
    }
    text + "'"
}

#[cfg(test)]
mod tests {
    use super::*;
    use offshoot::methods::dialogue::When;

    #[test]
    fn words_are_quoted_for_a_shell() {
        for (word, text) in [
            ("ssh", "ssh"),
            ("-o", "-o"),
            ("", "''"),
            ("two words", "'two words'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("a\u{1b}[31m\nb'\\", r"$'a\033[31m\nb\'\\'"),
        ] {
            assert_eq!(shown(word, true), text);
        }
        let long = format!("begin{}end", "x".repeat(4000));
        let short = shown(&long, false);
        assert!(
            short.starts_with("'begin") && short.ends_with("end'") && short.contains("4008 bytes"),
            "{short}"
        );
        assert!(short.len() < 160 && shown(&long, true) == long);
    }

    #[test]
    fn questions_are_shown_once_with_their_reaction() {
        let ask = |texts: &[&str], reaction| Rule::asked(When::ALWAYS, texts, reaction);
        let rules = [
            ask(&["@", "^'s password:"], Reaction::Answer(None)),
            ask(&["@", "^'s password:"], Reaction::Answer(None)),
            ask(&["a", "b"], Reaction::Skip),
            Rule::line(When::ALWAYS, &["no question"], Reaction::Ignore),
        ];
        let found = questions(&rules);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].0, "\"NAME's password:\"");
        assert!(matches!(found[0].1, Does::Answers(false)));
        assert_eq!(found[1].0, "\"a...b\"");
        assert!(matches!(found[1].1, Does::Skips));
    }
}
