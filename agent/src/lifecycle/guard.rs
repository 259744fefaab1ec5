//! The guard of an agent: its parent process, which lives on after the agent until it has ended
//! everything that the agent left.
//!
//! The guard adopts orphaned processes below it, so that no process escapes by forking. It only
//! waits for the end of the agent, of its own parent, or of the link. It never reads from the link
//! and knows nothing of the tree.

use crate::runtime::wait;
use offshoot_proto::connect::bootstrap::{CONTINUED, STOPPED};
use offshoot_sys as sys;
use offshoot_sys::descendants::end_descendants;
use offshoot_sys::guard as life;
use offshoot_sys::guard::Change;
use offshoot_sys::guard::DetachMark;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

/// The longest that an agent may take to end by itself. A stopped agent gets no time.
const GRACE: Duration = Duration::from_millis(750);

/// Watches `agent` until it and everything below have ended, and then exits.
pub(crate) fn watch(agent: u32, parent: u32, signals: &OwnedFd, safe: &OwnedFd) -> ! {
    sys::set_name(c"offshoot-guard");
    life::close_all_but(signals, safe);
    let own = Some(DetachMark::context(std::process::id()));
    let (mut hung_up, mut orphaned, mut stopped) = (false, false, false);
    let mut end: Option<Instant> = None;
    loop {
        let patience = end.map_or(-1, |end| wait::left(end).as_millis() as i32 + 1);
        let woken = life::wait(signals, !hung_up, patience);
        hung_up |= woken.hung_up;
        // A detached agent is not tied to its parent or its link any more. A process below a
        // detached context has a mark as well, but that of its context.
        let tied = |broken: bool| broken && life::mark_of(0) != own;
        let alone = tied(life::parent() != parent);
        // SIGTERM once, so that the agent can end its children in order.
        if woken.told || (alone && !orphaned) {
            sys::kill(agent as i32, offshoot_sys::signal::SIGTERM);
        }
        orphaned |= alone;
        while let Some((pid, change)) = life::next_change() {
            match change {
                _ if pid != agent => {}
                Change::Ended(status) => {
                    end_descendants();
                    sys::exit(status.shell_code());
                }
                _ => {
                    stopped = change == Change::Stopped;
                    life::tell(&format!("{}\n", if stopped { STOPPED } else { CONTINUED }));
                }
            }
        }
        if end.is_none() && (woken.told || orphaned || tied(hung_up)) {
            end = Some(wait::now() + GRACE);
        }
        // A stopped agent cannot handle SIGTERM: waiting for it would only take time.
        if end.is_some_and(|end| stopped || end <= wait::now()) {
            end_descendants();
            sys::exit(128 + offshoot_sys::signal::SIGKILL);
        }
    }
}
