//! The probes of a context, and what they saw. All of it is text of that host: it is cut, made
//! harmless and compared, never executed.

use super::run::{LIMIT, Ran, run};
use super::units::{ms, readable};
use offshoot::{Context, harmless, stock};
use offshoot_bootstrap::{PLACES, SYSTEM_PLACES};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The script for most of it.
const PROBE: &str = include_str!("probe.sh");
/// The script about sudo.
const SUDO: &str = include_str!("sudo.sh");

/// The most answers of a script that are kept, and the most characters of each.
const MOST: (usize, usize) = (200, 200);

/// The name of a limit in /proc/self/limits and in JSON.
pub(super) const LIMITS: [(&str, &str); 4] = [
    ("open files", "nofile"),
    ("processes", "nproc"),
    ("address space", "as"),
    ("file size", "fsize"),
];

/// The states of a place, as the script and as the table name them.
const STATES: [(&str, &str); 6] = [
    ("runs", "runs"),
    ("noexec", "does not execute"),
    ("closed", "not writable"),
    ("full", "takes no file"),
    ("others", "of another user"),
    ("absent", "absent"),
];

/// A row of the report.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Row {
    /// The name in the table.
    pub name: &'static str,
    /// The name in JSON.
    pub key: &'static str,
    /// The text in the table.
    pub text: String,
    /// The value in JSON.
    pub value: Value,
}

impl Row {
    /// Creates a row. Without a text it is unknown.
    pub(super) fn new(
        name: &'static str,
        key: &'static str,
        text: impl Into<String>,
        value: Value,
    ) -> Self {
        let mut text = text.into();
        if text.is_empty() {
            text = "unknown".into();
        }
        Self {
            name,
            key,
            text,
            value,
        }
    }
}

/// The answers of a script: lines of a key and a value.
#[derive(Default, Debug)]
pub(super) struct Answers(Vec<(String, String)>);

impl Answers {
    /// Reads the output of a script. What is no line of a key and a value is skipped.
    pub(super) fn read(output: &[u8]) -> Self {
        let text = String::from_utf8_lossy(output);
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let kept = |text: &str| -> String { harmless(text.trim()).chars().take(MOST.1).collect() };
        Self(
            pairs
                .filter(|(key, _)| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
                .take(MOST.0)
                .map(|(key, value)| (kept(key), kept(value)))
                .collect(),
        )
    }

    /// Returns the values of a key that are not empty.
    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let values = self.0.iter().filter(move |(other, _)| other == key);
        values
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Returns the first value of a key that is not empty.
    pub(super) fn one<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        self.all(key).next()
    }

    /// Returns the first value of a key as a number.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.one(key)?.parse().ok()
    }
}

/// A run of the login shell.
#[derive(Debug)]
pub(super) struct Startup {
    /// The words of the shell.
    pub words: [&'static str; 2],
    /// The time that it took, without the round trip.
    pub took: Duration,
    /// The number of bytes that it printed.
    pub printed: usize,
    /// The exit status, as a shell shows it; none if it did not end by itself.
    pub status: Option<i32>,
    /// True if it was ended because it took too long.
    pub late: bool,
}

/// The findings of the probes of a context.
#[derive(Default, Debug)]
pub(super) struct Seen {
    /// The answers of the script for most of it.
    pub answers: Answers,
    /// The answers about sudo.
    pub sudo: Answers,
    /// The time that the answers about sudo took.
    pub sudo_took: Duration,
    /// The runs of the login shell.
    pub startup: Vec<Startup>,
    /// The seconds that the clock there is ahead of that here.
    pub clock: Option<i64>,
}

impl Seen {
    /// Runs the probes in a context, to which a round trip takes this time.
    pub(super) fn at(context: &Context, trip: Duration) -> Self {
        let facts = context.within(LIMIT).call(stock::facts {}).ok();
        let user = facts.map(|facts| facts.user).unwrap_or_default();
        let script = PROBE
            .replace("@PLACES@", PLACES)
            .replace("@SYSTEM@", SYSTEM_PLACES);
        let shell = |context: &Context, script: &str, argument: &str| {
            run(context, b"", |context| {
                let command = context.command("sh");
                command.args(["-c", script, "offshoot-doctor", argument])
            })
        };
        let before = now();
        let main = shell(context, &script, &user);
        let answers = Answers::read(&main.stdout);
        let clock = answers
            .one("clock")
            .and_then(|there| there.parse().ok())
            .map(|there| difference(there, before, now()));
        let sudo = shell(context, SUDO, "");
        let mut seen = Self {
            answers,
            sudo: Answers::read(&sudo.stdout),
            sudo_took: sudo.took.saturating_sub(trip),
            startup: Vec::new(),
            clock,
        };
        if let Some(path) = seen.shell() {
            let runs = if takes_login(path) {
                &[["-c", "true"], ["-lc", "true"]][..]
            } else {
                &[["-c", "true"]]
            };
            let ran = runs.iter().map(|words| {
                let ran = run(context, b"", |context| {
                    // bash reads its start-up file for a program only in the first shell of ssh.
                    context.command(path).args(words).env("SHLVL", "0")
                });
                Startup::new(*words, &ran, trip)
            });
            seen.startup = ran.collect();
        }
        seen
    }

