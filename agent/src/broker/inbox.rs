//! Work for the broker's thread that only some programs have: processes that join, and the order to
//! pause. No agent carries code of it.

use crate::broker::Broker;
use crate::runtime::extensions::locked;
use crate::runtime::handle::NodeHandle;
use crate::runtime::state::BrokerTask;
use std::any::Any;
use std::sync::{Arc, Mutex};

type Work = Box<dyn FnOnce(&mut Broker) + Send>;

/// Work that waits for the broker's thread.
#[derive(Default)]
pub(crate) struct Inbox(Mutex<Vec<Work>>);

impl Inbox {
    /// Returns the inbox of a node.
    pub(crate) fn of(shared: &NodeHandle) -> Arc<Self> {
        shared.extensions.get()
    }

    /// Adds work. A node that has stopped drops it.
    pub(crate) fn put(&self, shared: &Arc<NodeHandle>, work: Work) {
        shared.with(|core| {
            if !core.stopped {
                locked(&self.0).push(work);
                core.orders.push(BrokerTask::Run(run));
                core.unseen = true;
            }
        });
    }

    /// Drops all work that waits.
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
