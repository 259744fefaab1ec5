//! What a running call, and everything that is started on its behalf, have in common: whether it
//! still matters to anyone, and until when.
//!
//! A scope never acts by itself. Whoever ends one (the broker, when the caller gives up or the time
//! is over) says so here and then ends what belongs to it; functions and waits look here.

use offshoot_codec::MAX_MESSAGE;
use offshoot_proto::Error;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// No deadline.
pub(crate) const NEVER: u64 = u64::MAX;

/// Where a scope stands.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum CallState {
    /// The call goes on.
    Running = 0,
    /// The call has ended: whatever was made in it and is still there is nobody's but its holder's.
    Finished = 1,
    /// The caller has given it up.
    Cancelled = 2,
    /// Its time is over.
    TimedOut = 3,
    /// The context in which it runs ends.
    Gone = 4,
}

/// Asked when a scope is cancelled or late: the scope that now ends as well, if any.
type Hook = Box<dyn Fn() -> Option<Arc<Scope>> + Send + Sync>;

/// A running call, or a span of time that a program has given to some of its own.
pub(crate) struct Scope {
    parent: Option<Arc<Self>>,
    /// When it must have ended, in the node's own time.
    deadline: AtomicU64,
    /// How long that was when it was set, for messages.
    allowed_ms: u64,
    /// The longest answer that is taken in it.
    longest: usize,
    stand: AtomicU8,
    hook: OnceLock<Hook>,
}

impl Scope {
    /// A scope within `parent`, that ends at `deadline` ([`NEVER`] for not at all), `allowed_ms`
    /// from now.
    pub(crate) fn new(parent: Option<Arc<Self>>, deadline: u64, allowed_ms: u64) -> Self {
        Self {
            parent,
            deadline: AtomicU64::new(deadline),
            allowed_ms,
            longest: MAX_MESSAGE,
            stand: AtomicU8::new(CallState::Running as u8),
            hook: OnceLock::new(),
        }
    }

    /// A scope within `parent` that takes no longer answers than this.
    pub(crate) fn of_bytes(parent: Option<Arc<Self>>, longest: usize) -> Self {
        Self {
            longest,
            ..Self::new(parent, NEVER, 0)
        }
    }

    /// The longest answer that is taken in it.
    pub(crate) fn longest(&self) -> usize {
        let all = std::iter::successors(Some(self), |&scope| scope.parent.as_deref());
        all.map(|scope| scope.longest).min().unwrap_or(MAX_MESSAGE)
    }

    /// For one of several who ask for the same: `hook` is asked whether the last of them has gone.
    pub(crate) fn set_hook(&self, hook: impl Fn() -> Option<Arc<Self>> + Send + Sync + 'static) {
        let _only_once = self.hook.set(Box::new(hook));
    }

    fn own_stand(&self) -> CallState {
        match self.stand.load(Ordering::Acquire) {
            0 => CallState::Running,
            1 => CallState::Finished,
            2 => CallState::Cancelled,
            3 => CallState::TimedOut,
            _ => CallState::Gone,
        }
    }

    /// Ends it; the first end counts. Whether this was the first.
    pub(crate) fn end(&self, stand: CallState) -> bool {
        let (going, stand) = (CallState::Running as u8, stand as u8);
        self.stand
            .compare_exchange(going, stand, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Whether others ask for the same run, so that the end of this one is not the end of that.
    pub(crate) fn is_one_of_many(&self) -> bool {
        self.hook.get().is_some()
    }

    /// The scope that ends because this one was cancelled.
    pub(crate) fn linked_scope(&self) -> Option<Arc<Self>> {
        self.hook.get().and_then(|hook| hook())
    }

    /// Those that count: this one and those around it, up to one that is over.
    fn active_ancestors(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |&scope| scope.parent.as_deref())
            .take_while(|scope| scope.own_stand() != CallState::Finished)
    }

    /// Whether it is `other`, or within it.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.active_ancestors()
            .any(|scope| std::ptr::eq(scope, other))
    }

    /// When everything in it must have ended, and how long that was.
    pub(crate) fn deadline(&self) -> (u64, u64) {
        let times = self
            .active_ancestors()
            .map(|scope| (scope.deadline.load(Ordering::Relaxed), scope.allowed_ms));
        times.min().unwrap_or((NEVER, 0))
    }

    /// The same whoever of them is over: by when somebody was to look.
    pub(crate) fn due(&self) -> u64 {
        let all = std::iter::successors(Some(self), |&scope| scope.parent.as_deref());
        all.map(|scope| scope.deadline.load(Ordering::Relaxed))
            .min()
            .unwrap_or(NEVER)
    }

    /// Why nothing more is to be done in it, if so: an error about the context called `name`.
    pub(crate) fn refusal(&self, name: &str) -> Option<Error> {
        let ended = self
            .active_ancestors()
            .find(|scope| scope.own_stand() != CallState::Running)?;
        Some(ended.error(name, ended.own_stand()))
    }

    /// What is said of the context called `name` when the scope was ended that way.
    pub(crate) fn error(&self, name: &str, stand: CallState) -> Error {
        match stand {
            CallState::TimedOut => Error::TimedOut {
                context: name.into(),
                after_ms: self.deadline().1,
            },
            CallState::Gone => Error::ShutDown,
            _ => Error::Cancelled {
                context: name.into(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_deadline_of_unfinished_scopes_applies() {
        let outer = Arc::new(Scope::new(None, 100, 70));
        let inner = Scope::new(Some(Arc::clone(&outer)), 200, 90);
        assert_eq!(inner.deadline(), (100, 70));
        assert!(inner.is_within(&outer) && inner.is_within(&inner) && !outer.is_within(&inner));
        assert!(outer.end(CallState::Finished));
        assert_eq!(inner.deadline(), (200, 90));
        assert!(!inner.is_within(&outer) && inner.refusal("x").is_none());
    }

    #[test]
    fn the_first_end_of_a_scope_wins_and_reaches_nested_scopes() {
        let outer = Arc::new(Scope::new(None, NEVER, 0));
        let inner = Scope::new(Some(Arc::clone(&outer)), NEVER, 0);
        assert!(inner.refusal("x").is_none());
        assert!(
            outer.end(CallState::Cancelled)
                && !outer.end(CallState::TimedOut)
                && !outer.end(CallState::Finished)
        );
        assert_eq!(
            inner.refusal("x"),
            Some(Error::Cancelled {
                context: "x".into()
            })
        );
        let life = Arc::new(Scope::new(None, NEVER, 0));
        let call = Scope::new(Some(Arc::clone(&life)), 100, 70);
        assert!(life.end(CallState::Gone) && call.deadline() == (100, 70));
        assert_eq!(call.refusal("x"), Some(Error::ShutDown));
    }
}