    /// Returns true if the script for most of it came to its end.
    pub(super) fn is_complete(&self) -> bool {
        self.answers.one("end").is_some()
    }

    /// Returns the path of the login shell.
    pub(super) fn shell(&self) -> Option<&str> {
        let fields = self.answers.one("passwd")?.split(':');
        match fields.collect::<Vec<_>>().as_slice() {
            [_, _, _, _, _, _, ""] => Some("/bin/sh"),
            [_, _, _, _, _, _, shell] => Some(shell),
            _ => None,
        }
    }

    /// Returns the places where an agent can start, in the order in which they are tried, each with
    /// its state.
    pub(super) fn places(&self) -> Vec<(&str, &'static str)> {
        let mut places: Vec<(&str, &'static str)> = Vec::new();
        for answer in self.answers.all("place") {
            let Some((state, path)) = answer.split_once(' ') else {
                continue;
            };
            let state = STATES.iter().find(|(known, _)| *known == state);
            if let Some((_, state)) = state.filter(|_| places.iter().all(|(p, _)| *p != path)) {
                places.push((path, state));
            }
        }
        places
    }

    /// Returns true if memory files execute.
    pub(super) fn memfd(&self) -> Option<bool> {
        match self.answers.number("memfd")? {
            42 => Some(true),
            3 | 4 => Some(false),
            _ => None,
        }
    }

    /// Returns a limit: a number or `unlimited`.
    pub(super) fn limit(&self, name: &str) -> Option<&str> {
        let max = format!("Max {name} ");
        let line = self
            .answers
            .all("limit")
            .find_map(|line| line.strip_prefix(&max));
        let value = line.and_then(|rest| rest.split_whitespace().next());
        let fallback = if name == "open files" { "nofile" } else { "" };
        value.or_else(|| self.answers.one(fallback))
    }

    /// Returns a figure of /proc/meminfo in KiB.
    pub(super) fn memory(&self, name: &str) -> Option<u64> {
        let line = self
            .answers
            .all("memory")
            .find_map(|line| line.strip_prefix(name));
        line?
            .trim_start_matches(':')
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    }

    /// Returns the limit of the control group in KiB.
    pub(super) fn cgroup(&self) -> Option<u64> {
        self.answers.number("cgroup").map(|bytes| bytes >> 10)
    }

    /// Returns the rows of the report.
    pub(super) fn rows(&self) -> Vec<Row> {
        let all = &self.answers;
        let os = all.one("os").map(|line| {
            let (_, name) = line.split_once('=').unwrap_or_default();
            name.trim_matches(['"', '\''])
        });
        let kernel = all.one("kernel");
        let platform: Vec<&str> = [all.one("machine"), kernel, os]
            .into_iter()
            .flatten()
            .collect();
        let groups: Vec<&str> = all
            .one("groups")
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let (user, uid) = (all.one("user"), all.number("uid"));
        let named = match (user, uid) {
            (Some(user), Some(uid)) => format!("{user} ({uid}), groups {}", groups.join(" ")),
            (user, _) => user.unwrap_or_default().to_owned(),
        };
        let tool = |name: &'static str| match (all.one(name), self.is_complete()) {
            (Some(path), _) => format!("{name} {path}"),
            (None, true) => format!("{name} none"),
            (None, false) => format!("{name} unknown"),
        };
        let noexec = all.number("noexec");
        let executes = match self.memfd() {
            Some(true) => "execute",
            Some(false) => "do not execute",
            None => "unknown whether they execute",
        };
        let places = self.places();
        let shown: Vec<String> = places
            .iter()
            .map(|(path, state)| format!("{path} {state}"))
            .collect();
        let listed: Vec<Value> = places
            .iter()
            .map(|(path, state)| json!({ "path": path, "state": state }))
            .collect();
        vec![
            self.host(),
            Row::new(
                "platform",
                "platform",
                platform.join(", "),
                json!({ "machine": all.one("machine"), "kernel": kernel, "os": os }),
            ),
            Row::new(
                "user",
                "user",
                named,
                json!({ "name": user, "uid": uid, "groups": groups }),
            ),
            Row::new(
                "login shell",
                "shell",
                self.shell().unwrap_or_default(),
                json!(self.shell()),
            ),
            Row::new(
                "umask",
                "umask",
                all.one("umask").unwrap_or_default(),
                json!(all.one("umask")),
            ),
            Row::new("places", "places", shown.join("; "), listed.into()),
            Row::new(
                "memory files",
                "memfd",
                format!(
                    "{executes}; vm.memfd_noexec {}",
                    noexec.map_or("unknown".into(), |noexec| noexec.to_string())
                ),
                json!({ "executes": self.memfd(), "noexec": noexec }),
            ),
            Row::new(
                "interpreters",
                "interpreters",
                format!("{}, {}", tool("perl"), tool("python3")),
                json!({ "perl": all.one("perl"), "python3": all.one("python3") }),
            ),
            self.limits(),
            self.memory_row(),
            self.hidepid(),
            self.clock_row(),
            self.sudo_row(),
            self.startup_row(),
            Row::new(
                "ssh client",
                "ssh",
                match (all.one("ssh"), self.is_complete()) {
                    (None, true) => "none",
                    (version, _) => version.unwrap_or_default(),
                },
                json!(all.one("ssh")),
            ),
        ]
    }

