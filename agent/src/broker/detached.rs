//! The detach service, for programs and for this whole context.

use crate::broker::Broker;
use crate::runtime::answer::answer;
use crate::runtime::answer::unreadable;
use crate::runtime::reactor::Source;
use crate::runtime::reactor::Timer;
use crate::runtime::role::NodeRole;
use crate::runtime::state::NodeState;
use offshoot_codec as codec;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Handle;
use offshoot_proto::LinkId;
use offshoot_proto::Reason;
use offshoot_proto::log::Filter;
use offshoot_proto::message::detach::DetachRequest;
use offshoot_proto::message::outcome::failed;
use offshoot_proto::message::outcome::value;
use offshoot_sys::descendants::detach;
use offshoot_sys::guard as life;
use offshoot_sys::guard::DetachMark;
use std::sync::Arc;
use std::time::Duration;

/// How often a detached agent checks whether it still has work.
const IDLE_LOOK: Duration = Duration::from_millis(500);

impl Broker {
    /// Handles the request to detach a program or this context.
    pub(crate) fn detach(&mut self, core: &mut NodeState, flow: FlowKey, request: &[u8]) {
        let order: DetachRequest = match codec::from_own(request) {
            Ok(order) => order,
            Err(error) => return unreadable(core, flow, error),
        };
        let done = match order.program {
            Handle::NONE => self.detach_self(),
            handle => self
                .programs
                .detach(&mut self.reactor, core, FlowKey { handle, ..flow }),
        };
        let reply = match done {
            Ok(process) => {
                let text = format!("detached: {} (process {process})", order.name);
                self.shared.say(tracing::Level::INFO, text);
                value(&process)
            }
            Err(detail) => failed(&Error::System {
                action: format!("detaching {}", order.name),
                detail,
            }),
        };
        answer(core, flow, reply);
    }

    /// Marks this agent, its guard and all processes below as detached. The link to the parent
    /// stays until the parent closes it.
    fn detach_self(&mut self) -> Result<u32, String> {
        if !life::guarded() || !matches!(self.role, NodeRole::Agent(_)) {
            return Err("it is the controller, or has no guard".into());
        }
        if offshoot_sys::procfs::open("/dev/tty", offshoot_sys::open::O_RDONLY).is_ok() {
            return Err(
                "it has the terminal of its hop and ends with it; detach a local child of it instead"
                    .into(),
            );
        }
        let guard = life::parent();
        detach(guard, DetachMark::context(guard)).map_err(|error| error.to_string())?;
        self.detached = true;
        Ok(std::process::id())
    }

    /// Continues without the link to the parent.
    pub(crate) fn leave(&mut self, up: LinkId) {
        self.say_the_rest(up);
        self.role = NodeRole::Alone;
        self.programs.set_detached();
        // Without a parent, records have no reader.
        self.shared.logs.set_filter(Filter::default());
        self.reactor.unwatch(Source::Link(up));
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        self.reactor.forget_output(&mut core, up);
        core.node.pass_filter(Filter::default().bytes());
        core.node.link_lost(up, Reason::Lost, "detached");
        self.release(core);
        self.look_for_work();
    }

    /// Ends a detached agent that has no program, child or running function left.
    pub(crate) fn look_for_work(&mut self) {
        if self.programs.is_empty() && self.children.is_empty() && self.shared.workers.are_idle() {
            self.detached = false;
            return self.stop();
        }
        self.reactor.after(IDLE_LOOK, Timer::Idle);
    }
}
