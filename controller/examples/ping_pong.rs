//! `ping_pong HOST HOST [COUNT]`: two hosts that know nothing of each other play ping-pong without
//! the controller.
//!
//! Siblings are isolated from each other until the root opens a path between them. Even then, one
//! answers the other only if the function is for anyone. The ball goes from host to host over their
//! common ancestor; the code here does not see it.

use offshoot::prelude::*;
use std::error::Error as StdError;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Takes the ball and returns it. Any context that can reach it may call it, so it trusts nothing
/// about its argument.
#[offshoot::remote(policy = anyone, quick)]
fn pong(ball: u64) -> u64 {
    ball.wrapping_add(1)
}

/// Plays with another context, and returns the time it took.
#[offshoot::remote]
fn play(other: Context, count: u64) -> offshoot::Result<Duration> {
    let start = Instant::now();
    let mut ball = 0;
    while ball < count {
        ball = other.call(pong { ball })?;
    }
    Ok(start.elapsed())
}

fn ping_pong() -> Result<(), Box<dyn StdError>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [one, other, count @ ..] = &words[..] else {
        return Err("usage: ping_pong HOST HOST [COUNT]".into());
    };
    let count = count.first().map_or(Ok(1000), |count| count.parse())?;
    let router = Router::builder().own_image().start()?;
    let (one, other) = (router.ssh(one).start()?, router.ssh(other).start()?);
    let (one, other) = (one.wait()?, other.wait()?);

    if let Err(error) = one.call(play {
        other: other.clone(),
        count,
    }) {
        println!("without a path: {error}");
    }
    router.open_path(&one, &other);
    for (from, to) in [(&one, &other), (&other, &one)] {
        let took = from
            .call(play {
                other: to.clone(),
                count,
            })
            .map_err(|error| format!("{from}: {error}"))?;
        println!(
            "{from} and {to}: {count} rounds, {} µs each",
            took.as_micros() / u128::from(count.max(1))
        );
    }
    Ok(())
}

fn main() -> ExitCode {
    offshoot::init();
    match ping_pong() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ping_pong: {error}");
            ExitCode::FAILURE
        }
    }
}
