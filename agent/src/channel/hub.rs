//! Where a channel or a pipe was made: what its writers send comes together here and goes on to its reader. Each end is a
//! flow to here, wherever that end is, so that ends travel by telling where the hub is and by what key it opens.
//!
//! A hub belongs to nobody's call. It is there from when it is made until its reader has gone, or all writers have ended and the
//! reader has been told. Nothing of it is in an agent whose functions use no streams of their own.

use crate::context::Context;
use crate::context::disclosures::DisclosureLog;
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
use std::sync::PoisonError;

/// What is said to an end whose call was given up by those who made it.
const GIVEN_UP: &str = "the call that it came with was given up";

/// A number for a copy of a sender, which shows whether it goes along with a call that has an end.
pub(crate) fn new_copy(of_call: bool) -> u64 {
    u64::from_le_bytes(offshoot_sys::random()) & !1 | u64::from(of_call)
}

fn is_of_call(copy: u64) -> bool {
    copy & 1 == 1
}

/// What a receiver is told of a message.
fn message(from: ContextId, content: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(9 + content.len());
    message.extend_from_slice(&(4 + content.len() as u32).to_le_bytes());
    message.push(VALUE);
    message.extend_from_slice(&from.0.to_le_bytes());
    message.extend_from_slice(content);
    message
}

/// How a call was given up that has come to this error: after how many milliseconds its time was over, 0 where it was for another
/// reason. None for calls that have ended in another way.
pub(crate) fn given_up(error: &Error) -> Option<u64> {
    match error {
        Error::TimedOut { after_ms, .. } => Some(*after_ms),
        Error::Cancelled { .. } => Some(0),
        _ => None,
    }
}

/// So many bytes may wait for the reader before writers are held back.
const HIGH: usize = 256 << 10;

/// The longest error text.
const TEXT_LIMIT: usize = 4 << 10;

/// How many copies of senders may be on their way.
const COPIES: usize = 1 << 16;

/// One writer.
struct Input {
    flow: FlowKey,
    /// On whose behalf: an ancestor's, or its own.
    from: ContextId,
    /// The copy as which it has come, and whose that was.
    copy: u64,
    parent: Option<FlowKey>,
    partial: Vec<u8>,
    /// Bytes that have come for which no credit was given yet.
    owed: usize,
    /// The longest message it may send.
    limit: usize,
    /// Whether it sends nothing more.
    closed: bool,
    /// Its copies that are on their way.
    copies: BTreeSet<u64>,
}

enum Output {
    /// The reader has not been heard of.
    Expected,
    Flow(FlowKey),
    Gone,
}

struct State {
    inputs: Vec<Input>,
    output: Output,
    /// What waits for a reader that has not been heard of, or behind what waits for its credit.
    pending: Vec<u8>,
    /// How many copies of all senders are on their way.
    copies: usize,
    /// Those of them whose senders have ended.
    left: BTreeSet<u64>,
    /// Copies that have come before they were announced.
    early: BTreeSet<u64>,
    /// Whether there has been a writer.
    begun: bool,
    /// How a stream of bytes has broken off, for a reader that has not been heard of.
    broken: Option<(Reason, String)>,
    /// The contexts that messages of this process name, for a reader that has not been heard of.
    named: BTreeSet<ContextId>,
    over: bool,
}

/// One channel or pipe.
pub(crate) struct Hub {
    /// What its writers are told.
    pub address: Address,
    /// By what it opens for its reader: whoever may send is not to receive what others send.
    reader_key: u64,
    /// Whether what is sent are messages, from any number of senders, or bytes from one writer.
    messages: bool,
    state: Mutex<State>,
    told: DisclosureLog,
}

