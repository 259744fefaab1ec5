//! `threaded`: a program with threads before it calls `init`, as under `#[tokio::main]`.
//!
//! It starts as many as the variable `THREADS` says, and as many again that it joins first. Prints
//! the outcome of a tree that would send this program. With `AGENT` set it is an agent of a
//! program's own.

use std::error::Error;
use std::thread;

use offshoot::Router;

fn main() -> Result<(), Box<dyn Error>> {
    let threads: usize = std::env::var("THREADS")?.parse()?;
    for number in 0..threads {
        thread::Builder::new()
            .name(format!("early-{number}"))
            .spawn(|| {
                loop {
                    thread::park();
                }
            })?;
    }
    let gone: Vec<_> = (0..threads).map(|_| thread::spawn(|| ())).collect();
    for thread in gone {
        let _ = thread.join();
    }
    if std::env::var_os("AGENT").is_some() {
        offshoot::agent_main();
    }
    offshoot::init();
    let router = Router::builder().own_image().start();
    println!(
        "{}",
        router.map_or_else(|error| error.to_string(), |_| "started".into())
    );
    // Only a program that sends itself must be single-threaded.
    println!(
        "{}",
        offshoot::run(|router| Ok(router.local().connect()?.name().to_owned()))?
    );
    Ok(())
}
