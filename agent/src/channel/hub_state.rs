//! The state of a hub: its writers, the copies of senders in transit, and the bytes for the reader.

use crate::runtime::state::NodeState;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Reason;
use offshoot_proto::flow::Longest;
use offshoot_proto::message::channel::CLOSED;
use offshoot_proto::message::channel::COPY;
use offshoot_proto::message::channel::FAILED;
use offshoot_proto::message::channel::LOSE;
use offshoot_proto::message::channel::LOST;
use offshoot_proto::message::channel::VALUE;
use offshoot_proto::message::channel::VOID;
use offshoot_proto::message::record::record;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// The reset text for ends whose call was cancelled.
pub(super) const GIVEN_UP: &str = "the call that it was sent with was cancelled";

/// The bytes that may wait for the reader before writers get no more credit.
const HIGH: usize = 256 << 10;

/// The most bytes of an error text.
const TEXT_LIMIT: usize = 4 << 10;

/// The most copies of senders that may be in transit.
pub(super) const COPIES: usize = 1 << 16;

/// A writer that is connected.
pub(super) struct Input {
    pub(super) flow: FlowKey,
    /// The context that messages come from: the ancestor on whose behalf they are sent, or the
    /// peer.
    pub(super) from: ContextId,
    /// The number of its copy, and the writer that the copy was made of.
    pub(super) copy: u64,
    pub(super) parent: Option<FlowKey>,
    pub(super) partial: Vec<u8>,
    /// Bytes that have arrived and were not credited yet.
    pub(super) owed: usize,
    /// The most bytes of one message.
    pub(super) limit: usize,
    /// True if it sends no more messages.
    pub(super) closed: bool,
    /// Its copies in transit.
    pub(super) copies: BTreeSet<u64>,
}

/// The reader.
pub(super) enum Output {
    /// The reader has not connected yet.
    Expected,
    Flow(FlowKey),
    Gone,
}

/// The state of a hub, behind its lock.
pub(super) struct HubState {
    pub(super) inputs: Vec<Input>,
    pub(super) output: Output,
    /// Bytes for a reader that has not connected, or that has no credit.
    pub(super) pending: Vec<u8>,
    /// The number of copies in transit, of all senders.
    pub(super) copies: usize,
    /// The copies in transit whose senders have ended.
    pub(super) left: BTreeSet<u64>,
    /// Copies that connected before they were announced.
    pub(super) early: BTreeSet<u64>,
    /// True if there has been a writer.
    pub(super) begun: bool,
    /// The way a byte stream broke off, for a reader that has not connected.
    pub(super) broken: Option<(Reason, String)>,
    /// The contexts that messages of this process name, for a reader that has not connected.
    pub(super) named: BTreeSet<ContextId>,
    pub(super) over: bool,
}

impl HubState {
    /// Queues bytes for the reader, until the next [`flush`](Self::flush).
    pub(super) fn forward(&mut self, bytes: Vec<u8>) {
        match self.output {
            Output::Gone => {}
            _ if self.pending.is_empty() => self.pending = bytes,
            // One buffer: many small records cost no more memory than their bytes.
            _ => self.pending.extend_from_slice(&bytes),
        }
    }

    /// Sends the queued bytes to the reader, if it has taken the earlier ones.
    pub(super) fn flush(&mut self, core: &mut NodeState) {
        if let Output::Flow(flow) = self.output
            && !self.pending.is_empty()
            && core.waiting(flow) == 0
        {
            core.append(flow, std::mem::take(&mut self.pending), false, false);
        }
    }

    /// Resets the flow of a sender that violated a rule, and tells the reader.
    pub(super) fn lose(
        &mut self,
        core: &mut NodeState,
        flow: FlowKey,
        reason: Reason,
        said: &str,
        error: impl FnOnce(String) -> Error,
    ) {
        let Some(input) = self.remove(flow) else {
            return;
        };
        core.node.reset(flow, reason, said);
        core.forget(flow);
        if !input.closed {
            let error = error(core.name_of(flow.peer).to_string());
            self.forward(record(LOST, &offshoot_codec::own(&error)));
        }
    }

