//! Measures this project through its public crate, for `cargo xtask bench`: the sub-commands of
//! `tests/bench/mitogen_bench.py` and more, each printing a JSON array of numbers as its last line.
//!
//! This file has connections, calls and the memory of an agent.

mod calls;
mod end;
mod far;
mod flow;
mod methods;
mod procfs;
mod scale;

use offshoot::{Connecting, Context, Result, Router, stock};
use std::time::{Duration, Instant};

/// The result of a measurement. Its error is printed and ends this program.
type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The numbers that are printed.
type Numbers = Outcome<Vec<f64>>;

const USAGE: &str = "bench-ours connect-local N | connect-ssh CONFIG ALIAS N | sudo CONFIG ALIAS N | call-local N | \
                     call-ssh CONFIG ALIAS N | memory | bytes PROGRAM LOG | stalled down|up | ping-busy | \
                     relay HOPS MIB | pipeline COUNT WINDOW | argument MIB ROUNDS | ten-hops N | outstanding N | \
                      far CONFIG ALIAS MIB | far-ssh CONFIG ALIAS MIB | scale N | hold N | end | method NAME N | \
                     at-once CONFIG ALIAS HOSTS N";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match measure(&words) {
        Ok(numbers) => println!("{numbers:?}"),
        Err(error) => {
            eprintln!("bench-ours: {error}");
            std::process::exit(1);
        }
    }
}

fn measure(words: &[&str]) -> Numbers {
    let mebibytes = |word: &str| (number(word) as u64) << 20;
    match words {
        ["connect-local", count] => Ok(connects(number(count), |router| router.local().start())?),
        ["connect-ssh", config, alias, count] => Ok(connects(number(count), |router| {
            router.ssh(*alias).config(*config).start()
        })?),
        ["sudo", config, alias, count] => Ok(sudo(config, alias, number(count))?),
        ["call-local", count] => calls(number(count), |router| Ok(router.local().connect()?)),
        ["call-ssh", config, alias, count] => calls(number(count), |router| {
            Ok(router.ssh(*alias).config(*config).connect()?)
        }),
        ["memory"] => memory(),
        ["bytes", program, log] => Ok(bytes(program, log)?),
        ["pipeline", count, window] => calls::pipeline(number(count), number(window)),
        ["argument", size, rounds] => calls::argument(number(size), number(rounds)),
        ["ten-hops", count] => calls(number(count), |router| flow::deepest(router, 10)),
        ["outstanding", count] => calls::outstanding(number(count)),
        ["stalled", "down"] => flow::stalled(flow::Way::Down),
        ["stalled", "up"] => flow::stalled(flow::Way::Up),
        ["ping-busy"] => flow::ping_busy(),
        ["relay", hops, size] => flow::relay(number(hops), mebibytes(size)),
        ["far", config, alias, size] => far::ours(config, alias, mebibytes(size)),
        ["far-ssh", config, alias, size] => far::plain(config, alias, mebibytes(size)),
        ["scale", count] => scale::measure(number(count)),
        ["hold", count] => scale::hold(number(count)),
        ["end"] => end::measure(),
        ["method", name, count] => methods::measure(name, number(count)),
        ["at-once", config, alias, hosts, count] => {
            methods::at_once(config, alias, number(hosts), number(count))
        }
        _ => {
            eprintln!("{USAGE}");
            std::process::exit(2);
        }
    }
}

fn number(word: &str) -> usize {
    word.parse().unwrap_or_else(|_| {
        eprintln!("{USAGE}");
        std::process::exit(2)
    })
}

/// Measures the time to connect and make a first call, `count` times, after one that is not
/// counted. The call does not wait for the connection: it is sent right after the image, as the
/// command line does.
fn connects(count: usize, open: impl Fn(&Router) -> Result<Connecting>) -> Result<Vec<f64>> {
    let router = Router::new()?;
    let mut seconds = Vec::new();
    for _ in 0..=count {
        let begun = Instant::now();
        let connecting = open(&router)?;
        connecting.context().call(stock::ping {})?;
        seconds.push(begun.elapsed());
        connecting.wait()?.shutdown()?;
    }
    Ok(seconds[1..].iter().map(Duration::as_secs_f64).collect())
}

/// Measures sudo below a running ssh hop, with a first call.
fn sudo(config: &str, alias: &str, count: usize) -> Result<Vec<f64>> {
    let router = Router::new()?;
    let host = router.ssh(alias).config(config).connect()?;
    let mut seconds = Vec::new();
    for _ in 0..=count {
        let begun = Instant::now();
        let connecting = host.sudo().start()?;
        connecting.context().call(stock::ping {})?;
        seconds.push(begun.elapsed());
        connecting.wait()?.shutdown()?;
    }
    Ok(seconds[1..].iter().map(Duration::as_secs_f64).collect())
}

/// Returns the median of `count` empty calls, one after the other.
fn calls(count: usize, connect: impl Fn(&Router) -> Outcome<Context>) -> Numbers {
    let router = Router::new()?;
    let context = connect(&router)?;
    for _ in 0..count / 10 {
        context.call(stock::ping {})?;
    }
    let mut seconds = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        context.call(stock::ping {})?;
        seconds.push(begun.elapsed());
    }
    seconds.sort_unstable();
    Ok(vec![seconds[count / 2].as_secs_f64()])
}

/// Returns the resident and the proportional set size of an idle agent that has answered one call.
fn memory() -> Numbers {
    let router = Router::new()?;
    let context = router.local().connect()?;
    let process = context.call(stock::facts {})?.process;
    Ok(vec![
        procfs::memory(process, "Rss:")?,
        procfs::memory(process, "Pss:")?,
    ])
}

/// Returns the byte counts of a hop through a program that stands in for ssh: command, stdin, and
/// output.
fn bytes(program: &str, log: &str) -> Result<Vec<f64>> {
    // SAFETY: no other thread has been started yet.
    unsafe { std::env::set_var("COUNTING_SSH_LOG", log) };
    {
        let router = Router::new()?;
        router
            .ssh("counted")
            .program(program)
            .connect()?
            .call(stock::ping {})?;
    }
    let text = std::fs::read_to_string(log)?;
    Ok(text
        .split_ascii_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect())
}
