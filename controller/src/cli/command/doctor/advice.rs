//! Advice for a context, from the findings of its probes: a line for each change, with its command.

use super::context::{LIMITS, Seen};
use super::units::readable;
use offshoot::target::Hop;
use std::time::Duration;

/// A hop that takes longer has advice.
pub(super) const SLOW_HOP: Duration = Duration::from_secs(3);
/// sudo that takes longer has advice.
const SLOW_SUDO: Duration = Duration::from_secs(2);
/// A login shell that takes longer has advice.
const SLOW_SHELL: Duration = Duration::from_secs(1);
/// The seconds that a clock may differ.
const CLOCK: u64 = 5;
/// The memory in KiB below which there is advice.
const LITTLE: u64 = 64 << 10;
/// The least of each limit without advice, in the order of [`LIMITS`], and the option of `ulimit`.
const LEAST: [(u64, &str); 4] = [(256, "-n"), (64, "-u"), (256 << 20, "-v"), (1 << 20, "-f")];

/// A line of advice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Advice {
    /// The row that it is about, as JSON names it.
    pub about: &'static str,
    /// The sentence.
    pub text: String,
}

impl Advice {
    /// Creates advice about a row.
    pub(super) fn new(about: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { about, text }
    }
}

/// Returns the advice for a hop that took this time; `again` are the options and the target.
pub(super) fn slow_hop(took: Duration, again: &str, hop: &Hop) -> Advice {
    let more = match hop.method() {
        "ssh" => format!("`offshoot doctor --steps {again}` shows the time of each step"),
        "sudo" => "`time sudo -n true` there; look for the host's name in /etc/hosts".into(),
        _ => format!("`offshoot run -v {again} -- true` shows when it is tried again"),
    };
    Advice::new(
        "connect_ms",
        format!("connecting took {}: {more}", readable(took)),
    )
}

/// Returns the advice about a context; `again` are the options and a target that leads to it or
/// further.
pub(super) fn about(seen: &Seen, again: &str) -> Vec<Advice> {
    let mut all = Vec::new();
    if !seen.is_complete() {
        let text = format!(
            "the probe did not come to its end; the last command that this shows hangs or fails: `offshoot run {again} \
             -- sh -xc 'date; uname -a; id; getent passwd root; df; python3 -V; perl -v'`"
        );
        all.push(Advice::new("probe", text));
    }
    places(seen, &mut all);
    for ((name, key), (least, option)) in LIMITS.into_iter().zip(LEAST) {
        let limit = seen.limit(name).and_then(|limit| limit.parse::<u64>().ok());
        if let Some(limit) = limit.filter(|limit| *limit < least) {
            let text = format!(
                "its limit of {name} is {limit}: raise {key} in /etc/security/limits.conf there (see `ulimit {option}`)"
            );
            all.push(Advice::new("limits", text));
        }
    }
    let memory = [seen.memory("MemAvailable"), seen.cgroup()]
        .into_iter()
        .flatten()
        .min();
    if let Some(free) = memory.filter(|free| *free < LITTLE) {
        let text = format!(
            "only {} MiB of memory: `ps -eo rss,args --sort -rss | head` there",
            free >> 10
        );
        all.push(Advice::new("memory", text));
    }
    if let Some(seconds) = seen.clock.filter(|seconds| seconds.unsigned_abs() > CLOCK) {
        let side = if seconds < 0 { "behind" } else { "ahead of" };
        let text = format!(
            "its clock is {} s {side} that of this machine: `timedatectl set-ntp true` on the wrong one",
            seconds.unsigned_abs()
        );
        all.push(Advice::new("clock_s", text));
    }
    if seen.sudo.one("end").is_none() && seen.is_complete() || seen.sudo_took > SLOW_SUDO {
        let text = "sudo is slow: `time sudo -n true` there; look for the host's name in /etc/hosts and for LDAP in /etc/nsswitch.conf";
        all.push(Advice::new("sudo", text));
    }
    startup(seen, &mut all);
    all
}

const ONLY: &str = "so agents start through perl or python3 only";

/// Adds advice about the places where an agent can start.
fn places(seen: &Seen, all: &mut Vec<Advice>) {
    let places = seen.places();
    let first = |wanted: &str| places.iter().find(|(_, state)| *state == wanted);
    let runs = first("runs").map(|(path, _)| *path);
    if !places.is_empty() && runs.is_none() {
        let why = match (
            first("does not execute"),
            places.iter().find(|(_, s)| *s != "absent"),
        ) {
            (Some((path, _)), _) => {
                format!(
                    "no directory executes, {ONLY}: `mount -o remount,exec {path}` as root there"
                )
            }
            (None, Some((path, _))) => format!(
                "no directory takes a file of this user, {ONLY}: `mkdir {path}/x` there says why (read-only, full, or no \
                 permission); env=TMPDIR=[PATH] names another"
            ),
            (None, None) => {
                format!("none of the directories exists, {ONLY}: env=TMPDIR=[PATH] names another")
            }
        };
        all.push(Advice::new("places", why));
    } else if let (Some(folder), Some((_, state))) = (seen.answers.one("tmpdir"), places.first())
        && *state != "runs"
    {
        let text = format!(
            "TMPDIR is {folder}, and that is no use ({state}): unset it, or set it for the hop: env=TMPDIR=[{}]",
            runs.unwrap_or("/dev/shm")
        );
        all.push(Advice::new("places", text));
    }
    if seen.memfd() == Some(false) {
        let text = "memory files do not execute, so the agent is a deleted file: `sysctl vm.memfd_noexec=1` there, or allow them in SELinux or seccomp";
        all.push(Advice::new("memfd", text));
    }
}

