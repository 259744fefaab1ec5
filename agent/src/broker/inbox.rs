//! Tasks for the broker that only programs with a router have: processes that join, and pauses.
//! Agents do not contain this code.

use crate::broker::Broker;
use crate::runtime::extensions::locked;
use crate::runtime::handle::NodeHandle;
use crate::runtime::state::BrokerTask;
use std::any::Any;
use std::sync::{Arc, Mutex};

type Work = Box<dyn FnOnce(&mut Broker) + Send>;

/// The queued tasks.
#[derive(Default)]
pub(crate) struct Inbox(Mutex<Vec<Work>>);

impl Inbox {
    /// Returns the inbox of a node.
    pub(crate) fn of(shared: &NodeHandle) -> Arc<Self> {
        shared.extensions.get()
    }

    /// Adds a task. A node that has stopped drops it.
    pub(crate) fn put(&self, shared: &Arc<NodeHandle>, work: Work) {
        shared.with(|core| {
            if !core.stopped {
                locked(&self.0).push(work);
                core.orders.push(BrokerTask::Run(run));
                core.unseen = true;
            }
        });
    }

    /// Drops all queued tasks.
    pub(crate) fn clear(&self) {
        let work = std::mem::take(&mut *locked(&self.0));
        drop(work);
    }
}

fn run(broker: &mut dyn Any) {
    let broker: &mut Broker = broker
        .downcast_mut()
        .expect("the broker runs its own tasks");
    let inbox = Inbox::of(broker.shared());
    let work = std::mem::take(&mut *locked(&inbox.0));
    for work in work {
        work(broker);
    }
}
