//! The caller's end of a chain: its flow, and the pending replies.

use crate::runtime::extensions::locked;
use crate::runtime::handle::NodeHandle;
use crate::runtime::scope::{CallState, Scope};
use crate::runtime::slot::ReplySlot;
use crate::runtime::state::{FlowHandler, NodeState, Wake};
use offshoot_codec::MAX_MESSAGE;
use offshoot_proto::message::chain::CANCEL;
use offshoot_proto::message::record::{record, take_record};
use offshoot_proto::{Error, FlowKey, Reason};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

/// The flow of a chain, and the slots of its replies.
pub(crate) struct ChainFlow {
    pub shared: Arc<NodeHandle>,
    pub flow: FlowKey,
    pub replies: Arc<Replies>,
}

pub(crate) struct Replies {
    pub state: Mutex<State>,
    pub scope: Option<Arc<Scope>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub waiting: VecDeque<Arc<ReplySlot>>,
    /// The number of the next call.
    pub next: u32,
    partial: Vec<u8>,
    pub over: Option<Error>,
}

impl ChainFlow {
    pub(crate) fn send(&self, record: Vec<u8>, end: bool) {
        self.shared
            .with(|core| core.append(self.flow, record, end, false));
    }

    /// Cancels one call.
    pub(crate) fn cancel(&self, number: u32) {
        self.send(record(CANCEL, &number.to_le_bytes()), false);
    }
}

impl Drop for ChainFlow {
    fn drop(&mut self) {
        self.send(Vec::new(), true);
    }
}

impl Replies {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Fails all pending replies.
    fn over(&self, core: &mut NodeState, error: &Error) {
        let mut state = self.lock();
        state.over.get_or_insert(error.clone());
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        core.wakes.extend(
            waiting
                .into_iter()
                .map(|slot| Wake::Reply(slot, Err(error.clone()))),
        );
    }
}

impl FlowHandler for Replies {
    fn is_timed(&self) -> bool {
        true
    }

    fn data(&self, core: &mut NodeState, flow: FlowKey, bytes: Vec<u8>, end: bool) {
        core.node.consume(flow, bytes.len());
        let mut state = self.lock();
        state.partial.extend_from_slice(&bytes);
        let mut at = 0;
        let broken = loop {
            let State {
                partial, waiting, ..
            } = &mut *state;
            match take_record(partial, &mut at, MAX_MESSAGE) {
                Ok(Some((_, reply))) => match waiting.pop_front() {
                    Some(slot) => core.wakes.push(Wake::Reply(slot, Ok(reply))),
                    None => break true,
                },
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        drop(state);
        if broken {
            core.node
                .reset(flow, Reason::Cancelled, "unexpected replies");
        }
        if broken || end {
            core.forget(flow);
            let context = core.name_of(flow.peer).to_string();
            let detail = "the called context has ended the chain".into();
            self.over(
                core,
                &Error::Undelivered {
                    context,
                    reason: Reason::Cancelled,
                    detail,
                },
            );
        }
    }

    fn closed(&self, core: &mut NodeState, _: FlowKey, error: &Error) {
        self.over(core, error);
    }

    fn late(&self, core: &mut NodeState, flow: FlowKey, now: u64) {
        // Their late replies still arrive, in order, and are discarded.
        let name = core.name_of(flow.peer);
        for slot in &self.lock().waiting {
            if let Some(scope) = slot
                .scope
                .as_ref()
                .filter(|scope| scope.deadline().0 <= now)
            {
                core.wakes.push(Wake::Reply(
                    Arc::clone(slot),
                    Err(scope.error(&name, CallState::TimedOut)),
                ));
            }
        }
    }

    fn scope(&self) -> Option<&Arc<Scope>> {
        self.scope.as_ref()
    }
}
