//! Questions of a hop's program, answered by the program that requested the hop.

use crate::call::handler::{Handler, MessageOrigin, Registration};
use crate::context::Context;
use offshoot_codec::Secret;
use offshoot_proto::connect::dialogue::{Reaction, Rule};
use offshoot_proto::message::prompt::{PromptKind, PromptRequest};
use offshoot_proto::routing::Policy;
use offshoot_proto::{ConnectErrorKind, Error, Handle, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Maximum number of questions of one hop that are passed on. Behind it is a host, which must not
/// ask a person without end.
const MAX_PROMPTS: u32 = 20;

/// A question of a hop's program, such as ssh or sudo; see
/// [`Hop::on_prompt`](crate::Hop::on_prompt).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Prompt {
    /// The name of the context that the hop leads to.
    pub context: String,
    /// The hop as an operator writes it, such as `ssh:web1`.
    pub hop: String,
    /// The answer that it asks for.
    pub kind: PromptKind,
    /// The lines of the question; the last one is the prompt. The program of the hop has written
    /// them, or the host that it leads to, so they prove nothing.
    pub lines: Vec<String>,
}

/// Answers questions.
pub(crate) type Answer = Arc<dyn Fn(&Prompt) -> Option<Secret> + Send + Sync>;

/// Lets a rule for a question without an answer ask whoever answers questions.
pub(crate) fn ask_instead(rule: &mut Rule) {
    let kind = match &rule.reaction {
        Reaction::Answer(None) => PromptKind::Password,
        Reaction::Explain(why) if why.kind == ConnectErrorKind::Question => PromptKind::Other,
        _ => return,
    };
    if rule.asked {
        rule.reaction = Reaction::Ask(kind);
    }
}

/// Answers the questions of one hop from `parent` until the registration is dropped. Only `parent`
/// can ask them.
///
/// # Errors
/// Returns an error if the tree is shut down.
pub(crate) fn answer_prompts(
    parent: &Context,
    context: &str,
    hop: &str,
    answer: Answer,
) -> Result<Registration> {
    let (from, context, hop) = (parent.id(), context.to_owned(), hop.to_owned());
    let count = AtomicU32::new(0);
    let act = move |_: &Context, origin: MessageOrigin, request: PromptRequest| {
        if origin.from != from || count.fetch_add(1, Ordering::Relaxed) >= MAX_PROMPTS {
            return None;
        }
        answer(&Prompt {
            context: context.clone(),
            hop: hop.clone(),
            kind: request.kind,
            lines: request
                .text
                .lines()
                .map(|line| line.trim().to_owned())
                .collect(),
        })
    };
    let node = parent.node();
    node.with(|core| {
        if core.stopped {
            return Err(Error::ShutDown);
        }
        let handle = Handle(core.new_number(Handle::NONE));
        core.offer(
            handle,
            Policy::Descendants,
            Arc::new(Handler::new(node, act)),
        );
        Ok(Registration::new(node, handle))
    })
}