    /// Returns the row of the host's own name and the address at which ssh has reached it.
    fn host(&self) -> Row {
        let name = self.answers.one("host");
        let address = self.answers.one("address").and_then(|line| {
            let mut words = line.split(' ').skip(2);
            Some((words.next()?, words.next()?.parse::<u16>().ok()?))
        });
        let at = address.map(|(host, port)| format!(", at {host} port {port}"));
        Row::new(
            "host",
            "host",
            [name.unwrap_or("unknown"), &at.unwrap_or_default()].concat(),
            json!({ "name": name, "address": address.map(|to| to.0), "port": address.map(|to| to.1) }),
        )
    }

    fn limits(&self) -> Row {
        let mut limits = serde_json::Map::new();
        let mut text = Vec::new();
        for (name, key) in LIMITS {
            let limit = self.limit(name);
            text.push(format!("{name} {}", limit.unwrap_or("unknown")));
            let number = |limit: &str| {
                limit
                    .parse::<u64>()
                    .map_or(json!(limit), |limit| json!(limit))
            };
            limits.insert(key.into(), limit.map_or(Value::Null, number));
        }
        Row::new("limits", "limits", text.join(", "), limits.into())
    }

    fn memory_row(&self) -> Row {
        let (total, free) = (self.memory("MemTotal"), self.memory("MemAvailable"));
        let mib = |kib: Option<u64>| kib.map(|kib| format!("{} MiB", kib >> 10));
        let mut text = Vec::new();
        text.extend(mib(total));
        text.extend(mib(free).map(|free| format!("{free} available")));
        text.extend(mib(self.cgroup()).map(|most| format!("at most {most} for its control group")));
        let value =
            json!({ "total_kib": total, "available_kib": free, "cgroup_kib": self.cgroup() });
        Row::new("memory", "memory", text.join(", "), value)
    }

