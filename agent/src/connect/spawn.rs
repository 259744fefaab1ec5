//! Starts the program of a recipe, with its stdio wired as the recipe says.

use crate::sys;
use nix::fcntl::OFlag;
use std::ffi::{CString, OsStr};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// What is started.
pub enum Program<'a> {
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

/// The descriptors a directly started agent finds its image and itself at.
pub const IMAGE_FD: RawFd = 3;
/// See [`IMAGE_FD`].
pub const AGENT_FD: RawFd = 4;

/// A started program and our ends of its streams, all non-blocking.
pub struct Spawned {
    /// The program.
    pub process: Child,
    /// To write to.
    pub stdin: OwnedFd,
    /// To read from.
    pub stdout: OwnedFd,
    /// To read from.
    pub stderr: OwnedFd,
    /// The controlling end of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
}

/// Starts a program in a session of its own, so that no Ctrl-C meant for us reaches it.
///
/// # Errors
/// As the operating system gives them; for a program that does not exist that is `NotFound`.
pub fn spawn(program: &Program<'_>, with_terminal: bool) -> io::Result<Spawned> {
    let (child_in, stdin) = sys::pipe()?;
    let (stdout, child_out) = sys::pipe()?;
    let (stderr, child_err) = sys::pipe()?;
    let (terminal, slave) = if with_terminal { Some(open_terminal()?).unzip() } else { (None, None) };

    let mut command = match program {
        Program::Words(words) => {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            command
        }
        Program::Agent { .. } => Command::new("/"),
    };
    command.stdin(Stdio::from(child_in)).stdout(Stdio::from(child_out)).stderr(Stdio::from(child_err));
    let slave_fd = slave.as_ref().map(AsRawFd::as_raw_fd);
    let session = move || {
        sys::new_session(slave_fd)?;
        sys::clear_signal_mask()
    };
    // SAFETY: between fork and exec the closure only makes system calls; it neither allocates nor locks.
    unsafe { command.pre_exec(session) };
    // Held until the spawn: the descriptors are only duplicated in the child.
    let mut _held = None;
    if let Program::Agent { image, agent, argv } = program {
        let high = [sys::duplicate_above(image_fd(image), 10)?, sys::duplicate_above(image_fd(agent), 10)?];
        let (image, agent) = (high[0].as_raw_fd(), high[1].as_raw_fd());
        let words: Vec<CString> = argv.iter().map(|word| sys::c_string(OsStr::new(word))).collect();
        let pointers: Vec<usize> = words.iter().map(|word| word.as_ptr() as usize).chain([0]).collect();
        let argv: [*const libc::c_char; 4] = std::array::from_fn(|index| pointers[index] as *const libc::c_char);
        let argv = ExecVector(argv);
        _held = Some((high, words));
        // SAFETY: as above; the strings live in `_held` until the spawn has returned.
        unsafe {
            command.pre_exec(move || {
                let argv = &argv;
                sys::duplicate_to(image, IMAGE_FD)?;
                sys::duplicate_to(agent, AGENT_FD)?;
                Err(sys::exec_fd(AGENT_FD, &argv.0))
            });
        }
    }
    let process = command.spawn()?;
    drop(slave);
    for fd in [&stdin, &stdout, &stderr].into_iter().chain(&terminal) {
        sys::set_nonblocking(fd)?;
    }
    Ok(Spawned { process, stdin, stdout, stderr, terminal })
}

struct ExecVector([*const libc::c_char; 4]);
// SAFETY: the strings behind the pointers are not changed while the vector lives; it is only read after the fork.
unsafe impl Send for ExecVector {}
// SAFETY: as above.
unsafe impl Sync for ExecVector {}

fn image_fd(fd: &OwnedFd) -> std::os::fd::BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(fd)
}

/// A pseudo terminal without echo: the controlling end, and the program's end.
fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let unavailable = |error: io::Error| io::Error::new(error.kind(), format!("no terminal for the prompt: {error}"));
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = nix::pty::posix_openpt(flags).map_err(|error| unavailable(error.into()))?;
    nix::pty::grantpt(&master).map_err(|error| unavailable(error.into()))?;
    nix::pty::unlockpt(&master).map_err(|error| unavailable(error.into()))?;
    let name = nix::pty::ptsname_r(&master).map_err(|error| unavailable(error.into()))?;
    let slave = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY | libc::O_CLOEXEC)
        .open(name)
        .map_err(unavailable)?;
    let slave = OwnedFd::from(slave);
    if let Ok(mut attributes) = nix::sys::termios::tcgetattr(&slave) {
        attributes.local_flags.remove(nix::sys::termios::LocalFlags::ECHO);
        let _ = nix::sys::termios::tcsetattr(&slave, nix::sys::termios::SetArg::TCSANOW, &attributes);
    }
    Ok((std::os::fd::AsFd::as_fd(&master).try_clone_to_owned()?, slave))
}
