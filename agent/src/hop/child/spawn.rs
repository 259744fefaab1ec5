//! Starts the program of a recipe.

use offshoot_proto::connect::recipe::Recipe;
use offshoot_sys::c_strings;
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

/// The program of a hop.
pub(crate) enum HopProgram<'a> {
    /// A program and its arguments.
    Words(Vec<String>),
    /// The agent of this node, started again: its compressed image and the unpacked program.
    Agent {
        /// Inherited, so that the child can start children of other platforms.
        image: &'a OwnedFd,
        /// Executed, and inherited so that the child can start children itself.
        agent: &'a OwnedFd,
        /// The title, the parameter of the bootstrap, and the directory.
        argv: [String; 3],
    },
}

/// A started program and this node's ends of its streams, all non-blocking.
pub(crate) struct Spawned {
    /// The program.
    pub process: Process,
    /// The writing end of its stdin.
    pub stdin: OwnedFd,
    /// The reading end of its stdout.
    pub stdout: OwnedFd,
    /// The reading end of its stderr.
    pub stderr: OwnedFd,
    /// The master of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
    /// The slave of its terminal, held open until the agent is up: ssh opens its terminal only to
    /// ask, and a terminal that no process has open is hung up.
    pub slave: Option<OwnedFd>,
}

/// Starts a program in a session of its own, so that a Ctrl-C on this process's terminal does not
/// reach it. The end of this process ends it as well, unless it has to clean up.
///
/// # Errors
/// Returns the error of the operating system, `NotFound` for a program that does not exist.
pub(crate) fn spawn(program: &HopProgram<'_>, recipe: &Recipe) -> io::Result<Spawned> {
    let (child_in, stdin) = pipe()?;
    let (stdout, child_out) = pipe()?;
    let (stderr, child_err) = pipe()?;
    let (terminal, slave) = if recipe.terminal {
        Some(open_terminal()?).unzip()
    } else {
        (None, None)
    };
    let (image, words) = match program {
        HopProgram::Words(words) => (Image::Named, words.as_slice()),
        HopProgram::Agent { image, agent, argv } => (Image::Open { image, agent }, argv.as_slice()),
    };
    let argv = c_strings(words)?;
    let started = start(&Start {
        image,
        argv,
        env: None,
        directory: None,
        stdio: [child_in, child_out, child_err],
        terminal: slave.as_ref(),
        // A guard notices the end of its parent by itself. A program that changes its user loses
        // this setting; then the end of its streams makes it exit.
        dies_with_parent: matches!(program, HopProgram::Words(_)) && !recipe.cleans_up,
        marked: match recipe.cleans_up {
            true => Marked::Detached,
            false => Marked::No,
        },
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
