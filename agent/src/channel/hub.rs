//! The hub of a channel or pipe, in the process that created it: receives from the writers and
//! forwards to the reader. Each end is a flow to the hub from any context, so that sending an end
//! means sending the address of the hub and the key that opens it.
//!
//! A hub outlives the call that created it. It is dropped when the reader closes, or when every
//! writer has closed and the reader has received end of stream. An agent whose functions use no
//! channels or pipes does not contain this code.

use crate::channel::hub_state::COPIES;
use crate::channel::hub_state::GIVEN_UP;
use crate::channel::hub_state::HubState;
use crate::channel::hub_state::Input;
use crate::channel::hub_state::Output;
use crate::channel::hub_state::is_of_call;
use crate::context::Context;
use crate::context::disclosures::DisclosureLog;
use crate::runtime::extensions::locked;
use crate::runtime::state::CustomService;
use crate::runtime::state::Endpoint;
use crate::runtime::state::FlowHandler;
use crate::runtime::state::NodeState;
use crate::runtime::state::Request;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Handle;
use offshoot_proto::Reason;
use offshoot_proto::Result;
use offshoot_proto::flow::longest_of;
use offshoot_proto::message::channel::Address;
use offshoot_proto::message::channel::EndpointRole;
use offshoot_proto::message::channel::GREETING;
use offshoot_proto::message::channel::LOST;
use offshoot_proto::message::channel::greeting;
use offshoot_proto::message::record::record;
use offshoot_proto::message::record::take_record;
use offshoot_proto::routing::Policy;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

/// Returns a new number for a copy of a sender. Its lowest bit says that the copy belongs to a
/// call.
pub(crate) fn new_copy(of_call: bool) -> u64 {
    u64::from_le_bytes(offshoot_sys::random()) & !1 | u64::from(of_call)
}

/// Returns how a call with this error was cancelled: the milliseconds of its deadline, or 0 for
/// another reason. None for calls that ended in another way.
pub(crate) fn given_up(error: &Error) -> Option<u64> {
    match error {
        Error::TimedOut { after_ms, .. } => Some(*after_ms),
        Error::Cancelled { .. } => Some(0),
        _ => None,
    }
}

/// The hub of one channel or pipe.
pub(crate) struct Hub {
    /// The address for its writers.
    pub address: Address,
    /// The key of the reader: a sender must not be able to receive the messages of others.
    reader_key: u64,
    /// True for messages from any number of senders, false for bytes from one writer.
    messages: bool,
    state: Mutex<HubState>,
    told: DisclosureLog,
}

impl Hub {
    /// Creates a hub at the node of `context`.
    pub(crate) fn open(context: &Context, messages: bool) -> Result<Arc<Self>> {
        let [key, reader_key] = [(); 2].map(|()| u64::from_le_bytes(offshoot_sys::random()));
        let told = DisclosureLog::of(context);
        context.node().with(|core| {
            if core.stopped {
                return Err(Error::ShutDown);
            }
            let number = core.new_number(Handle::FIRST_HUB);
            let state = HubState {
                inputs: Vec::new(),
                output: Output::Expected,
                pending: Vec::new(),
                copies: 0,
                left: BTreeSet::new(),
                early: BTreeSet::new(),
                begun: false,
                broken: None,
                named: BTreeSet::new(),
                over: false,
            };
            let address = Address {
                context: core.node.id(),
                number,
                key,
            };
            let hub = Arc::new(Self {
                address,
                reader_key,
                messages,
                state: Mutex::new(state),
                told,
            });
            core.offer(address.door(), Policy::Anyone, Arc::clone(&hub) as _);
            Ok(hub)
        })
    }

