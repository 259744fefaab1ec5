//! The life of an agent process, from its first instruction to its last.
pub(crate) mod guard;
pub(crate) mod threads;

use crate::broker::Broker;
use crate::broker::dispatch::serve;
use crate::call::function::FUNCTIONS;
use crate::call::signatures::hello;
use crate::log::subscriber::Forward;
use crate::runtime::handle::NodeHandle;
use crate::runtime::image_store::Images;
use crate::runtime::role::NodeRole;
use offshoot_bootstrap::Param;
use offshoot_codec as codec;
use offshoot_proto::Error;
use offshoot_proto::Result;
use offshoot_proto::node::Node;
use offshoot_proto::wire::Kind;
use offshoot_sys as sys;
use offshoot_sys::StdStream;
use offshoot_sys::guard as life;
use offshoot_sys::guard::Fork;
use std::sync::Arc;
use std::sync::Weak;

/// The `main` of an agent binary with a program's own functions.
///
/// Never returns. Started by hand it explains itself; with `--offshoot-functions` it lists what can be called in it. It refuses
/// to become an agent where other threads run, as under `#[tokio::main]`.
///
/// ```no_run
/// #[offshoot_agent::remote(crate = offshoot_agent)]
/// fn uptime() -> std::io::Result<String> {
///     std::fs::read_to_string("/proc/uptime")
/// }
///
/// fn main() {
///     offshoot_agent::agent_main()
/// }
/// ```
pub fn agent_main() -> ! {
    main_with(sys::arguments(), &OWN, threads::look)
}

/// The `main` of the stock agent, which has no function that logs: this crate's own records need no
/// subscriber.
#[doc(hidden)]
pub fn stock_main(arguments: Vec<Vec<u8>>) -> ! {
    // What std keeps for a program's output and its last functions, there is none of.
    const STOCK: ProgramKind = ProgramKind { log: |_| {}, exit: sys::exit };
    main_with(arguments, &STOCK, || Ok(()))
}

/// How agents with functions of their own differ from the stock agent.
struct ProgramKind {
    /// Has what this process logs go up.
    log: fn(Weak<NodeHandle>),
    /// Ends the process.
    exit: fn(i32) -> !,
}

/// That of an agent whose functions log, print and have other things to do at their end.
const OWN: ProgramKind = ProgramKind { log: Forward::install, exit: std::process::exit };

fn main_with(arguments: Vec<Vec<u8>>, manner: &ProgramKind, fit: fn() -> Result<(), String>) -> ! {
    if let Some(role) = StartMode::of(&arguments) {
        play(role, &arguments, manner, fit());
    }
    say(
        StdStream::Err,
        "offshoot-agent: this is the part of offshoot that a controller sends; it is not started by hand\n",
    );
    (manner.exit)(64)
}

/// Makes this program one that can be its own image: to be called first in `main`, before threads, output and arguments.
///
/// Where the program was started as an agent it becomes one and this never returns; else it returns at once and does
/// nothing. What stands in front of it in `main` would also run on every target.
///
/// ```no_run
/// # use offshoot_agent as offshoot;
/// fn main() {
///     offshoot::init();
///     // From here on this is the controller.
/// }
/// ```
///
/// No other thread may run yet, for an agent takes its process over. `#[tokio::main]` and its like start a runtime with
/// threads in front of the first line of `main`; write `fn main() { offshoot::init(); runtime.block_on(...) }` in their place:
///
/// ```no_run
/// # use offshoot_agent as offshoot;
/// async fn work() -> offshoot::Result<()> {
///     let router = offshoot::Router::builder().own_image().start()?;
///     let web = router.ssh("web1").start()?.await?;
///     println!("{web} is up");
///     Ok(())
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     offshoot::init();
///     Ok(smol::block_on(work())?)
/// }
/// # mod smol { pub fn block_on<F: Future>(_: F) -> F::Output { unimplemented!() } }
/// ```
///
/// Where threads do run, this returns all the same, and [`Builder::start`](crate::router::builder::Builder::start) refuses to send the program
/// with an error that says so; a program that has them only where it was started as an agent ends with that text.
pub fn init() {
    let fit = threads::look();
    let arguments = sys::arguments();
    if let Some(role) = StartMode::of(&arguments) {
        sys::sigpipe::suppress();
        play(role, &arguments, &OWN, fit);
    }
}

/// The status of an agent that did not come up.
const UNFIT: i32 = 89;

/// What a program was started for, when not by a person.
enum StartMode {
    /// To be an agent: by stages, with a title and this parameter.
    Agent(Param),
    /// To list its functions: by `build-agent`.
    List,
}

