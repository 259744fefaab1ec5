//! `dying-controller locals|ssh END [CONFIG]`: a controller that is about to end, for the suites
//! `teardown`, `guard` and `detach`.
//!
//! It grows a tree, starts every kind of program that is hard to end in each context of it, prints
//! one line with all their process ids, and ends as told. The line has a word
//! `PROCESS:PROGRAM,PROGRAM,...` for each context, the controller itself first, then `ready`.
//!
//! END is `wait` (for a signal), `detach` (the same, after detaching a program in each context:
//! their ids follow `ready`), `return`, `exit` or `panic`.

use std::io::{BufRead as _, BufReader, Write as _};

use offshoot::{Context, Process, Router, stock};
use offshoot_test_agent::hang;

/// Each script prints the id of a process that must not survive, and runs as long as it can.
const PROGRAMS: [&str; 6] = [
    "echo $$; exec sleep 1000",
    // Daemonised: forked twice, with a session and streams of its own.
    "setsid sh -c 'sh -c \"echo \\$\\$; exec sleep 1000 </dev/null >/dev/null 2>&1\" & exit' & wait; exec sleep 1000",
    "trap '' TERM HUP INT QUIT; echo $$; while :; do sleep 1000; done",
    "echo $$; kill -STOP $$; exec sleep 1000",
    // The same, ignoring signals, and its parent exits.
    "echo $(setsid sh -c 'trap \"\" TERM HUP INT; sleep 1000 <&- >/dev/null 2>&1 & echo $!'); exec sleep 1000",
    "sleep 1000 & (sleep 1000 & sleep 1000 & wait) & echo $!; wait",
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let router = Router::builder().package("offshoot-test-agent").start();
    let router = router.expect("the system has descriptors and threads");
    let (contexts, end) = match words.as_slice() {
        ["locals", end] => (locals(&router), *end),
        ["ssh", end, config] => (behind_ssh(&router, config), *end),
        _ => panic!("see the source for the usage"),
    };
    let contexts = contexts.expect("the fixtures are up");
    let mut running = Vec::new();
    let mut hanging = Vec::new();
    let mut places = Vec::new();
    for context in [&*router].into_iter().chain(&contexts) {
        let process = context.call(stock::facts {}).expect("it answers").process;
        let numbers = PROGRAMS.map(|script| {
            let (process, number) = start(context, script);
            running.push(process);
            number
        });
        places.push(format!("{process}:{}", numbers.join(",")));
        if context.id() != router.id() {
            hanging.push(context.start(hang {}));
        }
    }
    let mut detached = String::new();
    for context in [&*router]
        .into_iter()
        .chain(&contexts)
        .filter(|_| end == "detach")
    {
        let command = context.command("sh").args(["-c", "sleep 1000 & wait"]);
        let process = command.detached("kept").expect("it is detached");
        detached.push_str(&format!(" {process}"));
    }
    println!("{} ready{detached}", places.join(" "));
    std::io::stdout().flush().expect("the suite reads it");
    match end {
        "return" => {}
        "exit" => std::process::exit(0),
        "panic" => panic!("as told"),
        _ => loop {
            std::thread::park();
        },
    }
}

// Without heartbeats: nothing but the end of a process or link ends anything.
fn locals(router: &Router) -> offshoot::Result<Vec<Context>> {
    let one = router.local().heartbeat(0).connect()?;
    let two = one.local().heartbeat(0).connect()?;
    let three = two.local().heartbeat(0).connect()?;
    Ok(vec![one, two, three])
}

fn behind_ssh(router: &Router, config: &str) -> offshoot::Result<Vec<Context>> {
    let host = router.ssh("web1").config(config).user("nopass");
    let host = host.heartbeat(0).connect()?;
    let root = host.sudo().heartbeat(0).connect()?;
    let below = root.sudo().user("plain").heartbeat(0).connect()?;
    Ok(vec![host, root, below])
}

fn start(context: &Context, script: &str) -> (Process, String) {
    let mut process = context
        .command("sh")
        .arg("-c")
        .arg(script)
        .spawn()
        .expect("the tree is up");
    let stdout = process.stdout.take().expect("not taken yet");
    let mut line = String::new();
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("the program prints a line");
    (process, line.trim().to_owned())
}
