//! Streams through chains of local contexts: throughput, memory while the stream is not read, and
//! the delay of a call beside a stream.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use offshoot::{Context, Reader, Router, stock};
use offshoot_tests::process::{descendants, eventually};

use crate::procfs;
use crate::{Numbers, Outcome};

/// The direction of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From a program in the deepest context to the root.
    Up,
    /// From the root to a program in the deepest context.
    Down,
}

/// The bytes after which a stream counts as running: by then, every window has grown.
const WARM: u64 = 64 << 20;

/// The length of the stalled stream in bytes.
const STALLED: u64 = 1 << 30;

/// The duration of the pings beside a stream.
const PINGING: Duration = Duration::from_secs(3);

/// The size of one write in bytes.
const BLOCK: usize = 64 << 10;

/// Returns the last of `hops` local contexts, each below the one before, after a first call.
pub(crate) fn deepest(router: &Router, hops: usize) -> Outcome<Context> {
    let mut context = router.local().connect()?;
    for _ in 1..hops {
        context = context.local().connect()?;
    }
    context.call(stock::ping {})?;
    Ok(context)
}

/// Writes this number of bytes.
pub(crate) fn feed(writer: &mut impl Write, bytes: u64) -> std::io::Result<()> {
    let block = [0x5a; BLOCK];
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(BLOCK as u64);
        writer.write_all(&block[..piece as usize])?;
        left -= piece;
    }
    writer.flush()
}

/// Reads at least `least` bytes, or up to the end. Returns the number of bytes read.
fn swallow(reader: &mut Reader, least: u64) -> std::io::Result<u64> {
    let mut came = 0;
    while came < least
        && let Some(piece) = reader.next_chunk()?
    {
        came += piece.len() as u64;
    }
    Ok(came)
}

/// Returns the bytes per second of one stream through `hops`: down, and up.
pub(crate) fn relay(hops: usize, bytes: u64) -> Numbers {
    let router = Router::new()?;
    let context = deepest(&router, hops)?;
    let mut rates = Vec::new();
    for way in [Way::Down, Way::Up] {
        let begun = Instant::now();
        match way {
            Way::Down => {
                let mut program = context
                    .command("sh")
                    .args(["-c", "exec cat >/dev/null"])
                    .spawn()?;
                feed(program.stdin.as_mut().ok_or("stdin is there")?, bytes)?;
                program.wait()?;
            }
            Way::Up => {
                let program = context
                    .command("head")
                    .args(["-c", &bytes.to_string(), "/dev/zero"]);
                let mut program = program.spawn()?;
                let came = swallow(program.stdout.as_mut().ok_or("stdout is there")?, u64::MAX)?;
                if came != bytes {
                    return Err(format!("{came} of {bytes} bytes came").into());
                }
                program.wait()?;
            }
        }
        rates.push(bytes as f64 / begun.elapsed().as_secs_f64());
    }
    Ok(rates)
}

/// Returns by how many bytes the process that grew most has grown, once a stream through several
/// hops is not read any more.
pub(crate) fn stalled(way: Way) -> Numbers {
    const HOPS: usize = 4;
    let router = Router::new()?;
    let context = deepest(&router, HOPS)?;
    let agents: Vec<u32> = descendants(std::process::id())
        .iter()
        .map(|seen| seen.pid)
        .collect();
    let tree: Vec<u32> = agents.iter().copied().chain([std::process::id()]).collect();
    let resident = || -> Outcome<Vec<f64>> {
        Ok(tree
            .iter()
            .map(|pid| procfs::memory(*pid, "Rss:"))
            .collect::<Result<_, _>>()?)
    };
    let before = resident()?;
    let command = match way {
        Way::Up => context
            .command("head")
            .args(["-c", &STALLED.to_string(), "/dev/zero"]),
        // The sleeper keeps stdin open and does not read it.
        Way::Down => context
            .command("sh")
            .args(["-c", &format!("head -c {WARM} >/dev/null; exec sleep 600")]),
    };
    let mut program = command.spawn()?;
    match way {
        Way::Up => {
            swallow(program.stdout.as_mut().ok_or("stdout is there")?, WARM)?;
        }
        Way::Down => {
            let mut stdin = program.stdin.take().ok_or("stdin is there")?;
            // Fails once the program is ended below.
            thread::spawn(move || feed(&mut stdin, STALLED));
        }
    }
    until_still(&agents)?;
    let through = agents
        .iter()
        .map(|pid| procfs::moved(*pid))
        .sum::<Result<f64, _>>()?
        / 2.0
        / HOPS as f64;
    eprintln!("  at rest after {:.0} MiB {way:?}", through / 1_048_576.0);
    let grown = resident()?
        .iter()
        .zip(before)
        .map(|(after, before)| after - before)
        .fold(0.0, f64::max);
    Ok(vec![grown])
}

