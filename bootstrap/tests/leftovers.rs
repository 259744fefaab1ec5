//! Stage 0 leaves nothing behind, wherever it is interrupted: by signals, limits, or options of the
//! shell.

mod machine;

use std::{
    fs,
    io::Write,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use machine::{
    MINIMUM, assert_up, folder, image, image_and_rest, nonce, path_of, read_until, script, shell,
};
use offshoot_bootstrap::{Mode, ready_marker};

/// Shells that may be called `sh`.
const SHELLS: [&str; 6] = ["dash", "bash", "busybox", "mksh", "ksh", "zsh"];

/// Returns a `PATH` in which `sh` is this shell.
fn tools(name: &str) -> PathBuf {
    path_of(&[&MINIMUM[..], &["printf", &format!("sh={name}")]].concat())
}

/// Returns everything that the stage 0 of process `pid` has left behind.
fn left(pid: u32, tmpdir: &Path) -> Vec<PathBuf> {
    let name = format!(".o{pid}");
    let mut left: Vec<PathBuf> = fs::read_dir(tmpdir)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    for place in ["/dev/shm", "/tmp", "/run", "/var/tmp", "/dev"] {
        left.push(Path::new(place).join(&name));
    }
    left.retain(|path| path.symlink_metadata().is_ok());
    left
}

fn spawn(command: &mut Command) -> Child {
    let command = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("start")
}

fn kill(signal: &str, target: &str) {
    // A process that has ended cannot be signalled.
    let _ = Command::new("kill")
        .args(["-s", signal, "--", target])
        .stderr(Stdio::null())
        .status();
}

#[test]
fn a_signal_at_any_moment_leaves_no_files() {
    for name in SHELLS {
        let (path, place) = (tools(name), folder());
        for signal in ["TERM", "HUP", "INT", "QUIT"] {
            // From before the first command until after the loader's start; to the shell only, as
            // the kernel does when its parent ends, and to all processes that it has started.
            for moment in 0..24u32 {
                let mut shell = shell(&path);
                std::os::unix::process::CommandExt::process_group(&mut shell, 0);
                let mut child = spawn(
                    shell
                        .env("TMPDIR", &place)
                        .arg("-c")
                        .arg(script(Mode::Optimistic)),
                );
                std::thread::sleep(Duration::from_micros(u64::from(moment) * 700));
                let group = if moment % 2 == 0 { "" } else { "-" };
                kill(signal, &format!("{group}{}", child.id()));
                drop(child.stdin.take());
                child.wait().unwrap();
                let left = left(child.id(), &place);
                assert!(
                    left.is_empty(),
                    "{name}, SIG{signal} after {moment} steps: {left:?}"
                );
            }
        }
    }
}

#[test]
fn the_loader_restores_default_signal_handling() {
    for name in SHELLS {
        for signal in ["TERM", "HUP", "INT", "QUIT"] {
            let mut child = spawn(shell(&tools(name)).arg("-c").arg(script(Mode::Wait)));
            let marker = ready_marker(&nonce(), image());
            assert_eq!(
                read_until(child.stdout.as_mut().unwrap(), &marker),
                marker,
                "{name}"
            );
            // Kept open, because the loader would end at its end.
            let _stdin = child.stdin.take();
            kill(signal, &child.id().to_string());
            let ended = child.wait().unwrap();
            let number = match signal {
                "HUP" => 1,
                "INT" => 2,
                "QUIT" => 3,
                _ => 15,
            };
            assert_eq!(ended.signal(), Some(number), "{name}, SIG{signal}: {ended}");
        }
    }
}

#[test]
fn shell_options_do_not_break_stage_0_or_leave_files() {
    let (input, rest) = image_and_rest();
    for name in SHELLS {
        for options in ["-e", "-u", "-C", "-f", "-a", "-eu", "-euC", "-aefuC"] {
            let (path, place) = (
                path_of(&["mkdir", "chmod", "rm", "printf", &format!("sh={name}")]),
                folder(),
            );
            let mut shell = shell(&path);
            shell
                .env("TMPDIR", &place)
                .env_remove("HOME")
                .args([options, "-c"])
                .arg(script(Mode::Optimistic));
            let result = machine::start(&mut shell, &input);
            assert_up(&result, &rest, &format!("{name} {options}"));
            assert_eq!(fs::read_dir(&place).unwrap().count(), 0, "{name} {options}");
        }
        // Executes nothing, and therefore leaves nothing.
        let place = folder();
        let mut shell = shell(&tools(name));
        machine::start(
            shell
                .env("TMPDIR", &place)
                .args(["-n", "-c"])
                .arg(script(Mode::Optimistic)),
            &input,
        );
        assert_eq!(fs::read_dir(&place).unwrap().count(), 0, "{name} -n");
    }
}

#[test]
fn no_resource_limit_leaves_files() {
    let input = image_and_rest().0;
    let mut limits: Vec<String> = (3..16)
        .map(|number| format!("ulimit -n {number}"))
        .collect();
    limits.extend(["0", "1", "2", "8", "64"].map(|blocks| format!("ulimit -f {blocks}")));
    for name in SHELLS {
        for limit in &limits {
            let place = folder();
            let mut shell = shell(&tools(name));
            shell
                .env("TMPDIR", &place)
                .arg("-c")
                .arg(format!("{limit};{}", script(Mode::Optimistic)));
            let mut child = spawn(&mut shell);
            let _ = child.stdin.take().unwrap().write_all(&input);
            let pid = child.id();
            let output = child.wait_with_output().unwrap();
            let left = left(pid, &place);
            assert!(
                left.is_empty(),
                "{name}, {limit}, {}: {left:?}",
                output.status
            );
        }
    }
}

#[test]
fn a_failure_after_the_first_step_leaves_no_files() {
    let place = folder();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
    // Hosts on which a tool fails midway: the tool's name, and its replacement.
    for (tool, text) in [
        ("chmod", "exit 1"),
        ("chmod", "kill -9 $$"),
        ("printf", "exit 1"),
        (
            "mkdir",
            "/usr/bin/mkdir \"$@\"; /usr/bin/prlimit --fsize=0 --pid $PPID",
        ),
        ("rm", "exit 126"),
        ("mkdir", "exit 126"),
    ] {
        for name in SHELLS {
            let path = tools(name);
            fs::remove_file(path.join(tool)).unwrap();
            fs::write(path.join(tool), format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(path.join(tool), fs::Permissions::from_mode(0o755)).unwrap();
            let mut shell = shell(&path);
            let mut child = spawn(
                shell
                    .env("TMPDIR", &place)
                    .arg("-c")
                    .arg(script(Mode::Optimistic)),
            );
            drop(child.stdin.take());
            let pid = child.id();
            let output = child.wait_with_output().unwrap();
            let left = left(pid, &place);
            assert!(
                left.is_empty(),
                "{name}, {tool}: {text}, {}: {left:?}",
                output.status
            );
        }
    }
}

#[test]
fn a_user_at_the_process_limit_leaves_no_files() {
    if !Command::new("setpriv")
        .args(["--reuid=4711", "true"])
        .status()
        .is_ok_and(|status| status.success())
    {
        eprintln!("skipped: this needs root and setpriv(1)");
        return;
    }
    std::thread::scope(|scope| {
        // At once: bash retries for a while, zsh exits without its trap, and ksh93 retries forever.
        for name in ["dash", "bash", "busybox", "mksh"] {
            scope.spawn(move || a_last_process(name));
        }
    });
}

fn a_last_process(name: &str) {
    // Another user's directory, below one that the user can reach.
    let place = PathBuf::from(format!(
        "/tmp/offshoot-leftovers.{}.{name}",
        std::process::id()
    ));
    let (home, path) = (place.join("home"), place.join("path"));
    for folder in [&home, &path] {
        fs::create_dir_all(folder).unwrap();
    }
    std::os::unix::fs::chown(&home, Some(4711), None).unwrap();
    for tool in ["uname", "chmod", "rm", "printf"] {
        std::os::unix::fs::symlink(Path::new("/usr/bin").join(tool), path.join(tool)).unwrap();
    }
    std::os::unix::fs::symlink(Path::new("/usr/bin").join(name), path.join("sh")).unwrap();
    // From then on its caller can start no processes.
    let last = "#!/bin/sh\n/usr/bin/mkdir \"$@\" && exec /usr/bin/prlimit --nproc=0 --pid $PPID\n";
    fs::write(path.join("mkdir"), last).unwrap();
    fs::set_permissions(path.join("mkdir"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("/usr/bin/setpriv");
    command
        .args(["--reuid=4711", "--clear-groups"])
        .arg(path.join("sh"))
        .arg("-c");
    command
        .arg(script(Mode::Optimistic))
        .env_clear()
        .env("PATH", &path)
        .env("TMPDIR", &home);
    let mut child = spawn(&mut command);
    drop(child.stdin.take());
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    let left = left(pid, &home);
    fs::remove_dir_all(&place).unwrap();
    assert!(left.is_empty(), "{name}, {}: {left:?}", output.status);
    assert_ne!(
        output.status.code(),
        Some(93),
        "{name}: nothing was in its way"
    );
}

#[test]
fn a_tmpdir_of_another_user_is_skipped_and_left_unchanged() {
    let (input, rest) = image_and_rest();
    let place = folder();
    if std::os::unix::fs::chown(&place, Some(4711), None).is_err() {
        eprintln!("skipped: this needs root");
        return;
    }
    for name in SHELLS {
        let path = tools(name);
        let mut shell = shell(&path);
        let mut child = spawn(
            shell
                .env("TMPDIR", &place)
                .arg("-c")
                .arg(script(Mode::Optimistic)),
        );
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn({
            let input = input.clone();
            move || stdin.write_all(&input)
        });
        let pid = child.id();
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_up(
            &machine::Result {
                code: output.status.code(),
                stdout: output.stdout,
                stderr,
            },
            &rest,
            name,
        );
        let left = left(pid, &place);
        assert!(left.is_empty(), "{name}: {left:?}");
    }
}