impl StartMode {
    fn of(arguments: &[Vec<u8>]) -> Option<StartMode> {
        match arguments {
            [_, first] if first == b"--offshoot-functions" => Some(StartMode::List),
            [_, first, _] => {
                offshoot_bootstrap::parse_param(std::str::from_utf8(first).ok()?).ok().map(StartMode::Agent)
            }
            _ => None,
        }
    }
}

fn play(role: StartMode, arguments: &[Vec<u8>], manner: &ProgramKind, fit: Result<(), String>) -> ! {
    if let Err(reason) = fit {
        say(StdStream::Err, &format!("offshoot-agent: {reason}\n"));
        (manner.exit)(UNFIT)
    }
    let code = match role {
        StartMode::List => {
            let mut names: Vec<_> = FUNCTIONS.iter().map(|function| function.name).collect();
            names.push("");
            say(StdStream::Out, &names.join("\n"))
        }
        StartMode::Agent(parameter) => match run(&parameter, arguments, manner.log) {
            Ok(()) => 0,
            Err(NotAnAgent(error)) => {
                say(StdStream::Err, &format!("offshoot-agent: {error}\n"));
                UNFIT
            }
        },
    };
    (manner.exit)(code)
}

/// Without std's buffered streams, which an agent needs for nothing else.
fn say(stream: StdStream, text: &str) -> i32 {
    let written = sys::take_stdio(stream).and_then(|fd| sys::write_all(&fd, text.as_bytes()));
    i32::from(written.is_err())
}

/// Why this process does not become an agent: a text, since nobody but its parent reads it.
struct NotAnAgent(String);

impl<E: std::fmt::Display> From<E> for NotAnAgent {
    fn from(error: E) -> NotAnAgent {
        NotAnAgent(error.to_string())
    }
}

fn run(parameter: &Param, arguments: &[Vec<u8>], log: fn(Weak<NodeHandle>)) -> Result<(), NotAnAgent> {
    let missing = || Error::Image("started without its image".into());
    // Passwords pass through it: nobody but root looks into it, and it leaves none of them in a file.
    sys::hide_memory();
    sys::limits::leave_no_core();
    offshoot_proto::collections::index_map::seed(sys::random());
    sys::hide_arguments(arguments);
    sys::set_name(c"offshoot");
    // Whatever the hop's program blocked or ignored: an ignored SIGCHLD would hide every end from guard and agent.
    sys::unblock_signals();
    sys::default_signal(offshoot_sys::signal::SIGCHLD);
    sys::adopt_orphans();
    // What was let go by one tree may grow another, and that one is not let go.
    let _ = life::set_mark(0, None);
    // A system that gives no second process gets an agent without a guard.
    if let Ok(Fork::Guard { agent, parent, signals, safe }) = life::split() {
        guard::watch(agent, parent, &signals, &safe);
    }
    sys::adopt_orphans();
    sys::limits::raise_descriptors();
    let image = sys::inherited(parameter.image_fd.ok_or_else(missing)?)?;
    let agent = sys::inherited(parameter.agent_fd.ok_or_else(missing)?)?;

    // From here on stdin and stdout are the link alone; whatever is printed goes to the root as log records.
    let (input, output) = (sys::take_stdio(StdStream::In)?, sys::take_stdio(StdStream::Out)?);
    // A jail without devices: an empty pipe reads as nothing just as well.
    let null = sys::procfs::open("/dev/null", offshoot_sys::open::O_RDWR)
        .or_else(|_| sys::pipe().map(|(read, _)| read))?;
    let (stdout, own_stdout) = sys::pipe()?;
    let (stderr, own_stderr) = sys::pipe()?;
    for (from, to) in [(&null, StdStream::In), (&own_stdout, StdStream::Out), (&own_stderr, StdStream::Err)] {
        sys::replace_stdio(from, to)?;
    }
    drop((null, own_stdout, own_stderr));

    let (end, child) = (sys::pipe()?, sys::pipe()?);
    sys::signal::report(end.1, child.1)?;

    let (node, up) = Node::agent();
    let shared = NodeHandle::new(node, Images::inherited(image, agent))?;
    log(Arc::downgrade(&shared));
    let place = NodeRole::Agent(up);
    serve(&shared, &place);
    let mut broker = Broker::new(Arc::clone(&shared), place);
    sys::write_all(&output, &offshoot_bootstrap::agent_marker(&parameter.nonce))?;
    broker.attach_parent(up, input, output)?;
    broker.attach_own([stdout, stderr], [end.0, child.0])?;
    let greeting = codec::own(&hello());
    shared.with(|core| core.node.control(up, Kind::Hello, greeting));
    broker.run();
    Ok(())
}
