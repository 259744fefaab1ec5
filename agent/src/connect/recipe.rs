//! A hop as data, so that a parent can take hops that its own image has no builder for.

use super::dialogue::Rule;
use serde::{Deserialize, Serialize};

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

/// The request to the service that connects.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConnectRequest {
    /// The name of the context to be.
    pub name: String,
    /// What its process title shows in place of the name; of an empty one nothing.
    pub title: Option<String>,
    /// How to get there.
    pub recipe: Recipe,
    /// Whether the ancestors have not seen this order pass and have to be told of the new context.
    pub announce: bool,
    /// Seconds between heartbeats; 0 for none.
    pub heartbeat: u32,
}
