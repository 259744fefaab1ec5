//! The scope of a running call and of everything that is started on its behalf: its state and its
//! deadline.
//!
//! A scope never acts by itself. The code that ends it (the broker, after a cancellation or a
//! deadline) sets the state here and then ends its flows; functions and waits check the state.

use offshoot_codec::MAX_MESSAGE;
use offshoot_proto::Error;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// No deadline.
pub(crate) const NEVER: u64 = u64::MAX;

/// The state of a scope.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum CallState {
    /// The call goes on.
    Running = 0,
    /// The call has ended. Values that it made and that still exist belong to their holders alone.
    Finished = 1,
    /// The caller has cancelled it.
    Cancelled = 2,
    /// Its deadline has passed.
    TimedOut = 3,
    /// The context that runs it ends.
    Gone = 4,
}

/// Called when a scope is cancelled or late. Returns another scope that now ends as well, if any.
type Hook = Box<dyn Fn() -> Option<Arc<Scope>> + Send + Sync>;

/// A running call, or a time limit that a program has set for its own calls.
pub(crate) struct Scope {
    parent: Option<Arc<Self>>,
    /// The deadline, on the node's clock.
    deadline: AtomicU64,
    /// The time limit that was set, for messages.
    allowed_ms: u64,
    /// The longest accepted reply, in bytes.
    longest: usize,
    stand: AtomicU8,
    hook: OnceLock<Hook>,
}

impl Scope {
    /// Returns a scope within `parent`. It ends at `deadline` ([`NEVER`] for none), which is
    /// `allowed_ms` from now.
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

    /// Returns a scope within `parent` that accepts no longer replies than this.
    pub(crate) fn of_bytes(parent: Option<Arc<Self>>, longest: usize) -> Self {
        Self {
            longest,
            ..Self::new(parent, NEVER, 0)
        }
    }

    /// Returns the longest accepted reply, in bytes.
    pub(crate) fn longest(&self) -> usize {
        let all = std::iter::successors(Some(self), |&scope| scope.parent.as_deref());
        all.map(|scope| scope.longest).min().unwrap_or(MAX_MESSAGE)
    }

    /// Sets the hook of a caller that shares a run with others: it tells whether the last of them
    /// has cancelled.
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

    /// Ends the scope. Returns true if it was running; only the first end counts.
    pub(crate) fn end(&self, stand: CallState) -> bool {
        let (going, stand) = (CallState::Running as u8, stand as u8);
        self.stand
            .compare_exchange(going, stand, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Returns true if others share its run, which then continues after the end of this scope.
    pub(crate) fn is_one_of_many(&self) -> bool {
        self.hook.get().is_some()
    }

    /// Returns the scope that ends because this one was cancelled.
    pub(crate) fn linked_scope(&self) -> Option<Arc<Self>> {
        self.hook.get().and_then(|hook| hook())
    }

    /// Returns this scope and those around it, up to the first that has finished.
    fn active_ancestors(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |&scope| scope.parent.as_deref())
            .take_while(|scope| scope.own_stand() != CallState::Finished)
    }

    /// Returns true if it is `other` or within it.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.active_ancestors()
            .any(|scope| std::ptr::eq(scope, other))
    }

    /// Returns the earliest deadline of the active scopes, and its time limit.
    pub(crate) fn deadline(&self) -> (u64, u64) {
        let times = self
            .active_ancestors()
            .map(|scope| (scope.deadline.load(Ordering::Relaxed), scope.allowed_ms));
        times.min().unwrap_or((NEVER, 0))
    }

    /// Returns the earliest deadline of this scope and all around it, including finished ones.
    pub(crate) fn due(&self) -> u64 {
        let all = std::iter::successors(Some(self), |&scope| scope.parent.as_deref());
        all.map(|scope| scope.deadline.load(Ordering::Relaxed))
            .min()
            .unwrap_or(NEVER)
    }

    /// Returns the error of a scope that has ended, about the context called `name`.
    pub(crate) fn refusal(&self, name: &str) -> Option<Error> {
        let ended = self
            .active_ancestors()
            .find(|scope| scope.own_stand() != CallState::Running)?;
        Some(ended.error(name, ended.own_stand()))
    }

    /// Returns the error for a scope that ended this way, about the context called `name`.
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