    fn hidepid(&self) -> Row {
        let options = self
            .answers
            .all("proc")
            .last()
            .and_then(|line| line.split_whitespace().nth(3));
        let hidden = options.map(|options| {
            let mut options = options.split(',');
            options
                .find_map(|option| option.strip_prefix("hidepid="))
                .unwrap_or("off")
        });
        Row::new(
            "hidepid",
            "hidepid",
            hidden.unwrap_or_default(),
            json!(hidden),
        )
    }

    fn clock_row(&self) -> Row {
        let text = match self.clock {
            None => String::new(),
            Some(0) => "as here".into(),
            Some(seconds) if seconds < 0 => format!("{} s behind", -seconds),
            Some(seconds) => format!("{seconds} s ahead"),
        };
        Row::new("clock", "clock_s", text, json!(self.clock))
    }

    fn sudo_row(&self) -> Row {
        let version = self.sudo.one("version");
        let flags: Vec<&str> = self.sudo.all("flag").collect();
        let passwordless = match self.sudo.one("passwordless") {
            Some("yes") => Some(true),
            Some("no") => Some(false),
            _ => None,
        };
        let text = match version {
            None | Some("none") => version.unwrap_or_default().to_owned(),
            Some(version) => {
                let without = match passwordless {
                    Some(true) => "works without a password",
                    Some(false) => "does not work without a password",
                    None => "unknown whether it works without a password",
                };
                [&[version, without], &flags[..]].concat().join(", ")
            }
        };
        let version = version.filter(|version| *version != "none");
        let value = json!({ "version": version, "passwordless": passwordless, "flags": flags });
        Row::new("sudo", "sudo", text, value)
    }