    fn lock(&self) -> MutexGuard<'_, HubState> {
        locked(&self.state)
    }

    /// Returns the address for an end.
    pub(crate) fn opens(&self, role: EndpointRole) -> Address {
        match role {
            EndpointRole::Writer => self.address,
            EndpointRole::Reader => Address {
                key: self.reader_key,
                ..self.address
            },
        }
    }

    /// Removes the hub if it has nothing left to do.
    fn look(&self, core: &mut NodeState, state: &mut HubState) {
        state.flush(core);
        let closed = state.inputs.iter().all(|input| input.closed);
        let done = state.begun && closed && state.copies == 0;
        match state.output {
            Output::Flow(flow) if done => {
                core.append(flow, std::mem::take(&mut state.pending), true, false);
                core.endpoints.remove(&flow);
            }
            Output::Gone => {}
            _ => return,
        }
        if !std::mem::replace(&mut state.over, true) {
            for input in std::mem::take(&mut state.inputs) {
                core.node
                    .reset(input.flow, Reason::Cancelled, "the receiver is gone");
                core.forget(input.flow);
            }
            core.withdraw(self.address.door());
        }
    }

    /// Handles an end that was never used: dropped here, or sent with a call that ignored it.
    pub(crate) fn unused(&self, core: &mut NodeState, role: EndpointRole, why: &str) {
        let mut state = self.lock();
        match (role, &state.output) {
            (EndpointRole::Writer, _) => {
                state.begun = true;
                if !self.messages {
                    state
                        .broken
                        .get_or_insert_with(|| (Reason::Cancelled, why.into()));
                    state.break_off(core);
                }
            }
            (EndpointRole::Reader, Output::Expected) => state.output = Output::Gone,
            (EndpointRole::Reader, _) => {}
        }
        self.look(core, &mut state);
    }

    fn greeted(
        self: &Arc<Self>,
        core: &mut NodeState,
        flow: FlowKey,
        request: &Request,
    ) -> std::result::Result<EndpointRole, &'static str> {
        let (role, key, copy) = greeting(&request.bytes).ok_or("its greeting is not valid")?;
        if key != self.opens(role).key {
            return Err("it has a wrong key");
        }
        let mut state = self.lock();
        if state.over {
            return Err("the receiver is gone");
        }
        if role == EndpointRole::Reader {
            if !matches!(state.output, Output::Expected) {
                return Err("it has a reader");
            }
            state.output = Output::Flow(flow);
            for id in std::mem::take(&mut state.named) {
                self.told.tell(core, flow.peer, id, None);
            }
            let pending = std::mem::take(&mut state.pending);
            core.append(flow, pending, false, false);
            state.pay(core);
            return Ok(EndpointRole::Reader);
        }
        if !self.messages && state.begun {
            return Err("it has a writer");
        }
        state.begun = true;
        let parent = state
            .inputs
            .iter_mut()
            .find_map(|input| input.copies.remove(&copy).then_some(input.flow));
        if parent.is_some() || state.left.remove(&copy) {
            state.copies -= 1;
        } else if copy != 0 && state.early.len() < COPIES {
            state.early.insert(copy);
        }
        let obeyed = core
            .node
            .permits(Policy::Ancestors, flow.peer, request.auth);
        let limit = longest_of(obeyed);
        let from = if obeyed { request.auth } else { flow.peer };
        let parent = parent.filter(|_| is_of_call(copy));
        let (partial, copies) = (Vec::new(), BTreeSet::new());
        state.inputs.push(Input {
            flow,
            from,
            copy,
            parent,
            partial,
            owed: 0,
            limit,
            closed: false,
            copies,
        });
        Ok(EndpointRole::Writer)
    }
}

impl CustomService for Hub {
    fn names(&self, core: &NodeState, contexts: &[ContextId]) {
        let mut state = self.lock();
        match state.output {
            Output::Flow(flow) => contexts
                .iter()
                .for_each(|id| self.told.tell(core, flow.peer, *id, None)),
            Output::Expected => state.named.extend(contexts),
            Output::Gone => {}
        }
    }

    fn opened(self: Arc<Self>, core: &mut NodeState, flow: FlowKey, request: Request, end: bool) {
        match self.greeted(core, flow, &request) {
            Err(why) => core.node.reset(flow, Reason::Refused, why),
            Ok(role) => {
                core.endpoints
                    .insert(flow, Endpoint::Handler(Arc::clone(&self) as _));
                core.node.consume(flow, GREETING);
                if role == EndpointRole::Writer {
                    self.data(core, flow, request.bytes[GREETING..].to_vec(), end);
                } else {
                    let mut state = self.lock();
                    state.break_off(core);
                    self.look(core, &mut state);
                }
            }
        }
    }
}