/// Adds advice about the start-up files of the login shell.
fn startup(seen: &Seen, all: &mut Vec<Advice>) {
    let shell = seen.shell().unwrap_or_default();
    for run in &seen.startup {
        let words = run.words.join(" ");
        // Only hops with `login` run these.
        let when = if run.words[0] == "-c" {
            ""
        } else {
            " (hops with `login` only)"
        };
        let mut add = |text: String| all.push(Advice::new("startup", text));
        if run.late {
            add(format!(
                "`{shell} {words}` does not end{when}: a start-up file waits for something; `{shell} -x{words}` shows the line",
                words = words.trim_start_matches('-')
            ));
            continue;
        }
        if run.took > SLOW_SHELL {
            add(format!(
                "`{shell} {words}` takes {}{when}: `{shell} -x {words}` shows the lines that it runs",
                readable(run.took)
            ));
        }
        if run.printed > 0 && run.status == Some(0) {
            add(format!(
                "`{shell} {words}` prints {} bytes{when}: put that part of the start-up file behind `[ -t 1 ] &&`",
                run.printed
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::Startup;
    use super::*;

    /// Answers to which there is nothing to say.
    const GOOD: &str = "place=runs /dev/shm\nmemfd=42\nend=yes\n\
                        limit=Max open files 1024 1024 files\nmemory=MemAvailable: 999999 kB\n";

    fn advice(answers: &str, change: impl FnOnce(&mut Seen)) -> Vec<Advice> {
        let mut seen = Seen::of(answers, "version=none\nend=yes\n");
        change(&mut seen);
        about(&seen, "-F 'a b' web1")
    }

    fn run(words: [&'static str; 2], ms: u64, printed: usize, late: bool) -> Startup {
        Startup {
            words,
            took: Duration::from_millis(ms),
            printed,
            status: (!late).then_some(0),
            late,
        }
    }

    #[test]
    fn a_good_context_has_no_advice() {
        let quiet = |seen: &mut Seen| {
            seen.clock = Some(CLOCK as i64);
            seen.startup = vec![run(["-c", "true"], 900, 0, false)];
        };
        assert_eq!(advice(GOOD, quiet), []);
        assert_eq!(
            advice("end=yes\n", |_| {}),
            [],
            "what is unknown is not bad"
        );
    }

    #[test]
    fn each_fault_has_one_line_of_advice() {
        for (more, part) in [
            ("memfd=4\n", "vm.memfd_noexec=1"),
            ("limit=Max processes 9 9 processes\n", "nproc"),
            ("limit=Max file size 0 0 bytes\n", "ulimit -f"),
            ("memory=MemFree: 1 kB\ncgroup=1048576\n", "only 1 MiB"),
            ("place=noexec /x\ntmpdir=/x\n", "TMPDIR is /x"),
        ] {
            // The answers in front count.
            let found = advice(&format!("{more}{GOOD}"), |_| {});
            assert!(
                found.len() == 1 && found[0].text.contains(part),
                "{part}: {found:?}"
            );
        }
        let place = |state: &str| {
            let answers = GOOD.replace("place=runs", &format!("place={state}"));
            let found = advice(&answers, |_| {});
            assert_eq!(found.len(), 1, "{found:?}");
            found[0].text.clone()
        };
        assert!(place("noexec").contains("remount,exec /dev/shm"));
        for state in ["closed", "full", "others"] {
            let text = place(state);
            assert!(
                text.contains("takes a file") && text.contains("`mkdir /dev/shm/x`"),
                "{text}"
            );
            assert!(!text.contains("remount"), "{text}");
        }
        assert!(place("absent").contains("TMPDIR"));
        let unfinished = GOOD.replace("end=yes\n", "");
        let text = &advice(&unfinished, |_| {})[0].text;
        assert!(
            text.contains("did not come to its end")
                && text.contains("`offshoot run -F 'a b' web1 -- sh"),
            "{text}"
        );
        type Change = fn(&mut Seen);
        let changes: [(Change, &str); 6] = [
            (|seen| seen.clock = Some(-100), "100 s behind"),
            (|seen| seen.sudo_took = SLOW_SUDO * 2, "time sudo -n true"),
            (|seen| seen.sudo = Default::default(), "time sudo -n true"),
            (
                |seen| seen.startup = vec![run(["-c", "true"], 1500, 0, false)],
                "takes 1500 ms",
            ),
            (
                |seen| seen.startup = vec![run(["-lc", "true"], 1, 8, false)],
                "prints 8 bytes (hops with",
            ),
            (
                |seen| seen.startup = vec![run(["-c", "true"], 9999, 8, true)],
                "does not end",
            ),
        ];
        for (change, part) in changes {
            let found = advice(GOOD, change);
            assert!(
                found.len() == 1 && found[0].text.contains(part),
                "{part}: {found:?}"
            );
        }
    }
}
