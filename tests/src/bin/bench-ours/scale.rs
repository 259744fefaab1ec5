//! Many contexts below one controller. The controller runs in a process of its own, because it is
//! killed at the end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use offshoot::{Connecting, Context, Result, Router, stock};
use offshoot_tests::process;

use crate::Numbers;
use crate::procfs;

/// The time limit for connecting all of them, and for the end of the last process.
const LIMIT: Duration = Duration::from_secs(120);

/// Returns, per context: the seconds to connect, the seconds to call, the bytes of the agents, the
/// bytes and descriptors of the controller, and the seconds from its SIGKILL to the end of the last
/// process.
pub(crate) fn measure(count: usize) -> Numbers {
    let mut holder = Command::new(std::env::current_exe()?);
    holder
        .args(["hold", &count.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut holder = process::die_with_parent(&mut holder).spawn()?;
    let mut line = String::new();
    BufReader::new(holder.stdout.take().ok_or("stdout is piped")?).read_line(&mut line)?;
    let held: Vec<f64> = serde_json::from_str(&line).map_err(|_| "the controller has failed")?;

    let below = process::descendants(holder.id());
    if below.len() < count {
        return Err(format!("{count} contexts have only {} processes", below.len()).into());
    }
    let shares = below.iter().map(|seen| procfs::memory(seen.pid, "Pss:"));
    let share = shares.sum::<std::io::Result<f64>>()?;
    // Opened before the kill, because a process id can be reused after it.
    let ends = below
        .iter()
        .map(|seen| process::pidfd(seen.pid))
        .collect::<std::io::Result<Vec<_>>>()?;
    let begun = Instant::now();
    holder.kill()?;
    for end in &ends {
        let left = LIMIT.saturating_sub(begun.elapsed());
        let mut polled = [PollFd::new(end.as_fd(), PollFlags::POLLIN)];
        if poll(&mut polled, process::poll_timeout(left))? == 0 {
            return Err("a process outlives its controller".into());
        }
    }
    let ended = begun.elapsed().as_secs_f64();
    holder.wait()?;
    let [connect, call, resident, descriptors] = held[..] else {
        return Err("four were promised".into());
    };
    Ok([connect, call, share, resident, descriptors, ended]
        .map(|sum| sum / count as f64)
        .to_vec())
}

/// Runs as the controller: connects, calls, and prints the seconds for both and the growth of its
/// memory and descriptors. Then it waits to be killed, or for the end of its stdin.
pub(crate) fn hold(count: usize) -> Numbers {
    let own = std::process::id();
    let router = Router::new()?;
    // The image is found and unpacked once, however many contexts follow.
    let first = router.local().connect()?;
    first.call(stock::ping {})?;
    first.shutdown()?;
    let (resident, open) = (procfs::memory(own, "Rss:")?, procfs::descriptors(own)?);

    let begun = Instant::now();
    let opened: Vec<Connecting> = (0..count)
        .map(|_| router.local().timeout(LIMIT).start())
        .collect::<Result<_>>()?;
    let contexts: Vec<Context> = opened
        .into_iter()
        .map(Connecting::wait)
        .collect::<Result<_>>()?;
    let connect = begun.elapsed().as_secs_f64();

    let begun = Instant::now();
    let replies: Vec<_> = contexts
        .iter()
        .map(|context| context.start(stock::ping {}))
        .collect();
    for reply in replies {
        reply.wait()?;
    }
    let call = begun.elapsed().as_secs_f64();

    let grown = procfs::memory(own, "Rss:")? - resident;
    let more = procfs::descriptors(own)? - open;
    let figures = vec![connect, call, grown, more as f64];
    println!("{figures:?}");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(figures)
}
