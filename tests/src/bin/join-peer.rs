//! `join-peer join|listen PATH`: joins a tree, or has one that others join, for the suite
//! `joining`.
//!
//! It reads commands from stdin, one a line, and answers each with a line. `join-peer knock PATH
//! TEXT` only connects, sends the text and prints the answer.

use std::io::{BufRead as _, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use offshoot::{
    Context, ContextId, Disconnection, Listener, Process, Receiver, Remote, Reply, Router, stock,
};
use offshoot_test_agent as own;
use offshoot_tests::join_peer::{drop_privileges, wanted_user};

struct Node {
    router: Option<Router>,
    listener: Option<Listener>,
    programs: Vec<Process>,
    watch: Option<Disconnection>,
}

type Outcome = Result<String, Box<dyn std::error::Error>>;

fn main() {
    if let Some(user) = wanted_user() {
        drop_privileges(&user);
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match begin(&words) {
        Ok((first, None)) => say(&first),
        Ok((first, Some(node))) => {
            say(&first);
            obey(node);
        }
        Err(error) => say(&format!("failed {error}")),
    }
}

fn say(line: &str) {
    println!("{}", line.replace('\n', " "));
    std::io::stdout().flush().expect("the suite reads it");
}

fn begin(words: &[&str]) -> Result<(String, Option<Node>), Box<dyn std::error::Error>> {
    let builder = Router::builder().package("offshoot-test-agent");
    Ok(match words {
        ["join", path] => {
            let router = builder.join(path)?;
            let first = format!("joined {} {}", router.id().0, router.name());
            (
                first,
                Some(Node {
                    router: Some(router),
                    listener: None,
                    programs: Vec::new(),
                    watch: None,
                }),
            )
        }
        ["listen", path] => {
            let router = builder.start()?;
            let listener = router.listen(path)?;
            let first = format!("listening {}", listener.path().display());
            (
                first,
                Some(Node {
                    router: Some(router),
                    listener: Some(listener),
                    programs: Vec::new(),
                    watch: None,
                }),
            )
        }
        ["knock", path, text] => {
            let mut stream = UnixStream::connect(path)?;
            // A listener that refuses at once may not read it.
            let _ = stream.write_all(text.as_bytes());
            let mut heard = Vec::new();
            let _ = stream.read_to_end(&mut heard);
            (
                format!("heard {}", String::from_utf8_lossy(&heard).trim_end()),
                None,
            )
        }
        _ => return Err("see the source for the usage".into()),
    })
}

fn obey(mut node: Node) {
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("the suite writes text");
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match act(&mut node, word, rest) {
            Ok(text) => say(&format!("ok {text}")),
            Err(error) => say(&format!("error {error}")),
        }
    }
}

fn received<F>(from: &Receiver<u64>, reply: Reply<F>) -> Outcome
where
    F: Remote<Value = (), Error = offshoot::Error>,
{
    let numbers = from
        .into_iter()
        .map(|number| number.map(|number| number.to_string()));
    let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
    reply.wait()?;
    Ok(numbers.join(" "))
}

fn act(node: &mut Node, word: &str, rest: &str) -> Outcome {
    match word {
        // A process outside of the tree.
        "apart" => {
            let child = Command::new("sleep")
                .arg("1000")
                .stdout(Stdio::null())
                .spawn()?;
            return Ok(child.id().to_string());
        }
        "leave" => {
            node.router = None;
            return Ok(String::new());
        }
        "stop listening" | "stop" => {
            node.listener = None;
            return Ok(String::new());
        }
        _ => {}
    }
    let router = node.router.as_ref().ok_or("it has left")?;
    let other = || -> Result<Context, Box<dyn std::error::Error>> {
        let number = rest.split(' ').next().unwrap_or_default();
        Ok(router.by_id(ContextId(number.parse()?)))
    };
    Ok(match word {
        "accept" => {
            let listener = node.listener.as_ref().ok_or("it does not listen")?;
            listener.accept()?.id().0.to_string()
        }
        "become" => {
            drop_privileges(rest);
            String::new()
        }
        "place" => other()?.call(own::place {})?,
        "hang" => match other()?.call(own::hang {}) {
            Ok(()) => return Err("it has come back".into()),
            Err(error) => error.to_string(),
        },
        // Another context sends to a channel of this process, as does a descendant to which the
        // sender is passed on.
        "count" => {
            let (to, from) = router.channel()?;
            let reply = other()?.start(own::channel_ends::count_to { count: 3, to });
            received(&from, reply)?
        }
        "forward" => {
            let (to, from) = router.channel()?;
            let below = rest.split_once(' ').ok_or("to whom?")?.1.parse()?;
            let below = router.by_id(ContextId(below));
            let reply = other()?.start(own::channel_ends::forward {
                other: below,
                count: 3,
                to,
            });
            received(&from, reply)?
        }
        "shell" => {
            let script = rest
                .split_once(' ')
                .map_or("", |(_, script)| script)
                .to_owned();
            other()?.call(own::shell { script })?.trim_end().to_owned()
        }
        "program" => {
            let command = other()?
                .command("sh")
                .args(["-c", "echo $$; exec sleep 1000"]);
            let mut process = command.spawn()?;
            let mut line = String::new();
            let stdout = process.stdout.take().ok_or("it has a stdout")?;
            std::io::BufReader::new(stdout).read_line(&mut line)?;
            node.programs.push(process);
            line.trim().to_owned()
        }
        "local" => {
            let child = if rest.is_empty() {
                router.local()
            } else {
                other()?.local()
            }
            .connect()?;
            let process = child.call(stock::facts {})?.process;
            format!("{} {process} {child}", child.id().0)
        }
        "children" => router.dump()?.section("children").count().to_string(),
        // Two commands, so that the tree can be ended between them.
        "watch" => {
            node.watch = Some(router.disconnected()?);
            String::new()
        }
        "watched" => node
            .watch
            .take()
            .ok_or("it does not watch")?
            .wait()
            .to_string(),
        _ => return Err(format!("{word} is not known").into()),
    })
}
