//! Starts the program of a recipe, with its stdio wired as the recipe says.

use offshoot_sys::c_string;
use offshoot_sys::pipe;
use offshoot_sys::set_nonblocking;
use offshoot_sys::spawn::Image;
use offshoot_sys::spawn::Marked;
use offshoot_sys::spawn::Process;
use offshoot_sys::spawn::Start;
use offshoot_sys::spawn::start;
use offshoot_sys::terminal::open_terminal;
use std::io;
use std::os::fd::OwnedFd;

/// What is started.
pub(crate) enum HopProgram<'a> {
    /// A program by its words.
    Words(Vec<String>),
    /// This node's own agent: its compressed image, the unpacked program, and the words.
    Agent {
        /// Handed on, so that the child can start children.
        image: &'a OwnedFd,
        /// Executed, and handed on.
        agent: &'a OwnedFd,
        /// Title, parameter, directory.
        argv: [String; 3],
    },
}

/// A started program and our ends of its streams, all non-blocking.
pub(crate) struct Spawned {
    /// The program.
    pub process: Process,
    /// To write to.
    pub stdin: OwnedFd,
    /// To read from.
    pub stdout: OwnedFd,
    /// To read from.
    pub stderr: OwnedFd,
    /// The controlling end of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
    /// The other end, to be held while the program may still ask: ssh opens its terminal only then,
    /// and one that nobody has open is hung up.
    pub slave: Option<OwnedFd>,
}

/// Starts a program in a session of its own, so that no Ctrl-C meant for us reaches it.
///
/// # Errors
/// As the operating system gives them; for a program that does not exist that is `NotFound`.
pub(crate) fn spawn(program: &HopProgram<'_>, with_terminal: bool) -> io::Result<Spawned> {
    let (child_in, stdin) = pipe()?;
    let (stdout, child_out) = pipe()?;
    let (stderr, child_err) = pipe()?;
    let (terminal, slave) = if with_terminal {
        Some(open_terminal()?).unzip()
    } else {
        (None, None)
    };
    let (image, words) = match program {
        HopProgram::Words(words) => (Image::Named, words.as_slice()),
        HopProgram::Agent { image, agent, argv } => (Image::Open { image, agent }, argv.as_slice()),
    };
    let argv = words
        .iter()
        .map(|word| c_string(word.as_bytes()))
        .collect::<io::Result<_>>()?;
    let started = start(&Start {
        image,
        argv,
        env: None,
        directory: None,
        stdio: [child_in, child_out, child_err],
        terminal: slave.as_ref(),
        // A guard has a tie of its own. A program that changes user loses this one; its streams end
        // it.
        dies_with_parent: matches!(program, HopProgram::Words(_)),
        marked: Marked::No,
    });
    let process = started.map_err(|why| why.error())?;
    for fd in [&stdin, &stdout, &stderr].into_iter().chain(&terminal) {
        set_nonblocking(fd)?;
    }
    Ok(Spawned {
        process,
        stdin,
        stdout,
        stderr,
        terminal,
        slave,
    })
}
