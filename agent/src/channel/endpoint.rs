//! One end of a channel or pipe, in the process that uses it or has not sent it yet.

use crate::channel::hub::Hub;
use crate::context::Context;
use crate::context::transfer::soon;
use crate::runtime::extensions::locked;
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

/// Opens the flow of an end to its hub.
pub(crate) fn connect(
    context: &Context,
    address: Address,
    role: EndpointRole,
    copy: u64,
) -> Result<(FlowKey, Arc<StreamState>)> {
    let state = StreamState::new(context.scope());
    let opening = Opening {
        more: role == EndpointRole::Writer,
        ..Opening::default()
    };
    let greeting = address.greeting(role, copy);
    context.node().with(|core| {
        if core.stopped {
            return Err(Error::ShutDown);
        }
        let endpoint = Endpoint::Stream(Arc::clone(&state));
        let flow = core.open(address.context, address.door(), greeting, opening, |_| {
            endpoint
        });
        Ok((flow, state))
    })
}

/// An end that only one process holds at a time: used here, or unused and free to be sent.
pub(crate) struct ChannelEnd {
    bound: OnceLock<(Arc<NodeHandle>, FlowKey, Arc<StreamState>)>,
    /// The context that it is bound to when it is used.
    context: Option<Context>,
    /// The hub, in the process that created it; the hub is told if the end is never used.
    home: Option<(Arc<Hub>, EndpointRole)>,
    stage: Mutex<Stage>,
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum Stage {
    Unused,
    Used,
    Sent,
}

/// The node, the flow and the stream of an end that is used here.
pub(crate) type Bound<'a> = (&'a Arc<NodeHandle>, FlowKey, &'a Arc<StreamState>);

impl ChannelEnd {
    /// Creates a pipe and returns its ends: the writer and the reader.
    pub(crate) fn pair(context: &Context) -> Result<[Self; 2]> {
        let hub = Hub::open(context, false)?;
        Ok([EndpointRole::Writer, EndpointRole::Reader].map(|role| Self::of(context, &hub, role)))
    }

    /// Returns an unused end of a hub of this process.
    pub(crate) fn of(context: &Context, hub: &Arc<Hub>, role: EndpointRole) -> Self {
        Self {
            bound: OnceLock::new(),
            context: Some(context.clone()),
            home: Some((Arc::clone(hub), role)),
            stage: Mutex::new(Stage::Unused),
        }
    }

    /// Returns an end that is used here.
    pub(crate) fn bound(shared: Arc<NodeHandle>, flow: FlowKey, state: Arc<StreamState>) -> Self {
        let bound = OnceLock::from((shared, flow, state));
        Self {
            bound,
            context: None,
            home: None,
            stage: Mutex::new(Stage::Used),
        }
    }

    /// Returns the context that the end is bound to.
    pub(crate) fn context(&self) -> Option<Context> {
        self.context.clone()
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        locked(&self.stage)
    }

    /// Binds the end to this process, if it was not before.
    ///
    /// # Errors
    /// Returns an error if the end was sent to another context, or the tree is shut down.
    pub(crate) fn bind(&self, role: EndpointRole) -> Result<Bound<'_>> {
        if self.bound.get().is_none() {
            let mut stage = self.stage();
            let (Stage::Unused, Some(context), Some((hub, _))) =
                (*stage, &self.context, &self.home)
            else {
                return Err(Error::Function(
                    "this end was sent to another context".into(),
                ));
            };
            let (flow, state) = connect(context, hub.opens(role), role, 0)?;
            *stage = Stage::Used;
            let _ = self.bound.set((Arc::clone(context.node()), flow, state));
        }
        let (shared, flow, state) = self.bound.get().ok_or(Error::ShutDown)?;
        Ok((shared, *flow, state))
    }

    /// Returns the flow of the end, if it is used here.
    pub(crate) fn used(&self) -> Option<Bound<'_>> {
        self.bound
            .get()
            .map(|(shared, flow, state)| (shared, *flow, state))
    }

    /// Marks the end as sent with the value that is being encoded, and returns its address.
    ///
    /// # Errors
    /// Returns an error if the end was used or sent before, and outside a frame.
    pub(crate) fn leave<E: ser::Error>(
        &self,
        role: EndpointRole,
    ) -> std::result::Result<Address, E> {
        crate::context::transfer::err_outside_frame("an end of a stream")?;
        let mut stage = self.stage();
        let (Stage::Unused, Some(context), Some((hub, _))) = (*stage, &self.context, &self.home)
        else {
            return Err(E::custom(
                "an end of a stream that was used or sent cannot be sent again",
            ));
        };
        *stage = Stage::Sent;
        let (shared, theirs) = (Arc::clone(context.node()), Arc::clone(hub));
        crate::context::transfer::on_delivery(Box::new(move |error| {
            shared.with(|core| theirs.missed(core, role, error))
        }));
        Ok(hub.opens(role))
    }

    /// Decodes an end, which is bound to this process from now on.
    ///
    /// # Errors
    /// Returns an error if the bytes are not an end of a stream, and outside a frame.
    pub(crate) fn arrive<'de, D: Deserializer<'de>>(
        deserializer: D,
        role: EndpointRole,
    ) -> std::result::Result<Self, D::Error> {
        let address = Address::deserialize(deserializer)?;
        let (here, _) = crate::context::transfer::current_context(
            "an end of a stream",
            NameKind::Hub,
            address.context,
        )?;
        let (flow, state) = connect(&here, address, role, 0).map_err(de::Error::custom)?;
        Ok(Self {
            context: Some(here.clone()),
            ..Self::bound(Arc::clone(here.node()), flow, state)
        })
    }

    /// Resets the flow of an end that is not finished, or tells the hub that the end was never
    /// used.
    pub(crate) fn give_up(&self, why: &str) {
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
        if let (Stage::Unused, Some(context), Some((hub, role))) =
            (*self.stage(), &self.context, &self.home)
        {
            let (hub, role, why) = (Arc::clone(hub), *role, why.to_owned());
            soon(context.node(), move |core| hub.unused(core, role, &why));
        }
    }
}
