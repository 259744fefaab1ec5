//! Replies to requests of other contexts.

use crate::runtime::state::NodeState;
use offshoot_codec::{CodecError, MAX_MESSAGE};
use offshoot_proto::error::codec_error;
use offshoot_proto::message::outcome::failed;
use offshoot_proto::routing::Policy;
use offshoot_proto::{ContextId, FlowKey, Reason};

/// Sends a whole reply to a request.
pub(crate) fn answer(core: &mut NodeState, flow: FlowKey, reply: Vec<u8>) {
    core.endpoints.remove(&flow);
    if reply.len() > MAX_MESSAGE {
        return core
            .node
            .reset(flow, Reason::TooLarge, "the reply is too large to send");
    }
    core.send_all(flow, reply, offshoot_codec::was_written());
}

/// Returns true if a reply is small enough to be sent.
pub(crate) fn can_be_sent(reply: &[u8]) -> bool {
    reply.len() <= MAX_MESSAGE
}

/// Answers a request that cannot be decoded.
pub(crate) fn unreadable(core: &mut NodeState, flow: FlowKey, error: CodecError) {
    let context = core.name_of(core.node.id());
    answer(core, flow, failed(&codec_error(&context, error)));
}

/// Returns true if this node obeys requests on behalf of `auth`: of itself and its ancestors.
pub(crate) fn obeyed(core: &NodeState, auth: ContextId) -> bool {
    core.node.router.permits(Policy::Ancestors, auth, None)
}
