//! Places for the loader and the agent: noexec and read-only mounts, `vm.memfd_noexec`, no /proc,
//! with and without an interpreter. Each case has its own mounts and process ids, so these tests
//! need root and skip without it.

mod machine;

use std::process::Command;

use machine::{MINIMUM, Result, assert_up, image_and_rest, path_of, script, start};
use offshoot_bootstrap::{Mode, exit};

/// A machine that shell commands prepare before stage 0 runs.
struct Place<'a> {
    /// Mount options for every directory that stage 0 tries; empty for none.
    mounts: &'static str,
    /// Value of `vm.memfd_noexec`.
    memfd_noexec: u8,
    /// Additional programs.
    programs: &'static [&'static str],
    /// Additional preparation.
    last: &'a str,
}

const PLAIN: Place<'static> = Place {
    mounts: "",
    memfd_noexec: 0,
    programs: &[],
    last: "",
};
const PERL: &[&str] = &["perl"];
const PYTHON: &[&str] = &["python3"];

/// Runs stage 0 there; `None` if this user may not prepare such a machine.
fn run(place: &Place<'_>) -> Option<Result> {
    let allowed = Command::new("unshare")
        .args(["-m", "-p", "-f", "--mount-proc", "true"])
        .output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this needs root and unshare(1)");
        return None;
    }
    let arrange = format!(
        r#"set -e
        mount --make-rprivate /
        if [ -n "{mounts}" ]; then
            for d in /dev /dev/shm /tmp /run /var/tmp; do
                mount --bind $d $d
                mount -o remount,bind,{mounts} $d
            done
        fi
        [ ! -e /proc/sys/vm/memfd_noexec ] || echo {memfd} >/proc/sys/vm/memfd_noexec
        cd /tmp
        {last}
        exec "$1/sh" -c "$2""#,
        mounts = place.mounts,
        memfd = place.memfd_noexec,
        last = place.last,
    );
    let python = real_python();
    let programs: Vec<String> = place
        .programs
        .iter()
        .map(|&program| {
            if program == "python3" {
                format!("python3={python}")
            } else {
                program.into()
            }
        })
        .collect();
    let programs: Vec<&str> = programs.iter().map(String::as_str).collect();
    let path = path_of(&[&MINIMUM[..], &["sh"], &programs].concat());
    let mut command = Command::new("unshare");
    command
        .args([
            "-m",
            "-p",
            "-f",
            "--mount-proc",
            "/bin/sh",
            "-c",
            &arrange,
            "sh",
        ])
        .arg(&path);
    command.env_remove("TMPDIR").env("HOME", "/nonexistent");
    // Preparation needs the system's programs; stage 0 gets only its own.
    let script = format!(
        "PATH={};export PATH;{}",
        path.display(),
        script(Mode::Optimistic)
    );
    Some(start(command.arg(script), &image_and_rest().0))
}

/// Returns the interpreter itself, not a wrapper script that needs a full PATH.
fn real_python() -> String {
    let output = Command::new("python3")
        .args(["-c", "import sys;print(sys.executable)"])
        .output();
    output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string())
        .unwrap_or_default()
}

fn assert_starts(place: Place<'_>, what: &str) {
    if let Some(result) = run(&place) {
        assert_up(&result, &image_and_rest().1, what);
    }
}

fn assert_ends(place: Place<'_>, code: i32, what: &str) {
    if let Some(result) = run(&place) {
        assert_eq!(result.code, Some(code), "{what}: {}", result.stderr);
    }
}

#[test]
fn an_ordinary_machine_needs_no_interpreter_with_any_memfd_noexec() {
    for memfd_noexec in [0, 1, 2] {
        assert_starts(
            Place {
                memfd_noexec,
                ..PLAIN
            },
            &format!("memfd_noexec={memfd_noexec}"),
        );
    }
}

#[test]
fn loader_and_agent_start_without_proc() {
    for memfd_noexec in [0, 1, 2] {
        let last = "umount -l /proc";
        assert_starts(
            Place {
                memfd_noexec,
                last,
                ..PLAIN
            },
            &format!("no /proc, memfd_noexec={memfd_noexec}"),
        );
    }
}

#[test]
fn without_an_executable_directory_an_interpreter_starts_the_loader() {
    for mounts in ["noexec", "ro"] {
        for programs in [PERL, PYTHON] {
            for memfd_noexec in [0, 1] {
                let what = format!("{mounts}, {programs:?}, memfd_noexec={memfd_noexec}");
                assert_starts(
                    Place {
                        mounts,
                        memfd_noexec,
                        programs,
                        ..PLAIN
                    },
                    &what,
                );
            }
        }
    }
}

#[test]
fn without_any_way_to_execute_the_exit_code_says_what_is_missing() {
    for mounts in ["noexec", "ro"] {
        assert_ends(
            Place { mounts, ..PLAIN },
            exit::NO_PLACE,
            &format!("{mounts}, no interpreter"),
        );
        for programs in [PERL, PYTHON] {
            let what = format!("{mounts}, {programs:?}, memfd_noexec=2");
            assert_ends(
                Place {
                    mounts,
                    memfd_noexec: 2,
                    programs,
                    ..PLAIN
                },
                exit::INTERPRETER,
                &what,
            );
        }
    }
}

#[test]
fn one_executable_directory_among_many_is_found() {
    let last = "mount -t tmpfs none /var/tmp";
    for memfd_noexec in [0, 2] {
        assert_starts(
            Place {
                mounts: "noexec",
                memfd_noexec,
                last,
                ..PLAIN
            },
            "only /var/tmp is executable",
        );
    }
}

#[test]
fn no_files_are_left_in_any_directory() {
    // Directories that no other test uses; the shell remains, to inspect them after the agent has
    // ended.
    let look = r#"mount -t tmpfs none /var/tmp
        set +e
        trap 'ls -A /dev/shm /var/tmp | grep -v -e : -e "^$" >&2' EXIT
        (exec "$1/sh" -c "$2")
        exit $?"#;
    let executable = format!("mount -t tmpfs none /dev/shm; {look}");
    let noexec = format!("mount -t tmpfs -o noexec none /dev/shm; {look}");
    for (memfd_noexec, last) in [
        (0, &executable),
        (2, &executable),
        (0, &noexec),
        (2, &noexec),
    ] {
        if let Some(result) = run(&Place {
            memfd_noexec,
            last,
            ..PLAIN
        }) {
            assert_eq!(
                result.stderr, "",
                "left behind with memfd_noexec={memfd_noexec} after {last}"
            );
            assert_up(&result, &image_and_rest().1, "looked around afterwards");
        }
    }
}
