//! Many contexts below one controller. The controller is a process of its own, for it is killed at
//! the end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use offshoot::{Connecting, Context, Result, Router, stock};
use offshoot_tests::process;

use crate::Numbers;
use crate::procfs;

/// For connecting all of them, and for the last process to end.
const LIMIT: Duration = Duration::from_secs(120);

/// Each per context: seconds to connect, seconds to call, bytes of the agents, bytes of the
/// controller, descriptors of the controller, seconds from its SIGKILL to the end of the last
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
    // Opened before the kill: a number might be another's after it.
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

/// The controller: connects, calls, prints seconds for both, and by how much its memory and its
/// descriptors grew. Then it waits to be killed, or for the end of its stdin.
pub(crate) fn hold(count: usize) -> Numbers {
    let own = std::process::id();
    let router = Router::new()?;
    // The image is found and unpacked once, whatever the number.
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
