//! A hop as data, so that a parent can take hops that its own image has no builder for.

use crate::connect::dialogue::Reaction;
use crate::connect::dialogue::Rule;
use crate::error::connect::ConnectError;
use crate::error::connect::ConnectErrorKind;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use serde::Deserialize;
use serde::Serialize;

/// The form in which the bootstrap follows the arguments of a recipe.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Attach {
    /// No program and no shell: the parent executes its own agent.
    Direct,
    /// As the arguments `sh`, `-c`, script, where the recipe may name another shell.
    Words,
    /// As [`Words`](Self::Words), without a dollar sign in the script.
    GuardedWords,
    /// As one argument: a line for any login shell.
    Line,
    /// As [`Line`](Self::Line), without `exec`, which restricted shells refuse.
    PlainLine,
    /// As one argument, the script; the arguments before it end in a shell and `-c`.
    Script,
}

/// Instructions for one hop. [`Recipe::new`] creates the simplest; the fields say what differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Recipe {
    /// The hop as an operator writes it, for messages.
    pub hop: String,
    /// Identity of the target, under which the parent remembers the mode of its bootstrap.
    pub key: String,
    /// The program and its arguments, up to where the bootstrap follows.
    pub argv: Vec<String>,
    /// Maximum number of hops on the same path whose agents are not up yet. If not 0, the program
    /// reports its path and then waits for a line on stdin.
    pub at_once: u32,
    /// Form of the bootstrap.
    pub attach: Attach,
    /// The POSIX shell that runs the bootstrap, and its option `-c`. With [`Attach::Script`] the
    /// arguments end in one instead.
    pub shell: Vec<String>,
    /// Shell text that runs before the bootstrap and makes the agent's surroundings.
    pub prelude: String,
    /// True if the program gets a terminal of its own for password prompts. Its standard streams
    /// are pipes in any case.
    pub terminal: bool,
    /// True if the program asks on stderr or stdout and reads the answer from stdin, to which
    /// nothing else is written before the loader is ready.
    pub asks_on_pipes: bool,
    /// True if the program ends by itself when its stdin does, and then removes something that
    /// stays if it is killed.
    pub cleans_up: bool,
    /// Expected lines and questions, and the reactions to them.
    pub rules: Vec<Rule>,
    /// Time limit for the whole hop in milliseconds.
    pub timeout_ms: u64,
    /// Advice if the hop fails without a reason.
    pub hint: String,
}

impl Recipe {
    /// Creates instructions without a terminal, questions or advice, with a time limit of 30
    /// seconds. `hop` is the hop as an operator writes it; it is the identity of the target, too.
    pub fn new(hop: impl Into<String>, argv: Vec<String>, attach: Attach) -> Self {
        let hop = hop.into();
        Self {
            key: hop.clone(),
            hop,
            argv,
            at_once: 0,
            attach,
            shell: ["sh".into(), "-c".into()].into(),
            prelude: String::new(),
            terminal: false,
            asks_on_pipes: false,
            cleans_up: false,
            rules: Vec::new(),
            timeout_ms: 30_000,
            hint: String::new(),
        }
    }

    /// Checks that the program can be given its arguments without truncation, for the context
    /// `name` whose process shows `title`.
    ///
    /// # Errors
    /// Returns [`Error::Connect`](crate::error::Error::Connect) if an argument contains NUL.
    pub fn check(&self, name: &str, title: Option<&str>) -> crate::error::Result<()> {
        let cut = |text: &&str| text.contains('\0');
        let words = self.argv.iter().chain(&self.shell);
        let word = words.map(String::as_str).find(cut);
        let mut secrets = self.rules.iter().filter_map(|rule| match &rule.reaction {
            Reaction::Answer(Some(secret)) => Some(secret.expose()),
            _ => None,
        });
        let wrong = match word {
            Some(word) => format!("{word:?}, a word of its command,"),
            None if cut(&name) => format!("its name {name:?}"),
            None if title.as_ref().is_some_and(cut) => {
                format!("its title {:?}", title.unwrap_or_default())
            }
            None if secrets.any(|secret| secret.contains(&0)) => "its password".into(),
            None => return Ok(()),
        };
        let mut error =
            ConnectError::new(ConnectErrorKind::Start, format!("{wrong} has a NUL byte"));
        error.context = name.replace('\0', "\\0");
        error.hop = self.hop.replace('\0', "\\0");
        error.hint = "no program can be given one: leave it out".into();
        Err(error.into())
    }
}
