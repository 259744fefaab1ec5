//! `Router::pause`: tells the tree that the process is about to be stopped, for instance by Ctrl-Z.

use crate::broker::inbox::Inbox;
use crate::router::Router;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// The longest time to tell the neighbours.
const PATIENCE: Duration = Duration::from_secs(1);

/// The pause of this process, from [`Router::pause`] until this value is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the pause"]
pub struct Pause {
    /// Dropping it makes the broker continue.
    _go_on: Sender<()>,
}

impl Router {
    /// Tells all neighbours that this process is about to be stopped, and takes no part in the tree
    /// until the returned value is dropped. Without it, contexts take a stopped process for a lost
    /// one: after three heartbeats they end, with everything that runs in them.
    ///
    /// Contexts and their programs continue meanwhile, as far as the credit of their streams
    /// reaches. No message arrives here, and the time does not count for hops that are being
    /// connected. Contexts still end when this process ends, also while it is stopped. If its
    /// machine vanishes meanwhile, only the connection itself can notice: set sshd's
    /// `ClientAliveInterval` and `TCPKeepAlive`.
    ///
    /// Returns when the neighbours have been told, or after one second.
    ///
    /// ```no_run
    /// # fn stop_this_process() {}
    /// # fn on_sigtstp(router: &offshoot_agent::Router) {
    /// let pause = router.pause();
    /// // By SIGSTOP, or by SIGTSTP with its default action; returns after SIGCONT.
    /// stop_this_process();
    /// drop(pause);
    /// # }
    /// ```
    pub fn pause(&self) -> Pause {
        let ((tell, told), (go_on, until)) = (sync_channel(1), channel());
        let shared = self.node();
        Inbox::of(shared).put(shared, Box::new(move |broker| broker.rest(&tell, &until)));
        // If the broker has ended or is busy for too long, the pause has no effect.
        let _ = told.recv_timeout(PATIENCE);
        Pause { _go_on: go_on }
    }
}
