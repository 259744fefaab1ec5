//! Answers to the questions of hops, and a record of what was asked.

use std::sync::{Arc, Mutex};

use offshoot::methods::Method;
use offshoot::{Hop, Prompt, PromptKind, Secret};

/// The questions of a hop, in their order.
pub type Asked = Arc<Mutex<Vec<Prompt>>>;

/// Answers the questions of a hop one after the other, and nothing after the last answer.
///
/// # Panics
/// Panics if an answer has panicked before.
pub fn answering<M: Method>(hop: Hop<M>, answers: &[&str]) -> (Hop<M>, Asked) {
    let asked = Asked::default();
    let mut left: Vec<_> = answers
        .iter()
        .rev()
        .map(|text| (*text).to_owned())
        .collect();
    let (questions, left) = (Arc::clone(&asked), Mutex::new(std::mem::take(&mut left)));
    let hop = hop.on_prompt(move |prompt| {
        questions.lock().expect("no panic").push(prompt.clone());
        left.lock().expect("no panic").pop().map(Secret::new)
    });
    (hop, asked)
}

/// Returns the kinds of the questions so far.
///
/// # Panics
/// Panics if the hop has panicked.
pub fn kinds(asked: &Asked) -> Vec<PromptKind> {
    let asked = asked.lock().expect("no panic");
    asked.iter().map(|prompt| prompt.kind).collect()
}
