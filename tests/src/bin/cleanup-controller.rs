//! `cleanup-controller DEPTH MS END FOLDER`: a controller for the suite `cleanup`.
//!
//! It runs a function of every kind in a context that many hops away, each with a file in the
//! folder that its destructor removes after so many milliseconds; prints the process in which they
//! run; and ends as told: `return`, `exit`, `panic`, `drop` (the router, and continues), or `wait`
//! (for a signal).

use std::io::Write as _;
use std::path::Path;

use offshoot::Router;
use offshoot_test_agent::cleanup::begin_all;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [depth, ms, end, folder] = &words[..] else {
        return Err("see the source for the usage".into());
    };
    let router = Router::builder().package("offshoot-test-agent").start()?;
    let mut there = router.local().heartbeat(1).connect()?;
    for _ in 1..depth.parse()? {
        there = there.local().connect()?;
    }
    let begun = begin_all(&there, Path::new(folder), ms.parse()?)?;
    println!("{}", begun.process);
    std::io::stdout().flush()?;
    match end.as_str() {
        "return" => return Ok(()),
        "exit" => std::process::exit(0),
        "panic" => panic!("as told"),
        "drop" => drop(router),
        _ => {}
    }
    loop {
        std::thread::park();
    }
}
