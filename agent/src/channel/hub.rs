//! The hub of a channel or pipe, in the process that created it: receives from the writers and
//! forwards to the reader. Each end is a flow to the hub from any context, so that sending an end
//! means sending the address of the hub and the key that opens it.
//!
//! A hub outlives the call that created it. It is dropped when the reader closes, or when every
//! writer has closed and the reader has received end of stream. An agent whose functions use no
//! channels or pipes does not contain this code.

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
use offshoot_proto::flow::Longest;
use offshoot_proto::flow::longest_of;
use offshoot_proto::message::channel::Address;
use offshoot_proto::message::channel::CLOSED;
use offshoot_proto::message::channel::COPY;
use offshoot_proto::message::channel::EndpointRole;
use offshoot_proto::message::channel::FAILED;
use offshoot_proto::message::channel::GREETING;
use offshoot_proto::message::channel::LOSE;
use offshoot_proto::message::channel::LOST;
use offshoot_proto::message::channel::VALUE;
use offshoot_proto::message::channel::VOID;
use offshoot_proto::message::channel::greeting;
use offshoot_proto::message::record::record;
use offshoot_proto::message::record::take_record;
use offshoot_proto::routing::Policy;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

/// The reset text for ends whose call was cancelled.
const GIVEN_UP: &str = "the call that it came with was given up";

/// Returns a new number for a copy of a sender. Its lowest bit says that the copy belongs to a
/// call.
pub(crate) fn new_copy(of_call: bool) -> u64 {
    u64::from_le_bytes(offshoot_sys::random()) & !1 | u64::from(of_call)
}

fn is_of_call(copy: u64) -> bool {
    copy & 1 == 1
}

