//! Call rates, a large argument, and the memory of pending replies.

use std::time::Instant;

use offshoot::{Blob, Context, Router, stock};
use offshoot_test_agent as agent;

use crate::procfs;
use crate::{Numbers, Outcome};

/// Returns the empty calls per second, of `count` calls: starts `window` calls, waits for all of
/// them, and repeats.
pub(crate) fn pipeline(count: usize, window: usize) -> Numbers {
    let router = Router::new()?;
    let context = router.local().connect()?;
    pass(&context, window)?;
    let begun = Instant::now();
    for _ in 0..count / window {
        pass(&context, window)?;
    }
    Ok(vec![count as f64 / begun.elapsed().as_secs_f64()])
}

fn pass(context: &Context, window: usize) -> Outcome<()> {
    let replies: Vec<_> = (0..window).map(|_| context.start(stock::ping {})).collect();
    for reply in replies {
        reply.wait()?;
    }
    Ok(())
}

/// Starts a tree whose agents have the functions of `offshoot-test-agent`.
fn with_functions() -> offshoot::Result<Router> {
    Router::builder().package("offshoot-test-agent").start()
}

/// Returns, for each round, the bytes per second of an argument of this size to a function that
/// returns its length. A first round is not counted.
pub(crate) fn argument(mebibytes: usize, rounds: usize) -> Numbers {
    let router = with_functions()?;
    let context = router.local().connect()?;
    let bytes = vec![b'x'; mebibytes << 20];
    let mut rates = Vec::new();
    for round in 0..=rounds {
        let call = agent::weigh {
            bytes: Blob::from(bytes.clone()),
        };
        let begun = Instant::now();
        let length = context.call(call)?;
        let seconds = begun.elapsed().as_secs_f64();
        if length != bytes.len() {
            return Err(format!("{length} of {} bytes arrived", bytes.len()).into());
        }
        if round > 0 {
            rates.push(length as f64 / seconds);
        }
    }
    Ok(rates)
}

/// Returns by how many bytes the caller and the agent have grown once the agent has received
/// `count` calls and answered none.
pub(crate) fn outstanding(count: usize) -> Numbers {
    let router = with_functions()?;
    let context = router.local().connect()?;
    let process = context.call(stock::facts {})?.process;
    let resident = || -> Outcome<[f64; 2]> {
        Ok([
            procfs::memory(std::process::id(), "Rss:")?,
            procfs::memory(process, "Rss:")?,
        ])
    };
    let before = resident()?;
    let replies: Vec<_> = (0..count).map(|_| context.start(agent::hang {})).collect();
    // Small requests keep their order: when this one is answered, all others have been taken.
    context.call(stock::ping {})?;
    let after = resident()?;
    drop(replies);
    Ok(after
        .iter()
        .zip(before)
        .map(|(after, before)| after - before)
        .collect())
}
