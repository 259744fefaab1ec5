//! `cleanup-controller DEPTH MS END FOLDER`: a controller for the suite `cleanup`. It has functions of every kind wait in a context that is so
//! many hops away, each with a file in the folder to remove in the end, which takes so long; says which process they run in;
//! and ends as it is told: `return`, `exit`, `panic`, `drop` (the router, and goes on), or `wait` (for a signal).

use std::io::Write as _;
use std::path::Path;

use offshoot::Router;
use offshoot_test_agent::cleanup::begin_all;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [depth, ms, end, folder] = &words[..] else { return Err("see the source for the usage".into()) };
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