    fn startup_row(&self) -> Row {
        let runs: Vec<String> = self
            .startup
            .iter()
            .map(|run| {
                let words = run.words.join(" ");
                if run.late {
                    return format!("`{words}` does not end");
                }
                let noise = match run.printed {
                    0 => "silent".to_owned(),
                    bytes => format!("prints {bytes} bytes"),
                };
                let status = match run.status {
                    Some(0) => String::new(),
                    Some(status) => format!(", exit status {status}"),
                    None => ", no exit status".into(),
                };
                format!("`{words}` {}, {noise}{status}", readable(run.took))
            })
            .collect();
        let listed: Vec<Value> = self
            .startup
            .iter()
            .map(|run| {
                json!({
                    "words": run.words.join(" "), "ms": ms(run.took), "bytes": run.printed,
                    "status": run.status, "late": run.late,
                })
            })
            .collect();
        Row::new("start-up", "startup", runs.join("; "), listed.into())
    }
}

impl Startup {
    fn new(words: [&'static str; 2], ran: &Ran, trip: Duration) -> Self {
        Self {
            words,
            took: ran.took.saturating_sub(trip),
            printed: ran.printed(),
            status: ran.status.map(|status| status.shell_code()),
            late: ran.is_late(),
        }
    }
}

/// Returns true if a shell reads `-lc` as other shells do.
fn takes_login(shell: &str) -> bool {
    let name = shell.rsplit('/').next().unwrap_or_default();
    [
        "sh", "bash", "dash", "ash", "zsh", "mksh", "lksh", "ksh", "ksh93", "yash", "fish",
    ]
    .contains(&name)
}

/// Returns the seconds since the epoch.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// Returns by how many seconds a clock is ahead that showed this second at a time between `from`
/// and `to`.
fn difference(there: i64, from: f64, to: f64) -> i64 {
    let there = there as f64;
    if there + 1.0 < from {
        (there + 1.0 - from).floor() as i64
    } else if there > to {
        (there - to).ceil() as i64
    } else {
        0
    }
}

#[cfg(test)]
impl Seen {
    /// Returns what is seen in these answers.
    pub(super) fn of(answers: &str, sudo: &str) -> Self {
        Self {
            answers: Answers::read(answers.as_bytes()),
            sudo: Answers::read(sudo.as_bytes()),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(rows: &[Row], key: &str) -> Value {
        let row = rows.iter().find(|row| row.key == key);
        row.unwrap_or_else(|| panic!("no row {key}")).value.clone()
    }

    #[test]
    fn answers_are_read_into_rows() {
        let seen = Seen::of(
            "host=db7\naddress=10.0.0.1 50000 10.0.0.7 2222\nmachine=x86_64\nkernel=Linux 6.1\nos=PRETTY_NAME=\"Debian 12\"\nuser=a\nuid=7\n\
             groups=a b\npasswd=a:x:7:7:A,:/h:/bin/zsh\numask=0022\n\
             limit=Max open files              1024      4096     files\n\
             limit=Max address space           unlimited unlimited bytes\n\
             memory=MemTotal:       2048 kB\nmemory=MemAvailable:   1024 kB\ncgroup=max\n\
             proc=proc /proc proc rw,hidepid=invisible 0 0\nnoexec=1\nperl=/usr/bin/perl\nmemfd=42\n\
             place=runs /dev/shm\nplace=absent /dev/shm\nplace=noexec /a b\nplace=odd /c\nend=yes\n",
            "version=Sudo version 1.9\npasswordless=no\nflag=use_pty\nend=yes\n",
        );
        let rows = seen.rows();
        for (key, expected) in [
            (
                "host",
                json!({ "name": "db7", "address": "10.0.0.7", "port": 2222 }),
            ),
            (
                "platform",
                json!({ "machine": "x86_64", "kernel": "Linux 6.1", "os": "Debian 12" }),
            ),
            (
                "user",
                json!({ "name": "a", "uid": 7, "groups": ["a", "b"] }),
            ),
            ("shell", json!("/bin/zsh")),
            (
                "places",
                json!([{ "path": "/dev/shm", "state": "runs" }, { "path": "/a b", "state": "does not execute" }]),
            ),
            ("memfd", json!({ "executes": true, "noexec": 1 })),
            (
                "interpreters",
                json!({ "perl": "/usr/bin/perl", "python3": null }),
            ),
            (
                "limits",
                json!({ "nofile": 1024, "nproc": null, "as": "unlimited", "fsize": null }),
            ),
            (
                "memory",
                json!({ "total_kib": 2048, "available_kib": 1024, "cgroup_kib": null }),
            ),
            ("hidepid", json!("invisible")),
            (
                "sudo",
                json!({ "version": "Sudo version 1.9", "passwordless": false, "flags": ["use_pty"] }),
            ),
        ] {
            assert_eq!(value(&rows, key), expected, "{key}");
        }
    }

    #[test]
    fn without_answers_everything_is_unknown() {
        for output in [
            "",
            "no key\n=x\n\0=\u{1b}[2J\n",
            "machine=\nplace=runs\nmemfd=x\npasswd=:::\n",
        ] {
            let seen = Seen::of(output, output);
            for row in seen.rows() {
                assert!(row.text.contains("unknown"), "{row:?}");
            }
        }
    }

    #[test]
    fn answers_are_bounded_and_harmless() {
        let many = format!("user=\u{1b}]0;{}\n", "x".repeat(1000)).repeat(1000);
        let answers = Answers::read(many.as_bytes());
        assert_eq!(answers.all("user").count(), MOST.0);
        let first = answers.one("user").unwrap_or_default();
        assert!(
            first.chars().count() == MOST.1 && !first.contains('\u{1b}'),
            "{first}"
        );
    }

    #[test]
    fn a_clock_differs_only_beyond_the_time_of_the_probe() {
        for (there, from, to, expected) in [
            (100, 100.5, 100.9, 0),
            (100, 99.2, 100.1, 0),
            (100, 101.0, 102.0, 0),
            (100, 111.5, 112.0, -11),
            (100, 89.0, 89.5, 11),
        ] {
            assert_eq!(
                difference(there, from, to),
                expected,
                "{there} in {from}..{to}"
            );
        }
    }
}