impl FlowHandler for Hub {
    fn data(&self, core: &mut NodeState, flow: FlowKey, bytes: Vec<u8>, end: bool) {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(at) = state.inputs.iter().position(|input| input.flow == flow) else {
            return;
        };
        state.inputs[at].owed += bytes.len();
        if self.messages {
            let input = &mut state.inputs[at];
            input.partial.extend_from_slice(&bytes);
            let (mut partial, limit) = (std::mem::take(&mut input.partial), input.limit);
            let mut done = 0;
            let too_long = loop {
                match take_record(&mut partial, &mut done, limit) {
                    Ok(Some((kind, content))) => state.take(core, flow, kind, &content),
                    Ok(None) => break false,
                    Err(_) => break true,
                }
            };
            if too_long {
                let said = "the message is too large for its receiver";
                let detail = format!("a message of over {limit} bytes");
                let error = |context| Error::Undelivered {
                    context,
                    reason: Reason::TooLarge,
                    detail,
                };
                state.lose(core, flow, Reason::TooLarge, said, error);
            }
            // The record may have ended the sender.
            let Some(input) = state.inputs.iter_mut().find(|input| input.flow == flow) else {
                state.pay(core);
                return self.look(core, state);
            };
            input.partial = partial;
        } else {
            state.forward(bytes);
        }
        state.pay(core);
        if end && let Some(input) = state.remove(flow) {
            // Copies inside its messages may still be in transit.
            state.copies += input.copies.len();
            state.left.extend(input.copies);
            core.send_all(flow, Vec::new(), false);
            core.endpoints.remove(&flow);
        }
        if self.messages || end {
            self.look(core, state);
        }
    }

    fn room(&self, core: &mut NodeState, flow: FlowKey) {
        core.go_on(flow);
        self.lock().pay(core);
    }

    fn closed(&self, core: &mut NodeState, flow: FlowKey, error: &Error) {
        let mut state = self.lock();
        if matches!(state.output, Output::Flow(output) if output == flow) {
            state.output = Output::Gone;
        } else if let Some(input) = state.remove(flow) {
            if self.messages && input.closed {
                // It was closed before, so that nothing is lost.
            } else if self.messages {
                let lost = offshoot_codec::own(error);
                state.forward(record(LOST, &lost));
            } else {
                // A byte stream can report an error only as its end.
                state.broken = Some(match error {
                    Error::Undelivered { reason, detail, .. } => (*reason, detail.clone()),
                    error => (Reason::Lost, error.to_string()),
                });
                state.break_off(core);
            }
        }
        state.pay(core);
        self.look(core, &mut state);
    }
}

impl Hub {
    /// Handles the end of the call that an end was sent with, and the error of the call if it
    /// failed. An end that has not connected by now never will; if the call was cancelled, the end
    /// is reset.
    pub(crate) fn missed(&self, core: &mut NodeState, role: EndpointRole, error: Option<&Error>) {
        let mut state = self.lock();
        let heard_of = match role {
            EndpointRole::Writer => state.begun,
            EndpointRole::Reader => !matches!(state.output, Output::Expected),
        };
        if !heard_of {
            drop(state);
            return self.unused(
                core,
                role,
                "the call that its writer was sent with did not use it",
            );
        }
        let Some((error, after_ms)) = error.and_then(|error| Some((error, given_up(error)?)))
        else {
            return;
        };
        let reason = if after_ms == 0 {
            Reason::Cancelled
        } else {
            Reason::Late
        };
        let flows: Vec<FlowKey> = match (role, &state.output) {
            (EndpointRole::Writer, _) => state.inputs.iter().map(|input| input.flow).collect(),
            (EndpointRole::Reader, Output::Flow(flow)) => vec![*flow],
            (EndpointRole::Reader, _) => Vec::new(),
        };
        for flow in flows {
            core.node.reset(flow, reason, GIVEN_UP);
            core.forget(flow);
            if role == EndpointRole::Writer && state.remove(flow).is_some() {
                state.broken = Some((
                    reason,
                    format!("the call that its writer was sent with: {error}"),
                ));
                state.break_off(core);
            } else {
                state.output = Output::Gone;
            }
        }
        self.look(core, &mut state);
    }
}