    /// Resets the flow of a sender whose call was cancelled, and those of the copies that it passed
    /// to calls of its own.
    pub(super) fn give_up(&mut self, core: &mut NodeState, flow: FlowKey, after_ms: u64) {
        let mut flows = vec![flow];
        while let Some(flow) = flows.pop() {
            flows.extend(
                self.inputs
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
            self.lose(core, flow, reason, GIVEN_UP, |context| {
                error(context, after_ms)
            });
        }
    }

    /// Gives writers credit for the bytes that were forwarded.
    pub(super) fn pay(&mut self, core: &mut NodeState) {
        self.flush(core);
        let waiting = match self.output {
            Output::Flow(flow) => self.pending.len() + core.waiting(flow),
            _ => self.pending.len(),
        };
        // Writers wait until the reader has caught up.
        if waiting >= HIGH {
            return;
        }
        let partials = self
            .inputs
            .iter()
            .map(|input| (input.flow, input.partial.len()));
        let longest = Longest::of(partials);
        for input in &mut self.inputs {
            if input.owed > 0 && longest.lets(input.flow, input.partial.len()) {
                core.node.take(
                    input.flow,
                    std::mem::take(&mut input.owed),
                    input.partial.len(),
                );
            }
        }
    }

    /// Resets the reader's flow with the reason why a byte stream broke off, once both are known.
    pub(super) fn break_off(&mut self, core: &mut NodeState) {
        if let (Output::Flow(output), Some((reason, text))) = (&self.output, &self.broken) {
            core.node.reset(*output, *reason, text);
            core.forget(*output);
            self.output = Output::Gone;
        }
    }

    /// Handles a whole record of a sender.
    pub(super) fn take(&mut self, core: &mut NodeState, from: FlowKey, kind: u8, content: &[u8]) {
        let Some(sender) = self.inputs.iter_mut().find(|input| input.flow == from) else {
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
                self.forward(message(from, content));
            }
            FAILED => {
                let text = String::from_utf8_lossy(content);
                let said = (
                    core.name_of(from.peer).to_string(),
                    offshoot_proto::text::shortened(&text, TEXT_LIMIT),
                );
                let said = offshoot_codec::own(&said);
                self.forward(record(FAILED, &said));
            }
            LOSE => {
                let Some((copy, after_ms)) = content.split_first_chunk() else {
                    return;
                };
                let copy = u64::from_le_bytes(*copy);
                let after_ms = after_ms.try_into().map_or(0, u64::from_le_bytes);
                self.copies -= usize::from(sender.copies.remove(&copy));
                let came = self
                    .inputs
                    .iter()
                    .find(|input| input.copy == copy && copy != 0);
                if let Some(flow) = came.map(|input| input.flow) {
                    self.give_up(core, flow, after_ms);
                }
            }
            COPY | VOID => {
                let copy = content.try_into().map_or(0, u64::from_le_bytes);
                if self.early.remove(&copy) {
                    // The copy connected before this announcement.
                    if let Some(input) = self.inputs.iter_mut().find(|input| input.copy == copy) {
                        input.parent = Some(from).filter(|_| is_of_call(copy));
                    }
                } else if kind == VOID {
                    self.copies -= usize::from(sender.copies.remove(&copy));
                } else {
                    self.copies += usize::from(sender.copies.insert(copy));
                    if self.copies > COPIES
                        && let Some(most) = self.with_most_copies()
                    {
                        let detail = format!("over {COPIES} copies of senders at once");
                        let error = |context| Error::Undelivered {
                            context,
                            reason: Reason::QueueFull,
                            detail,
                        };
                        self.lose(core, most, Reason::QueueFull, "too many copies", error);
                    }
                }
            }
            _ => {}
        }
    }

    /// Removes a sender, with its copies in transit: no report about them can arrive any more.
    pub(super) fn remove(&mut self, flow: FlowKey) -> Option<Input> {
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

/// Returns true if this copy of a sender belongs to a call.
pub(super) fn is_of_call(copy: u64) -> bool {
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
