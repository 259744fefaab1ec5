//! Measures this project through its public crate, for `cargo xtask bench`: the sub-commands of
//! `tests/bench/mitogen_bench.py`, each printing a JSON array of numbers as its last line.

use offshoot::{Connecting, Context, Result, Router, stock};
use std::time::{Duration, Instant};

const USAGE: &str = "bench-ours connect-local N | connect-ssh CONFIG ALIAS N | sudo CONFIG ALIAS N | call-local N | \
                     call-ssh CONFIG ALIAS N | memory | bytes PROGRAM LOG";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["connect-local", count] => connects(number(count), |router| router.local().open()),
        ["connect-ssh", config, alias, count] => {
            connects(number(count), |router| router.ssh(*alias).config(*config).open())
        }
        ["sudo", config, alias, count] => sudo(config, alias, number(count)),
        ["call-local", count] => calls(number(count), |router| router.local().connect()),
        ["call-ssh", config, alias, count] => {
            calls(number(count), |router| router.ssh(*alias).config(*config).connect())
        }
        ["memory"] => memory(),
        ["bytes", program, log] => bytes(program, log),
        _ => {
            eprintln!("{USAGE}");
            std::process::exit(2);
        }
    };
    match result {
        Ok(numbers) => println!("{numbers:?}"),
        Err(error) => {
            eprintln!("bench-ours: {error}");
            std::process::exit(1);
        }
    }
}

fn number(word: &str) -> usize {
    word.parse().unwrap_or_else(|_| {
        eprintln!("{USAGE}");
        std::process::exit(2)
    })
}

/// Connect and first call, `count` times, after one that is not counted. The call does not wait for the connection: it
/// is sent behind the image, as the command line does it, too.
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

/// sudo below a live ssh hop, and the first call there.
fn sudo(config: &str, alias: &str, count: usize) -> Result<Vec<f64>> {
    let router = Router::new()?;
    let host = router.ssh(alias).config(config).connect()?;
    let mut seconds = Vec::new();
    for _ in 0..=count {
        let begun = Instant::now();
        let connecting = host.sudo().open()?;
        connecting.context().call(stock::ping {})?;
        seconds.push(begun.elapsed());
        connecting.wait()?.shutdown()?;
    }
    Ok(seconds[1..].iter().map(Duration::as_secs_f64).collect())
}

/// The median of `count` empty calls, one after the other.
fn calls(count: usize, connect: impl Fn(&Router) -> Result<Context>) -> Result<Vec<f64>> {
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

/// Resident and proportional set of an idle agent that has answered one call.
fn memory() -> Result<Vec<f64>> {
    let router = Router::new()?;
    let context = router.local().connect()?;
    let process = context.call(stock::facts {})?.process;
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let field = |name: &str| {
        let line = rollup.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
    };
    Ok(vec![field("Rss:"), field("Pss:")])
}

/// What went through a program that stands in for ssh and counts: command, stdin, and what came back.
fn bytes(program: &str, log: &str) -> Result<Vec<f64>> {
    // SAFETY: no other thread has been started yet.
    unsafe { std::env::set_var("COUNTING_SSH_LOG", log) };
    {
        let router = Router::new()?;
        router.ssh("counted").program(program).connect()?.call(stock::ping {})?;
    }
    let text = std::fs::read_to_string(log)?;
    Ok(text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect())
}