impl Hub {
    /// A new one at the node of `context`.
    pub fn open(context: &Context, messages: bool) -> Result<Arc<Hub>> {
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
            let address = Address { context: core.node.id(), number, key };
            let hub = Arc::new(Hub { address, reader_key, messages, state: Mutex::new(state), told });
            core.offer(address.door(), Policy::Anyone, Arc::clone(&hub) as _);
            Ok(hub)
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an end of it is told.
    pub fn opens(&self, role: EndpointRole) -> Address {
        match role {
            EndpointRole::Writer => self.address,
            EndpointRole::Reader => Address { key: self.reader_key, ..self.address },
        }
    }

    /// Hands something on to the reader, with the next [`flush`](Self::flush).
    fn forward(state: &mut State, bytes: Vec<u8>) {
        match state.output {
            Output::Gone => {}
            _ if state.pending.is_empty() => state.pending = bytes,
            // In one piece: what waits costs what it is long, however small the records are.
            _ => state.pending.extend_from_slice(&bytes),
        }
    }

    /// Sends the reader what there is for it, unless it has to take what was sent before.
    fn flush(core: &mut NodeState, state: &mut State) {
        if let Output::Flow(flow) = state.output
            && !state.pending.is_empty()
            && core.waiting(flow) == 0
        {
            core.append(flow, std::mem::take(&mut state.pending), false, false);
        }
    }

    /// Ends the flow of a sender that has broken a rule, and tells the reader.
    fn lose(
        core: &mut NodeState,
        state: &mut State,
        flow: FlowKey,
        reason: Reason,
        said: &str,
        error: impl FnOnce(String) -> Error,
    ) {
        let Some(input) = state.remove(flow) else { return };
        core.node.reset(flow, reason, said);
        core.forget(flow);
        if !input.closed {
            let error = error(core.name_of(flow.peer).to_string());
            Self::forward(state, record(LOST, &offshoot_codec::own(&error)));
        }
    }

    /// Ends the flow of a sender whose call was given up, and of those that it has given to calls of its own.
    fn give_up(core: &mut NodeState, state: &mut State, flow: FlowKey, after_ms: u64) {
        let mut flows = vec![flow];
        while let Some(flow) = flows.pop() {
            flows.extend(
                state.inputs.iter().filter(|input| input.parent == Some(flow)).map(|input| input.flow),
            );
            let (reason, error): (_, fn(String, u64) -> Error) = match after_ms {
                0 => (Reason::Cancelled, |context, _| Error::Cancelled { context }),
                _ => (Reason::Late, |context, after_ms| Error::TimedOut { context, after_ms }),
            };
            Self::lose(core, state, flow, reason, GIVEN_UP, |context| error(context, after_ms));
        }
    }

    /// Gives writers credit for what has gone on.
    fn pay(core: &mut NodeState, state: &mut State) {
        Self::flush(core, state);
        let waiting = match state.output {
            Output::Flow(flow) => state.pending.len() + core.waiting(flow),
            _ => state.pending.len(),
        };
        if waiting >= HIGH {
            return;
        }
        let partials = state.inputs.iter().map(|input| (input.flow, input.partial.len()));
        let longest = Longest::of(partials);
        for input in &mut state.inputs {
            if input.owed > 0 && longest.lets(input.flow, input.partial.len()) {
                core.node.take(input.flow, std::mem::take(&mut input.owed), input.partial.len());
            }
        }
    }

    /// Tells the reader of a stream of bytes how that has broken off, once both are known.
    fn break_off(core: &mut NodeState, state: &mut State) {
        if let (Output::Flow(output), Some((reason, text))) = (&state.output, &state.broken) {
            core.node.reset(*output, *reason, text);
            core.forget(*output);
            state.output = Output::Gone;
        }
    }

    /// Ends it where it has nothing more to do.
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
                core.node.reset(input.flow, Reason::Cancelled, "the receiver is gone");
                core.forget(input.flow);
            }
            core.withdraw(self.address.door());
        }
    }

    /// An end was dropped here that nobody had used, or was taken along by a call that never did.
    pub fn unused(&self, core: &mut NodeState, role: EndpointRole, why: &str) {
        let mut state = self.lock();
        match (role, &state.output) {
            (EndpointRole::Writer, _) => {
                state.begun = true;
                if !self.messages {
                    state.broken.get_or_insert_with(|| (Reason::Cancelled, why.into()));
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
        let parent =
            state.inputs.iter_mut().find_map(|input| input.copies.remove(&copy).then_some(input.flow));
        if parent.is_some() || state.left.remove(&copy) {
            state.copies -= 1;
        } else if copy != 0 && state.early.len() < COPIES {
            state.early.insert(copy);
        }
        let obeyed = core.node.permits(Policy::Ancestors, flow.peer, request.auth);
        let limit = longest_of(obeyed);
        let from = if obeyed { request.auth } else { flow.peer };
        let parent = parent.filter(|_| is_of_call(copy));
        let (partial, copies) = (Vec::new(), BTreeSet::new());
        state.inputs.push(Input { flow, from, copy, parent, partial, owed: 0, limit, closed: false, copies });
        Ok(EndpointRole::Writer)
    }

    /// A whole record of a sender.
    fn take(core: &mut NodeState, state: &mut State, from: FlowKey, kind: u8, content: &[u8]) {
        let Some(sender) = state.inputs.iter_mut().find(|input| input.flow == from) else { return };
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
                let said =
                    (core.name_of(from.peer).to_string(), offshoot_proto::text::shortened(&text, TEXT_LIMIT));
                let said = offshoot_codec::own(&said);
                Self::forward(state, record(FAILED, &said));
            }
            LOSE => {
                let Some((copy, after_ms)) = content.split_first_chunk() else { return };
                let copy = u64::from_le_bytes(*copy);
                let after_ms = after_ms.try_into().map_or(0, u64::from_le_bytes);
                state.copies -= usize::from(sender.copies.remove(&copy));
                let came = state.inputs.iter().find(|input| input.copy == copy && copy != 0);
                if let Some(flow) = came.map(|input| input.flow) {
                    Self::give_up(core, state, flow, after_ms);
                }
            }
            COPY | VOID => {
                let copy = content.try_into().map_or(0, u64::from_le_bytes);
                if state.early.remove(&copy) {
                    // It has come already.
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
                        let error =
                            |context| Error::Undelivered { context, reason: Reason::QueueFull, detail };
                        Self::lose(core, state, most, Reason::QueueFull, "too many copies", error);
                    }
                }
            }
            _ => {}
        }
    }
}