/// Waits until the stream runs, and then until no agent has moved bytes for a second. This process
/// is not watched, because it reads `/proc`.
fn until_still(agents: &[u32]) -> Outcome<()> {
    /// Heartbeats continue.
    const STILL: f64 = 16_384.0;
    let moved = || {
        agents
            .iter()
            .map(|pid| procfs::moved(*pid).unwrap_or(0.0))
            .sum::<f64>()
    };
    let (mut last, mut since) = (moved(), Instant::now());
    let still = eventually(Duration::from_secs(120), || {
        let now = moved();
        if now - last > STILL || now < WARM as f64 {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_secs(1)
    });
    if still {
        Ok(())
    } else {
        Err("the stream has not come to rest".into())
    }
}

/// Returns the median and the 99th percentile in seconds of empty calls over three hops: alone,
/// beside a stream down, and beside a stream up.
pub(crate) fn ping_busy() -> Numbers {
    let router = Router::new()?;
    let context = deepest(&router, 3)?;
    let mut figures = pings(&context)?;
    for way in [Way::Down, Way::Up] {
        figures.extend(beside(&context, way)?);
    }
    Ok(figures)
}

fn beside(context: &Context, way: Way) -> Numbers {
    let (moved, over) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (counted, stop) = (Arc::clone(&moved), Arc::clone(&over));
    let (mut program, stream) = match way {
        Way::Down => {
            let mut program = context
                .command("sh")
                .args(["-c", "exec cat >/dev/null"])
                .spawn()?;
            let mut stdin = program.stdin.take().ok_or("stdin is there")?;
            let stream = thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) && feed(&mut stdin, BLOCK as u64).is_ok() {
                    counted.fetch_add(BLOCK as u64, Ordering::Relaxed);
                }
            });
            (program, stream)
        }
        Way::Up => {
            let mut program = context.command("cat").arg("/dev/zero").spawn()?;
            let mut stdout = program.stdout.take().ok_or("stdout is there")?;
            let stream = thread::spawn(move || {
                while !stop.load(Ordering::Relaxed)
                    && let Ok(count @ 1..) = swallow(&mut stdout, 1)
                {
                    counted.fetch_add(count, Ordering::Relaxed);
                }
            });
            (program, stream)
        }
    };
    let running = eventually(Duration::from_secs(60), || {
        moved.load(Ordering::Relaxed) >= WARM
    });
    let begun = moved.load(Ordering::Relaxed);
    let figures = pings(context);
    let carried = moved.load(Ordering::Relaxed) - begun;
    over.store(true, Ordering::Relaxed);
    stream
        .join()
        .map_err(|_| "the stream's thread does not panic")?;
    // The stream ends only after its reader or writer is closed.
    program
        .wait_timeout(Duration::from_secs(30))?
        .ok_or("the program did not end with its stream")?;
    if !running || carried == 0 {
        return Err(format!("nothing was streamed {way:?} while calls were made").into());
    }
    eprintln!(
        "  beside {:.0} MiB/s {way:?}",
        carried as f64 / PINGING.as_secs_f64() / 1_048_576.0
    );
    figures
}

/// Makes empty calls one after the other for [`PINGING`]. Returns the median and the 99th
/// percentile.
fn pings(context: &Context) -> Numbers {
    let mut seconds = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < PINGING {
        let started = Instant::now();
        context.call(stock::ping {})?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    seconds.sort_unstable_by(f64::total_cmp);
    Ok(vec![
        seconds[seconds.len() / 2],
        seconds[seconds.len() * 99 / 100],
    ])
}
