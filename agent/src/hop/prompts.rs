//! Questions of a hop's program, answered by the program that requested the hop.

use crate::call::handler::{Handler, MessageOrigin, Registration};
use crate::context::Context;
use crate::runtime::extensions::locked;
use crate::runtime::latch::Latch;
use offshoot_codec::Secret;
use offshoot_proto::connect::dialogue::{Reaction, Rule};
use offshoot_proto::message::prompt::{PromptKind, PromptRequest};
use offshoot_proto::routing::Policy;
use offshoot_proto::text::shortened;
use offshoot_proto::{ConnectErrorKind, Error, Handle, Result};
use std::fmt;
use std::sync::{Arc, Mutex};

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
    withdrawal: Withdrawal,
}

impl Prompt {
    /// Returns true if no answer is wanted any more, because the hop has ended, or its program asks
    /// something else. Such a question should not be put to a person.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawal.0.get().is_some()
    }

    /// Calls `notify` once no answer is wanted any more, at once if that is so already. It may be
    /// called after an answer as well. It must not block.
    pub fn on_withdrawal(&self, notify: impl FnOnce() + Send + 'static) {
        self.withdrawal.0.then(|()| notify());
    }
}

/// Set once a question is withdrawn. The clones belong to one question.
#[derive(Clone, Default)]
struct Withdrawal(Arc<Latch<()>>);

impl PartialEq for Withdrawal {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Withdrawal {}

impl fmt::Debug for Withdrawal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Withdrawal({})", self.0.get().is_some())
    }
}

/// The questions of one hop. They are answered until this is dropped, which withdraws the open one.
pub(crate) struct Prompts {
    registration: Registration,
    asked: Arc<Mutex<Asked>>,
}

/// The questions that a hop has asked.
#[derive(Default)]
struct Asked {
    /// Their number.
    count: u32,
    /// The number of the last one, as its program counts.
    last: u32,
    /// The last one.
    open: Withdrawal,
    /// True once the hop is up or has failed.
    over: bool,
    /// The reason why the last one has no answer, and advice.
    refusal: Option<(String, &'static str)>,
}

impl Prompts {
    /// Returns the handle that the questions are sent to.
    pub(crate) fn handle(&self) -> Handle {
        self.registration.handle()
    }

    /// Withdraws the open question. Returns `error` with the reason why a question has no answer,
    /// if the hop has failed because of that: only this program knows it.
    pub(crate) fn explain(self, mut error: Error) -> Error {
        let refusal = locked(&self.asked).refusal.take();
        if let (Error::Connect(error), Some((detail, hint))) = (&mut error, refusal)
            && error.kind == ConnectErrorKind::Question
        {
            (error.detail, error.hint) = (detail, hint.into());
        }
        error
    }
}

impl Drop for Prompts {
    fn drop(&mut self) {
        let mut asked = locked(&self.asked);
        asked.over = true;
        let open = asked.open.clone();
        drop(asked);
        open.0.set(());
    }
}

/// Returns the reason why a hop fails whose question was declined.
fn declined(prompt: &Prompt) -> (String, &'static str) {
    let question = prompt.lines.last().map_or("", String::as_str);
    // The random number in a prompt of our own means nothing to a person.
    let ours = question
        .split_once("[offshoot ")
        .and_then(|(_, rest)| rest.split_once(']'));
    let question = ours.map_or(question, |(_, rest)| rest.trim());
    (
        format!("its question \"{}\" was declined", shortened(question, 200)),
        "answer it when it is asked, or use a way that asks nothing",
    )
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

/// Answers the questions of one hop from `parent`. Only `parent` can ask them.
///
/// # Errors
/// Returns an error if the tree is shut down.
pub(crate) fn answer_prompts(
    parent: &Context,
    context: &str,
    hop: &str,
    answer: Answer,
) -> Result<Prompts> {
    let (from, context, hop) = (parent.id(), context.to_owned(), hop.to_owned());
    let asked = Arc::new(Mutex::new(Asked::default()));
    let ours = Arc::clone(&asked);
    let act = move |_: &Context, origin: MessageOrigin, request: PromptRequest| {
        if origin.from != from {
            return None;
        }
        let prompt = Prompt {
            context: context.clone(),
            hop: hop.clone(),
            kind: request.kind,
            lines: request
                .text
                .lines()
                .map(|line| line.trim().to_owned())
                .collect(),
            withdrawal: Withdrawal::default(),
        };
        let before = begin(&mut locked(&ours), request.number, &prompt)?;
        before.0.set(());
        let answer = answer(&prompt);
        if answer.is_none() && prompt.kind != PromptKind::Touch && !prompt.is_withdrawn() {
            locked(&ours).refusal = Some(declined(&prompt));
        }
        answer
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
        let registration = Registration::new(node, handle);
        Ok(Prompts {
            registration,
            asked,
        })
    })
}

/// Records a question. Returns the one that it replaces, to be withdrawn. Returns `None` if it is
/// not to be asked: the hop is over, it has asked too much, or a later question was here first.
fn begin(asked: &mut Asked, number: u32, prompt: &Prompt) -> Option<Withdrawal> {
    let is_touch = prompt.kind == PromptKind::Touch;
    if asked.over || number < asked.last {
        return None;
    }
    if asked.count >= MAX_PROMPTS {
        asked.refusal = Some((
            format!("it asked more than {MAX_PROMPTS} times"),
            "see why its program does not accept the answers",
        ));
        return None;
    }
    asked.count += 1;
    if is_touch {
        return Some(Withdrawal::default());
    }
    (asked.last, asked.refusal) = (number, None);
    Some(std::mem::replace(
        &mut asked.open,
        prompt.withdrawal.clone(),
    ))
}