impl State {
    /// Takes a sender out, and with it what it has said of copies: nobody will say what becomes of them.
    fn remove(&mut self, flow: FlowKey) -> Option<Input> {
        let at = self.inputs.iter().position(|input| input.flow == flow)?;
        let input = self.inputs.remove(at);
        self.copies -= input.copies.len();
        Some(input)
    }

    /// A sender of the context that has the most copies on their way.
    fn with_most_copies(&self) -> Option<FlowKey> {
        let mut all = BTreeMap::new();
        for input in &self.inputs {
            *all.entry(input.flow.peer).or_insert(0) += input.copies.len();
        }
        let most = self.inputs.iter().max_by_key(|input| (all.get(&input.flow.peer), input.copies.len()));
        most.map(|input| input.flow)
    }
}

impl CustomService for Hub {
    fn names(&self, core: &NodeState, contexts: &[ContextId]) {
        let mut state = self.lock();
        match state.output {
            Output::Flow(flow) => contexts.iter().for_each(|id| self.told.tell(core, flow.peer, *id, None)),
            Output::Expected => state.named.extend(contexts),
            Output::Gone => {}
        }
    }

    fn opened(self: Arc<Self>, core: &mut NodeState, flow: FlowKey, request: Request, end: bool) {
        match self.greeted(core, flow, &request) {
            Err(why) => core.node.reset(flow, Reason::Refused, why),
            Ok(role) => {
                core.endpoints.insert(flow, Endpoint::Handler(Arc::clone(&self) as _));
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
        let Some(at) = state.inputs.iter().position(|input| input.flow == flow) else { return };
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
                let error = |context| Error::Undelivered { context, reason: Reason::TooLarge, detail };
                Self::lose(core, state, flow, Reason::TooLarge, said, error);
            }
            // What it said may have been its end.
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
            // What it sent in a message may still be on its way.
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
                // All it had to say was said.
            } else if self.messages {
                let lost = offshoot_codec::own(error);
                Self::forward(&mut state, record(LOST, &lost));
            } else {
                // A stream of bytes has no place for an error but its end.
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
    /// The call that an end left with is over, with this error if it came to one. If the end has not been heard of, it will not be;
    /// where the call was given up, nothing more comes or goes by it.
    pub fn missed(&self, core: &mut NodeState, role: EndpointRole, error: Option<&Error>) {
        let mut state = self.lock();
        let heard_of = match role {
            EndpointRole::Writer => state.begun,
            EndpointRole::Reader => !matches!(state.output, Output::Expected),
        };
        if !heard_of {
            drop(state);
            return self.unused(core, role, "the call that took its writer along did not use it");
        }
        let Some((error, after_ms)) = error.and_then(|error| Some((error, given_up(error)?))) else { return };
        let reason = if after_ms == 0 { Reason::Cancelled } else { Reason::Late };
        let flows: Vec<FlowKey> = match (role, &state.output) {
            (EndpointRole::Writer, _) => state.inputs.iter().map(|input| input.flow).collect(),
            (EndpointRole::Reader, Output::Flow(flow)) => vec![*flow],
            (EndpointRole::Reader, _) => Vec::new(),
        };
        for flow in flows {
            core.node.reset(flow, reason, GIVEN_UP);
            core.forget(flow);
            if role == EndpointRole::Writer && state.remove(flow).is_some() {
                state.broken = Some((reason, format!("the call that took its writer along: {error}")));
                Self::break_off(core, &mut state);
            } else {
                state.output = Output::Gone;
            }
        }
        self.look(core, &mut state);
    }
}
