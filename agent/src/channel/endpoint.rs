//! One end of a channel or pipe, as the process has it that uses it or has not sent it away yet.

use crate::channel::hub::Hub;
use crate::context::Context;
use crate::context::transfer::soon;
use crate::runtime::handle::NodeHandle;
use crate::runtime::state::Endpoint;
use crate::runtime::stream_state::StreamState;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Reason;
use offshoot_proto::Result;
use offshoot_proto::message::channel::Address;
use offshoot_proto::message::channel::EndpointRole;
use offshoot_proto::node::Opening;
use offshoot_proto::routing::NameKind;
use serde::Deserialize;
use serde::Deserializer;
use serde::de;
use serde::ser;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;

/// Opens an end's flow to a hub.
pub(crate) fn connect(
    context: &Context,
    address: Address,
    role: EndpointRole,
    copy: u64,
) -> Result<(FlowKey, Arc<StreamState>)> {
    let state = StreamState::new(context.scope());
    let opening = Opening { more: role == EndpointRole::Writer, ..Opening::default() };
    let greeting = address.greeting(role, copy);
    context.node().with(|core| {
        if core.stopped {
            return Err(Error::ShutDown);
        }
        let endpoint = Endpoint::Stream(Arc::clone(&state));
        let flow = core.open(address.context, address.door(), greeting, opening, |_| endpoint);
        Ok((flow, state))
    })
}

/// An end that one process alone holds at a time: used here, or not used yet and free to travel.
pub(crate) struct ChannelEnd {
    bound: OnceLock<(Arc<NodeHandle>, FlowKey, Arc<StreamState>)>,
    /// What it is bound to when it is used.
    context: Option<Context>,
    /// Where it was made: the hub is told of an end that nobody has used.
    home: Option<(Arc<Hub>, EndpointRole)>,
    stage: Mutex<Stage>,
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum Stage {
    Unused,
    Used,
    Sent,
}

/// What is used where.
pub(crate) type Bound<'a> = (&'a Arc<NodeHandle>, FlowKey, &'a Arc<StreamState>);

impl ChannelEnd {
    /// The two ends of a new pipe: the writer's and the reader's.
    pub fn pair(context: &Context) -> Result<[ChannelEnd; 2]> {
        let hub = Hub::open(context, false)?;
        Ok([EndpointRole::Writer, EndpointRole::Reader].map(|role| ChannelEnd::of(context, &hub, role)))
    }

    /// One end of what was made here.
    pub fn of(context: &Context, hub: &Arc<Hub>, role: EndpointRole) -> ChannelEnd {
        ChannelEnd {
            bound: OnceLock::new(),
            context: Some(context.clone()),
            home: Some((Arc::clone(hub), role)),
            stage: Mutex::new(Stage::Unused),
        }
    }

    /// One that is used here.
    pub fn bound(shared: Arc<NodeHandle>, flow: FlowKey, state: Arc<StreamState>) -> ChannelEnd {
        let bound = OnceLock::from((shared, flow, state));
        ChannelEnd { bound, context: None, home: None, stage: Mutex::new(Stage::Used) }
    }

    /// Where it is.
    pub fn context(&self) -> Option<Context> {
        self.context.clone()
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it is used here.
    ///
    /// # Errors
    /// When it has gone elsewhere, or the tree is shut down.
    pub fn bind(&self, role: EndpointRole) -> Result<Bound<'_>> {
        if self.bound.get().is_none() {
            let mut stage = self.stage();
            let (Stage::Unused, Some(context), Some((hub, _))) = (*stage, &self.context, &self.home) else {
                return Err(Error::Function("this end was sent to another context".into()));
            };
            let (flow, state) = connect(context, hub.opens(role), role, 0)?;
            *stage = Stage::Used;
            let _ = self.bound.set((Arc::clone(context.node()), flow, state));
        }
        let (shared, flow, state) = self.bound.get().ok_or(Error::ShutDown)?;
        Ok((shared, *flow, state))
    }

    /// What is used here, if it is.
    pub fn used(&self) -> Option<Bound<'_>> {
        self.bound.get().map(|(shared, flow, state)| (shared, *flow, state))
    }

    /// It leaves with the value that is being written.
    ///
    /// # Errors
    /// Where it is used here already, and outside of a frame.
    pub fn leave<E: ser::Error>(&self, role: EndpointRole) -> std::result::Result<Address, E> {
        crate::context::transfer::err_outside_frame("an end of a stream")?;
        let mut stage = self.stage();
        let (Stage::Unused, Some(context), Some((hub, _))) = (*stage, &self.context, &self.home) else {
            return Err(E::custom("an end of a stream that was used or sent stays where it is"));
        };
        *stage = Stage::Sent;
        let (shared, theirs) = (Arc::clone(context.node()), Arc::clone(hub));
        crate::context::transfer::on_delivery(Box::new(move |error| {
            shared.with(|core| theirs.missed(core, role, error))
        }));
        Ok(hub.opens(role))
    }

    /// It arrives with the value that is being read, and is used from now on.
    ///
    /// # Errors
    /// When the bytes are no end of a stream, and outside of a frame.
    pub fn arrive<'de, D: Deserializer<'de>>(
        deserializer: D,
        role: EndpointRole,
    ) -> std::result::Result<ChannelEnd, D::Error> {
        let address = Address::deserialize(deserializer)?;
        let (here, _) =
            crate::context::transfer::current_context("an end of a stream", NameKind::Hub, address.context)?;
        let (flow, state) = connect(&here, address, role, 0).map_err(de::Error::custom)?;
        Ok(ChannelEnd {
            context: Some(here.clone()),
            ..ChannelEnd::bound(Arc::clone(here.node()), flow, state)
        })
    }

    /// An end that is not used to its end.
    pub fn give_up(&self, why: &str) {
        match self.used() {
            Some((shared, flow, state)) if !state.is_over() => {
                let why = why.to_owned();
                soon(shared, move |core| {
                    core.node.reset(flow, Reason::Cancelled, &why);
                    core.forget(flow);
                });
            }
            Some(_) => {}
            None => self.tell_home(why),
        }
    }

    fn tell_home(&self, why: &str) {
        if let (Stage::Unused, Some(context), Some((hub, role))) = (*self.stage(), &self.context, &self.home)
        {
            let (hub, role, why) = (Arc::clone(hub), *role, why.to_owned());
            soon(context.node(), move |core| hub.unused(core, role, &why));
        }
    }
}
