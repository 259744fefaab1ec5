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

/// How the bootstrap follows the words of a recipe.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Attach {
    /// The parent executes its own agent: no program, no shell.
    Direct,
    /// As the words `sh`, `-c`, script.
    Words,
    /// As the words `sh`, `-c`, script, with no dollar sign in any of them.
    GuardedWords,
    /// As one word, a line for whatever login shell is there.
    Line,
    /// As the one word script, where the words end in a shell and `-c`.
    Script,
}

/// One way to take one hop.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recipe {
    /// The hop as an operator writes it, for messages.
    pub hop: String,
    /// Tells this target from others where the parent remembers how its bootstrap has to go.
    pub key: String,
    /// The program and its words, up to where the bootstrap follows.
    pub argv: Vec<String>,
    /// Where not 0, the program tells the way that it would go, and waits for a line of its stdin before it goes: so many may be under
    /// way at once on the same one, before their agents are up.
    pub at_once: u32,
    /// How it follows.
    pub attach: Attach,
    /// Whether the program gets a terminal of its own to ask for passwords on; its stdio stay pipes.
    pub terminal: bool,
    /// What is expected on its terminal and stderr, and what to do then.
    pub rules: Vec<Rule>,
    /// How long everything may take, in milliseconds.
    pub timeout_ms: u64,
    /// What a reader can try when it fails without saying why.
    pub hint: String,
}

impl Recipe {
    /// Refuses what the program of the hop cannot be given, which would be cut where it arrives: for the context `name`
    /// whose process shows `title`.
    ///
    /// # Errors
    /// [`Error::Connect`](crate::error::Error::Connect) that names it.
    pub fn check(&self, name: &str, title: Option<&str>) -> crate::error::Result<()> {
        let cut = |text: &&str| text.contains('\0');
        let word = self.argv.iter().map(String::as_str).find(cut);
        let mut secrets = self.rules.iter().filter_map(|rule| match &rule.reaction {
            Reaction::Answer(Some(secret)) => Some(secret.expose()),
            _ => None,
        });
        let wrong = match word {
            Some(word) => format!("{word:?}, a word of its command,"),
            None if cut(&name) => format!("its name {name:?}"),
            None if title.as_ref().is_some_and(cut) => format!("its title {:?}", title.unwrap_or_default()),
            None if secrets.any(|secret| secret.contains(&0)) => "its password".into(),
            None => return Ok(()),
        };
        let mut error = ConnectError::new(ConnectErrorKind::Start, format!("{wrong} has a NUL byte"));
        error.context = name.replace('\0', "\\0");
        error.hop = self.hop.replace('\0', "\\0");
        error.hint = "no program can be given one: leave it out".into();
        Err(error.into())
    }
}
