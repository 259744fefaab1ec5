//! A sandbox for one command: new mount, pid, network, host-name and IPC namespaces.
//!
//! The end-to-end suites create users, write sudoers, start sshd and set sysctls, all of them real.
//! In a sandbox they may: `/etc` and `/var` are overlays, `/tmp`, `/run`, `/home`, `/root` and
//! `/dev/shm` are new and empty, the only network is a loopback, and every process ends with
//! process 1 of the pid namespace. Nothing reaches the machine outside, or another sandbox.
//!
//! [`command`] wraps a program. `unshare` of util-linux creates the namespaces and runs this
//! program again as `xtask sandbox-init`, which is [`init`]: it mounts, starts the program, and
//! reaps orphans as process 1 must. This program is run from a descriptor, because its file may be
//! replaced while tests run: another `cargo xtask` builds it anew.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, wait};

use crate::workspace::Outcome;

/// This program, as it was started.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

/// The folder of the open descriptors of a process, as the process itself sees it.
const DESCRIPTORS: &str = "/proc/self/fd/";

/// The hidden verb of [`init`].
pub(crate) const VERB: &str = "sandbox-init";

/// The directories that start empty, with their modes.
const FRESH: [(&str, u32); 6] = [
    ("/tmp", 0o1777),
    ("/var/tmp", 0o1777),
    ("/dev/shm", 0o1777),
    ("/run", 0o755),
    ("/home", 0o755),
    ("/root", 0o711),
];

/// The directories that keep their contents; changes are lost with the sandbox.
const OVERLAID: [&str; 2] = ["/etc", "/var"];

/// The directory in which the mounts are prepared; it is unmounted before the program starts.
const STAGE: &str = "/mnt";

/// The environment variables that the program inherits.
const PASSED: [&str; 5] = ["CI", "LANG", "RUST_BACKTRACE", "TERM", "RUST_LOG"];

/// Returns a command that runs `program` in a sandbox. The directories in `keep` are the real ones,
/// and writable, even below a directory that starts empty.
///
/// # Errors
/// Returns an error if this program cannot be opened.
pub(crate) fn command(keep: &[&Path], program: &Path) -> std::io::Result<Command> {
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--pid",
        "--net",
        "--uts",
        "--ipc",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    command.args(["--propagation", "private"]);
    run_opened(&mut command, File::open(OWN_PROGRAM)?);
    command.arg(VERB).args(keep).arg("--").arg(program);
    command.env_clear();
    command.envs(
        PASSED
            .iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?))),
    );
    command.env(
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
    command
        .env("HOME", "/root")
        .env("USER", "root")
        .env("SHELL", "/bin/sh")
        .env("OFFSHOOT_SANDBOX", "1");
    // SAFETY: the closure runs between fork and exec and makes one system call that allocates
    // nothing.
    unsafe { command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?)) };
    Ok(command)
}

/// Adds a program to a command that runs it, by its descriptor: it needs no name.
fn run_opened(command: &mut Command, program: File) {
    command.arg(format!("{DESCRIPTORS}{}", program.as_raw_fd()));
    // SAFETY: the closure runs between fork and exec and makes one system call that allocates
    // nothing.
    unsafe {
        command.pre_exec(move || {
            fcntl(&program, FcntlArg::F_SETFD(FdFlag::empty()))?;
            Ok(())
        })
    };
}

/// Runs as process 1 of the sandbox: `KEEP... -- PROGRAM ARGS...`. Returns only on an error.
///
/// # Errors
/// Returns an error if something cannot be mounted, or the program cannot be started.
pub(crate) fn init(words: &[String]) -> Outcome {
    let end = words
        .iter()
        .position(|word| word == "--")
        .ok_or("only xtask itself may run sandbox-init")?;
    if std::process::id() != 1 {
        return Err("only xtask itself may run sandbox-init, as process 1 of a sandbox".into());
    }
    // The descriptor that `run_opened` has passed is not for the program.
    let own = std::env::args().next().unwrap_or_default();
    let own = own.strip_prefix(DESCRIPTORS);
    if let Some(own) = own.and_then(|own| own.parse::<RawFd>().ok()) {
        nix::unistd::close(own)?;
    }
    let keep: Vec<PathBuf> = words[..end].iter().map(PathBuf::from).collect();
    let (program, arguments) = words[end + 1..]
        .split_first()
        .ok_or("sandbox-init needs a program")?;
    lay_out(&keep)?;
    name_the_host()?;
    let status = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    if !status.is_ok_and(|status| status.success()) {
        return Err("cannot bring up the loopback: is iproute2 installed?".into());
    }
    let child = Command::new(program)
        .args(arguments)
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    let status = reap_until(child.id())?;
    std::process::exit(
        status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
    );
}

