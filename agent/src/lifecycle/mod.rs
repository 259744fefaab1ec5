//! The life of an agent process, from its start to its end.
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
use offshoot_bootstrap::exit;
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

/// The `main` function of an agent binary with a program's own functions.
///
/// Never returns. An agent that is started by hand prints an explanation; with
/// `--offshoot-functions` it prints the functions that can be called. It does not become an agent
/// if other threads run, as under `#[tokio::main]`.
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

/// The `main` function of the stock agent. It has no function that logs, so that it needs no
/// subscriber.
#[doc(hidden)]
pub fn stock_main(arguments: Vec<Vec<u8>>) -> ! {
    // `std::process::exit` would flush buffers and run exit handlers, of which the stock agent has
    // none.
    const STOCK: ProgramKind = ProgramKind {
        log: |_| {},
        exit: sys::exit,
    };
    main_with(arguments, &STOCK, || Ok(()))
}

/// The differences between agents with functions of their own and the stock agent.
struct ProgramKind {
    /// Sends the log records of this process to the root.
    log: fn(Weak<NodeHandle>),
    /// Ends the process.
    exit: fn(i32) -> !,
}

/// The kind of an agent with functions of its own, which may log, print, and have exit handlers.
const OWN: ProgramKind = ProgramKind {
    log: Forward::install,
    exit: std::process::exit,
};

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

/// Makes this program able to be its own image. It has to be called first in `main`, before
/// threads, output and arguments are used.
///
/// If the program was started as an agent, it becomes one and this function never returns.
/// Otherwise it returns at once and does nothing. Any code before it in `main` would also run on
/// every target.
///
/// ```no_run
/// # use offshoot_agent as offshoot;
/// fn main() {
///     offshoot::init();
///     // From here on this is the controller.
/// }
/// ```
///
/// No other thread may run yet, because an agent takes over the whole process. `#[tokio::main]` and
/// similar attributes start a runtime with threads before the first line of `main`; write `fn
/// main() { offshoot::init(); runtime.block_on(...) }` instead:
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
/// If other threads run, this function still returns in the controller, and
/// [`Builder::start`](crate::router::builder::Builder::start) refuses to send the program, with an
/// error that explains the reason. A program that has other threads only when it is started as an
/// agent ends with that text.
pub fn init() {
    init_with(sys::arguments());
}

/// [`init`] for a caller that reads the arguments itself: std does not know them before `main`.
#[doc(hidden)]
pub fn init_with(arguments: Vec<Vec<u8>>) {
    let fit = threads::look();
    if let Some(role) = StartMode::of(&arguments) {
        sys::write_signals::suppress();
        play(role, &arguments, &OWN, fit);
    }
}

/// The purpose of a start that is not by a person.
enum StartMode {
    /// As an agent, by the bootstrap stages, with this parameter and a title.
    Agent(Param),
    /// To list its functions, by `build-agent`.
    List,
}

impl StartMode {
    fn of(arguments: &[Vec<u8>]) -> Option<Self> {
        match arguments {
            [_, first] if first == b"--offshoot-functions" => Some(Self::List),
            [_, first, _] => offshoot_bootstrap::parse_param(std::str::from_utf8(first).ok()?)
                .ok()
                .map(StartMode::Agent),
            _ => None,
        }
    }
}

fn play(
    role: StartMode,
    arguments: &[Vec<u8>],
    manner: &ProgramKind,
    fit: Result<(), String>,
) -> ! {
    if let Err(reason) = fit {
        say(StdStream::Err, &format!("offshoot-agent: {reason}\n"));
        (manner.exit)(exit::UNFIT)
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
                exit::UNFIT
            }
        },
    };
    (manner.exit)(code)
}

/// Prints without the buffered streams of std, which an agent does not need otherwise.
fn say(stream: StdStream, text: &str) -> i32 {
    let written = sys::take_stdio(stream).and_then(|fd| sys::write_all(&fd, text.as_bytes()));
    i32::from(written.is_err())
}

/// The reason why this process cannot become an agent: a text, because only its parent reads it.
struct NotAnAgent(String);

impl<E: std::fmt::Display> From<E> for NotAnAgent {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

fn run(
    parameter: &Param,
    arguments: &[Vec<u8>],
    log: fn(Weak<NodeHandle>),
) -> Result<(), NotAnAgent> {
    let missing = || Error::Image("started without its image".into());
    // Passwords pass through the agent: only root may read its memory, and it writes no core file.
    sys::hide_memory();
    sys::limits::leave_no_core();
    offshoot_proto::collections::index_map::seed(sys::random());
    sys::hide_arguments(arguments);
    sys::set_name(c"offshoot");
    // The hop's program may have changed signals: an ignored SIGCHLD would hide every exit of a
    // child.
    sys::unblock_signals();
    sys::default_signal(offshoot_sys::signal::SIGCHLD);
    sys::adopt_orphans();
    // An agent that a detached process started is not detached itself.
    let _ = life::set_mark(0, None);
    // If the system has no process left, the agent runs without a guard. Other threads, which would
    // prevent a fork as well, were ruled out before this function.
    if let Ok(Fork::Guard {
        agent,
        parent,
        signals,
        safe,
    }) = life::split()
    {
        guard::watch(agent, parent, &signals, &safe);
    }
    sys::adopt_orphans();
    sys::limits::raise_descriptors();
    let image = sys::inherited(parameter.image_fd.ok_or_else(missing)?)?;
    let agent = sys::inherited(parameter.agent_fd.ok_or_else(missing)?)?;

    // From here on stdin and stdout are the link only; output of functions goes to the root as log
    // records.
    let (input, output) = (
        sys::take_stdio(StdStream::In)?,
        sys::take_stdio(StdStream::Out)?,
    );
    // In a jail without devices an empty pipe serves as well: it reads as nothing.
    let null = sys::procfs::open("/dev/null", offshoot_sys::open::O_RDWR)
        .or_else(|_| sys::pipe().map(|(read, _)| read))?;
    let (stdout, own_stdout) = sys::pipe()?;
    let (stderr, own_stderr) = sys::pipe()?;
    for (from, to) in [
        (&null, StdStream::In),
        (&own_stdout, StdStream::Out),
        (&own_stderr, StdStream::Err),
    ] {
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
