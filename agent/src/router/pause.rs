//! `Router::pause`: a process that is about to be stopped, as by Ctrl-Z, tells the tree first.

use crate::broker::inbox::Inbox;
use crate::router::Router;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// The longest that telling the neighbours may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// The rest of this process, from [`Router::pause`] on until this is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the pause"]
pub struct Pause {
    /// Hangs up when it is dropped: the broker goes on.
    _go_on: Sender<()>,
}

impl Router {
    /// Tells all neighbours of this process that it is about to be stopped, and has it take part in the tree no more until
    /// the returned value is dropped. Without this, contexts take a process that is stopped for one that is lost: after
    /// three heartbeats they end, and all that runs in them.
    ///
    /// Contexts and their programs go on meanwhile, as far as the credit of their streams reaches. Nothing arrives here,
    /// and time that passes is none of a hop's that is being taken. Contexts still end when this process ends, also
    /// while it is stopped. Where its machine vanishes meanwhile, only the connection itself can tell: sshd's
    /// `ClientAliveInterval` and `TCPKeepAlive`.
    ///
    /// It returns when the neighbours have been told, or could not be within a second.
    ///
    /// ```no_run
    /// # fn stop_this_process() {}
    /// # fn on_sigtstp(router: &offshoot_agent::Router) {
    /// let pause = router.pause();
    /// // By SIGSTOP, or SIGTSTP with its default action; it returns after SIGCONT.
    /// stop_this_process();
    /// drop(pause);
    /// # }
    /// ```
    pub fn pause(&self) -> Pause {
        let ((tell, told), (go_on, until)) = (sync_channel(1), channel());
        let shared = self.node();
        Inbox::of(shared).put(shared, Box::new(move |broker| broker.rest(&tell, &until)));
        // Where the broker has ended, or is busy for too long, there is nobody to be told.
        let _ = told.recv_timeout(PATIENCE);
        Pause { _go_on: go_on }
    }
}
