//! `command`: any words that end in a shell.

use super::spec::{Argument, BadOption, Described, OptionSpec, PasswordOf, RunsAs, Spec, Value};
use super::traits::{DEFAULT_TIMEOUT, Method};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;
use offshoot_codec::Secret;
use offshoot_proto::connect::recipe::{Attach, Recipe};
use std::time::Duration;

/// The names of POSIX shells.
const SHELLS: [&str; 7] = ["sh", "ash", "dash", "bash", "ksh", "mksh", "zsh"];

impl Context {
    /// Returns a hop by any command that passes its stdin and stdout through to a shell, for
    /// instance `["ip", "netns", "exec", "blue"]`; see [`Command`].
    #[must_use]
    pub fn command_hop<I: IntoIterator<Item = S>, S: Into<String>>(
        &self,
        words: I,
    ) -> Hop<Command> {
        self.hop(Command::new(words))
    }
}

/// A hop by any command.
///
/// The bootstrap follows the words: if the last one is a POSIX shell, as `-c` and a script; if it
/// is `-c` (or other short options that end in `c`, such as `-lc`), as a script for this shell;
/// with [`Command::line`] as one more word, a line for a login shell of any kind, as behind `ssh
/// HOST`; otherwise as the three words `sh`, `-c` and the script.
///
/// The command must pass bytes through unchanged in both directions, without a terminal. It is up
/// to the command whether the agent sees the end of its stdin when the command is killed; if it
/// does not, the agent ends after three missed heartbeats.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Command {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// True if a login shell of any kind reads one more word.
    pub line: bool,
    /// The longest time for the hop.
    pub timeout: Duration,
}

impl Command {
    /// Returns a hop by these words.
    pub fn new<I: IntoIterator<Item = S>, S: Into<String>>(words: I) -> Self {
        Self {
            words: words.into_iter().map(Into::into).collect(),
            line: false,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Returns true if the last word is a shell, without an option for a script.
    fn ends_in_shell(&self) -> bool {
        let last = self.words.last().map(String::as_str).unwrap_or_default();
        let name = last.rsplit('/').next().unwrap_or_default();
        !self.line && SHELLS.contains(&name)
    }

    fn attach(&self) -> Attach {
        let is_option = |word: &String| {
            let letters = word.strip_prefix('-').unwrap_or_default();
            letters.ends_with('c') && letters.bytes().all(|byte| byte.is_ascii_lowercase())
        };
        match self.words.last() {
            _ if self.line => Attach::Line,
            _ if self.ends_in_shell() => Attach::Script,
            Some(last) if is_option(last) => Attach::Script,
            _ => Attach::Words,
        }
    }
}

impl Default for Command {
    /// Returns a hop without words, which still have to be set.
    fn default() -> Self {
        Self::new::<_, String>([])
    }
}

impl Method for Command {
    fn recipe(&self, _nonce: &str) -> Recipe {
        let hop = format!("command:[{}]", self.words.join(" "));
        let mut words = self.words.clone();
        words.extend(self.ends_in_shell().then(|| "-c".into()));
        let mut recipe = Recipe::new(hop, words, self.attach());
        recipe.timeout_ms = self.timeout.as_millis() as u64;
        recipe.hint =
            "the words must end in a shell, or where one can follow, and pass stdin and stdout through"
                .into();
        recipe
    }

    fn check(&self) -> Result<(), BadOption> {
        match self.words.is_empty() {
            true => Err(BadOption::new("words", "")
                .because("there are no words: a command has at least one")),
            false => Ok(()),
        }
    }

    fn name(&self) -> String {
        let program = self.words.first().map_or("", String::as_str);
        let name = program.rsplit('/').next().unwrap_or_default();
        format!("command.{name}")
    }

    fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    fn set_password(&mut self, _password: Secret) {}
}

impl Described for Command {
    const SPEC: &'static Spec = &Spec {
        name: "command",
        argument: Argument::Text {
            key: "words",
            placeholder: "[WORDS]",
            noun: "the words of the command",
            default: None,
        },
        about: "is behind any command whose words end in a shell, or where one can follow, as in \
                command:[ip netns exec blue] or command:[kubectl exec -i x -- sh -c]",
        options: &[
            OptionSpec::new(
                "word",
                Value::Texts("WORD"),
                "a further word, which may have spaces; may be given several times",
            ),
            OptionSpec::new(
                "line",
                Value::Flag,
                "gives one line to a login shell of any kind, as for words that end in ssh HOST",
            ),
        ],
        notes: "The words are separated by spaces, of which several count as one; quotes and backslashes have no \
                meaning. If the last word is -c, or short options that end in c, the script follows as one word; \
                otherwise sh, -c and the script do.",
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::Nobody,
    };

    fn set(&mut self, key: &str, value: &str) -> Result<(), BadOption> {
        match key {
            "words" => {
                let words = value.split(' ').filter(|word| !word.is_empty());
                self.words.extend(words.map(str::to_owned));
            }
            "word" => self.words.push(value.into()),
            "line" => self.line = value == "yes",
            _ => return Err(BadOption::new(key, value)),
        }
        Ok(())
    }
}

setters!(Command {
    /// Gives one line to a login shell of any kind, as for words that end in `ssh HOST`.
    line: bool => |method| method.line = line;
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_follows_words_that_end_in_an_option_c() {
        for (words, attach) in [
            ("env -i sh -c", Attach::Script),
            ("bash -lc", Attach::Script),
            ("ip netns exec blue", Attach::Words),
            ("prog --exec", Attach::Words),
            ("prog c", Attach::Words),
            ("prog -C", Attach::Words),
            ("", Attach::Words),
        ] {
            let command = Command::new(words.split(' '));
            assert_eq!(command.attach(), attach, "{words}");
        }
        let mut command = Command::new(["ssh", "web1"]);
        command.line = true;
        assert_eq!(command.attach(), Attach::Line);
    }
}