fn lay_out(keep: &[PathBuf]) -> Outcome {
    mount_tmpfs(Path::new(STAGE), 0o755)?;
    let stage = Path::new(STAGE);
    for (number, path) in keep.iter().enumerate() {
        bind(path, &stage.join(format!("keep{number}")))?;
    }
    for path in OVERLAID {
        overlay(Path::new(path), &stage.join(path.trim_start_matches('/')))?;
    }
    for (path, mode) in FRESH {
        mount_tmpfs(Path::new(path), mode)?;
    }
    for (number, path) in keep.iter().enumerate() {
        let hidden = FRESH
            .iter()
            .map(|(path, _)| *path)
            .chain(OVERLAID)
            .any(|root| path.starts_with(root));
        if hidden {
            bind(&stage.join(format!("keep{number}")), path)?;
        }
    }
    // With the machine's own /dev/pts, the leak check would see terminals of other processes.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(
        Some("devpts"),
        "/dev/pts",
        Some("devpts"),
        flags,
        Some("newinstance,ptmxmode=0666,mode=0620,gid=5"),
    )
    .map_err(|error| format!("cannot mount /dev/pts: {error}"))?;
    // The overlays keep their layers alive after the unmount.
    umount2(STAGE, MntFlags::MNT_DETACH)
        .map_err(|error| format!("cannot unmount {STAGE}: {error}"))?;
    Ok(())
}

fn mount_tmpfs(path: &Path, mode: u32) -> Outcome {
    let options = format!("mode={mode:o}");
    mount(
        Some("tmpfs"),
        path,
        Some("tmpfs"),
        MsFlags::MS_NOSUID,
        Some(options.as_str()),
    )
    .map_err(|error| format!("cannot mount a tmpfs on {}: {error}", path.display()))?;
    Ok(())
}

fn bind(from: &Path, to: &Path) -> Outcome {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(to)?;
    mount(
        Some(from),
        to,
        None::<&str>,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        None::<&str>,
    )
    .map_err(|error| format!("cannot keep {}: {error}", from.display()))?;
    Ok(())
}

fn overlay(path: &Path, layers: &Path) -> Outcome {
    let (upper, work) = (layers.join("upper"), layers.join("work"));
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    fs::set_permissions(&upper, fs::Permissions::from_mode(0o755))?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        path.display(),
        upper.display(),
        work.display()
    );
    mount(
        Some("overlay"),
        path,
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .map_err(|error| format!("cannot mount an overlay on {}: {error}", path.display()))?;
    Ok(())
}

fn name_the_host() -> Outcome {
    nix::unistd::sethostname(OsString::from("sandbox"))?;
    // sudo looks up the name of its host, and there is no network to answer.
    fs::write("/etc/hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n")?;
    // The file is often a link into /run, which is empty now.
    let _ = fs::remove_file("/etc/resolv.conf");
    fs::write("/etc/resolv.conf", "")?;
    Ok(())
}

fn reap_until(program: u32) -> Result<ExitStatus, nix::Error> {
    loop {
        match wait() {
            Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() as u32 == program => {
                return Ok(ExitStatus::from_raw(code << 8));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() as u32 == program => {
                return Ok(ExitStatus::from_raw(signal as i32));
            }
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_runs_although_its_file_is_gone() {
        let copy = std::env::temp_dir().join(format!("offshoot-echo-{}", std::process::id()));
        fs::copy("/bin/echo", &copy).unwrap();
        let opened = File::open(&copy).unwrap();
        fs::remove_file(&copy).unwrap();
        let mut command = Command::new("env");
        run_opened(&mut command, opened);
        let output = command.arg("it runs").output().unwrap();
        assert_eq!(output.stdout, b"it runs\n", "{output:?}");
    }
}