/// Returns the record of a message for the receiver.
fn message(from: ContextId, content: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(9 + content.len());
    message.extend_from_slice(&(4 + content.len() as u32).to_le_bytes());
    message.push(VALUE);
    message.extend_from_slice(&from.0.to_le_bytes());
    message.extend_from_slice(content);
    message
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

/// The bytes that may wait for the reader before writers get no more credit.
const HIGH: usize = 256 << 10;

/// The most bytes of an error text.
const TEXT_LIMIT: usize = 4 << 10;

/// The most copies of senders that may be in transit.
const COPIES: usize = 1 << 16;

/// A writer that is connected.
struct Input {
    flow: FlowKey,
    /// The context that messages come from: the ancestor on whose behalf they are sent, or the
    /// peer.
    from: ContextId,
    /// The number of its copy, and the writer that the copy was made of.
    copy: u64,
    parent: Option<FlowKey>,
    partial: Vec<u8>,
    /// Bytes that have arrived and were not credited yet.
    owed: usize,
    /// The most bytes of one message.
    limit: usize,
    /// True if it sends no more messages.
    closed: bool,
    /// Its copies in transit.
    copies: BTreeSet<u64>,
}

enum Output {
    /// The reader has not connected yet.
    Expected,
    Flow(FlowKey),
    Gone,
}

struct State {
    inputs: Vec<Input>,
    output: Output,
    /// Bytes for a reader that has not connected, or that has no credit.
    pending: Vec<u8>,
    /// The number of copies in transit, of all senders.
    copies: usize,
    /// The copies in transit whose senders have ended.
    left: BTreeSet<u64>,
    /// Copies that connected before they were announced.
    early: BTreeSet<u64>,
    /// True if there has been a writer.
    begun: bool,
    /// The way a byte stream broke off, for a reader that has not connected.
    broken: Option<(Reason, String)>,
    /// The contexts that messages of this process name, for a reader that has not connected.
    named: BTreeSet<ContextId>,
    over: bool,
}

/// The hub of one channel or pipe.
pub(crate) struct Hub {
    /// The address for its writers.
    pub address: Address,
    /// The key of the reader: a sender must not be able to receive the messages of others.
    reader_key: u64,
    /// True for messages from any number of senders, false for bytes from one writer.
    messages: bool,
    state: Mutex<State>,
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
            let state = State {
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

    fn lock(&self) -> MutexGuard<'_, State> {
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

    /// Queues bytes for the reader, until the next [`flush`](Self::flush).
    fn forward(state: &mut State, bytes: Vec<u8>) {
        match state.output {
            Output::Gone => {}
            _ if state.pending.is_empty() => state.pending = bytes,
            // One buffer: many small records cost no more memory than their bytes.
            _ => state.pending.extend_from_slice(&bytes),
        }
    }

    /// Sends the queued bytes to the reader, if it has taken the earlier ones.
    fn flush(core: &mut NodeState, state: &mut State) {
        if let Output::Flow(flow) = state.output
            && !state.pending.is_empty()
            && core.waiting(flow) == 0
        {
            core.append(flow, std::mem::take(&mut state.pending), false, false);
        }
    }

    /// Resets the flow of a sender that violated a rule, and tells the reader.
    fn lose(
        core: &mut NodeState,
        state: &mut State,
        flow: FlowKey,
        reason: Reason,
        said: &str,
        error: impl FnOnce(String) -> Error,
    ) {
        let Some(input) = state.remove(flow) else {
            return;
        };
        core.node.reset(flow, reason, said);
        core.forget(flow);
        if !input.closed {
            let error = error(core.name_of(flow.peer).to_string());
            Self::forward(state, record(LOST, &offshoot_codec::own(&error)));
        }
    }

    /// Resets the flow of a sender whose call was cancelled, and those of the copies that it passed
    /// to calls of its own.
    fn give_up(core: &mut NodeState, state: &mut State, flow: FlowKey, after_ms: u64) {
        let mut flows = vec![flow];
        while let Some(flow) = flows.pop() {
            flows.extend(
                state
                    .inputs
                    .iter()
                    .filter(|input| input.parent == Some(flow))
                    .map(|input| input.flow),
            );
            let (reason, error): (_, fn(String, u64) -> Error) = match after_ms {
                0 => (Reason::Cancelled, |context, _| Error::Cancelled { context }),
                _ => (Reason::Late, |context, after_ms| Error::TimedOut {
                    context,
                    after_ms,
                }),
            };
            Self::lose(core, state, flow, reason, GIVEN_UP, |context| {
                error(context, after_ms)
            });
        }
    }

    /// Gives writers credit for the bytes that were forwarded.
    fn pay(core: &mut NodeState, state: &mut State) {
        Self::flush(core, state);
        let waiting = match state.output {
            Output::Flow(flow) => state.pending.len() + core.waiting(flow),
            _ => state.pending.len(),
        };
        // Writers wait until the reader has caught up.
        if waiting >= HIGH {
            return;
        }
        let partials = state
            .inputs
            .iter()
            .map(|input| (input.flow, input.partial.len()));
        let longest = Longest::of(partials);
        for input in &mut state.inputs {
            if input.owed > 0 && longest.lets(input.flow, input.partial.len()) {
                core.node.take(
                    input.flow,
                    std::mem::take(&mut input.owed),
                    input.partial.len(),
                );
            }
        }
    }

    /// Tells the reader how a byte stream broke off, once both are known.
    fn break_off(core: &mut NodeState, state: &mut State) {
        if let (Output::Flow(output), Some((reason, text))) = (&state.output, &state.broken) {
            core.node.reset(*output, *reason, text);
            core.forget(*output);
            state.output = Output::Gone;
        }
    }

    /// Removes the hub if it has nothing left to do.
    fn look(&self, core: &mut NodeState, state: &mut State) {
        Self::flush(core, state);
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
                    Self::break_off(core, &mut state);
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
        let (role, key, copy) = greeting(&request.bytes).ok_or("it does not say who it is")?;
        if key != self.opens(role).key {
            return Err("it does not know the key");
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
            Self::pay(core, &mut state);
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

    /// Handles a whole record of a sender.
    fn take(core: &mut NodeState, state: &mut State, from: FlowKey, kind: u8, content: &[u8]) {
        let Some(sender) = state.inputs.iter_mut().find(|input| input.flow == from) else {
            return;
        };
        // Reports about copies still count after the sender has closed.
        if sender.closed && kind != VOID && kind != LOSE {
            return;
        }
        match kind {
            CLOSED => sender.closed = true,
            VALUE => {
                let from = sender.from;
                Self::forward(state, message(from, content));
            }
            FAILED => {
                let text = String::from_utf8_lossy(content);
                let said = (
                    core.name_of(from.peer).to_string(),
                    offshoot_proto::text::shortened(&text, TEXT_LIMIT),
                );
                let said = offshoot_codec::own(&said);
                Self::forward(state, record(FAILED, &said));
            }
            LOSE => {
                let Some((copy, after_ms)) = content.split_first_chunk() else {
                    return;
                };
                let copy = u64::from_le_bytes(*copy);
                let after_ms = after_ms.try_into().map_or(0, u64::from_le_bytes);
                state.copies -= usize::from(sender.copies.remove(&copy));
                let came = state
                    .inputs
                    .iter()
                    .find(|input| input.copy == copy && copy != 0);
                if let Some(flow) = came.map(|input| input.flow) {
                    Self::give_up(core, state, flow, after_ms);
                }
            }
            COPY | VOID => {
                let copy = content.try_into().map_or(0, u64::from_le_bytes);
                if state.early.remove(&copy) {
                    // The copy connected before this announcement.
                    if let Some(input) = state.inputs.iter_mut().find(|input| input.copy == copy) {
                        input.parent = Some(from).filter(|_| is_of_call(copy));
                    }
                } else if kind == VOID {
                    state.copies -= usize::from(sender.copies.remove(&copy));
                } else {
                    state.copies += usize::from(sender.copies.insert(copy));
                    if state.copies > COPIES
                        && let Some(most) = state.with_most_copies()
                    {
                        let detail = format!("over {COPIES} copies of senders at once");
                        let error = |context| Error::Undelivered {
                            context,
                            reason: Reason::QueueFull,
                            detail,
                        };
                        Self::lose(
                            core,
                            state,
                            most,
                            Reason::QueueFull,
                            "too many copies",
                            error,
                        );
                    }
                }
            }
            _ => {}
        }
    }
}

impl State {
    /// Removes a sender and its copies in transit, about which nobody will report any more.
    fn remove(&mut self, flow: FlowKey) -> Option<Input> {
        let at = self.inputs.iter().position(|input| input.flow == flow)?;
        let input = self.inputs.remove(at);
        self.copies -= input.copies.len();
        Some(input)
    }

    /// Returns a sender of the context that has the most copies in transit.
    fn with_most_copies(&self) -> Option<FlowKey> {
        let mut all = BTreeMap::new();
        for input in &self.inputs {
            *all.entry(input.flow.peer).or_insert(0) += input.copies.len();
        }
        let most = self
            .inputs
            .iter()
            .max_by_key(|input| (all.get(&input.flow.peer), input.copies.len()));
        most.map(|input| input.flow)
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
                    Self::break_off(core, &mut state);
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
                    Ok(Some((kind, content))) => Self::take(core, state, flow, kind, &content),
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
                Self::lose(core, state, flow, Reason::TooLarge, said, error);
            }
            // The record may have ended the sender.
            let Some(input) = state.inputs.iter_mut().find(|input| input.flow == flow) else {
                Self::pay(core, state);
                return self.look(core, state);
            };
            input.partial = partial;
        } else {
            Self::forward(state, bytes);
        }
        Self::pay(core, state);
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
        Self::pay(core, &mut self.lock());
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
                Self::forward(&mut state, record(LOST, &lost));
            } else {
                // A byte stream can report an error only as its end.
                state.broken = Some(match error {
                    Error::Undelivered { reason, detail, .. } => (*reason, detail.clone()),
                    error => (Reason::Lost, error.to_string()),
                });
                Self::break_off(core, &mut state);
            }
        }
        Self::pay(core, &mut state);
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
                "the call that took its writer along did not use it",
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
                    format!("the call that took its writer along: {error}"),
                ));
                Self::break_off(core, &mut state);
            } else {
                state.output = Output::Gone;
            }
        }
        self.look(core, &mut state);
    }
}
