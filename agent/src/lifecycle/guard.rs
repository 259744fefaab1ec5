//! The guard of an agent: its parent process, which outlives it for as long as it takes to end whatever it has left.
//!
//! A guard adopts what is orphaned below it, so nothing escapes it by forking. It does nothing by itself: it waits for
//! the end of the agent, of its own parent, or of the link. It never reads from the link and holds nothing of the tree.

use offshoot_proto::connect::bootstrap::{CONTINUED, STOPPED};
use offshoot_sys as sys;
use offshoot_sys::descendants::end_descendants;
use offshoot_sys::guard as life;
use offshoot_sys::guard::Change;
use offshoot_sys::guard::DetachMark;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

/// How long an agent may take to end by itself. One that is stopped gets no time.
const GRACE: Duration = Duration::from_millis(750);

/// Watches over `agent` until it has ended, and everything below with it.
pub(crate) fn watch(agent: u32, parent: u32, signals: &OwnedFd, safe: &OwnedFd) -> ! {
    sys::set_name(c"offshoot-guard");
    life::close_all_but(signals, safe);
    let own = Some(DetachMark::context(std::process::id()));
    let (mut hung_up, mut orphaned, mut stopped) = (false, false, false);
    let mut end: Option<Instant> = None;
    loop {
        let patience =
            end.map_or(-1, |end| end.saturating_duration_since(Instant::now()).as_millis() as i32 + 1);
        let woken = life::wait(signals, !hung_up, patience);
        hung_up |= woken.hung_up;
        // A tie that was cut on purpose is none. Who is below a context that was let go has a mark as well, another's.
        let tied = |broken: bool| broken && life::mark_of(0) != own;
        let alone = tied(life::parent() != parent);
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
            end = Some(Instant::now() + GRACE);
        }
        if end.is_some_and(|end| stopped || end <= Instant::now()) {
            end_descendants();
            sys::exit(128 + offshoot_sys::signal::SIGKILL);
        }
    }
}
