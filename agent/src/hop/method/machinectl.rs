//! `machinectl`: a running machine that systemd has registered.

use super::spec::{Argument, PasswordOf, RunsAs, Spec};
use super::tool::{ARG, Line, NO_SHELL, PROGRAM, Part, SHELL, Table, Tool, USER};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;
use offshoot_proto::ConnectErrorKind as Kind;

impl Context {
    /// Returns a hop into a running machine that `machinectl list` shows.
    #[must_use]
    pub fn machinectl(&self, machine: impl Into<String>) -> Hop<Tool<Machinectl>> {
        self.hop(Tool::new(machine))
    }
}

/// The table of hops by `systemd-run --machine`.
///
/// `machinectl shell` insists on a terminal, which changes bytes. So the machine's own systemd
/// starts the shell, as a service of its own, and gets the streams themselves (`--pipe`). An agent
/// does not notice if `systemd-run` is killed: it has the link itself, and ends with that.
#[derive(Copy, Clone, Debug)]
pub struct Machinectl;

impl Table for Machinectl {
    const WORDS: &'static [Part] = &[
        Part::Or("program", "systemd-run"),
        Part::Each("machine", &["--machine=%"]),
        Part::Is("--quiet"),
        Part::Is("--collect"),
        Part::Is("--wait"),
        Part::Is("--pipe"),
        Part::Each("user", &["--uid=%"]),
        Part::Each("env", &["--setenv=%"]),
        Part::Each("dir", &["--working-directory=%"]),
        Part::Each("arg", &["%"]),
        Part::Is("--"),
    ];

    const SETS: &'static [&'static str] = &["env", "dir"];

    const LINES: &'static [&'static [Line]] = &[&[
        Line::Means(
            &["No machine '", "' known"],
            Kind::NotFound,
            "there is no such machine: %",
            "machinectl list there shows those that run",
        ),
        Line::Means(
            &["^Failed to find executable sh"],
            Kind::NoShell,
            NO_SHELL,
            SHELL,
        ),
        Line::Means(
            &["^Failed to ", "Interactive authentication required"],
            Kind::Denied,
            DENIED,
            ROOT,
        ),
        Line::Means(
            &["^Failed to ", "Access denied"],
            Kind::Denied,
            DENIED,
            ROOT,
        ),
        Line::Means(
            &["^Failed to ", "Permission denied"],
            Kind::Denied,
            DENIED,
            ROOT,
        ),
        Line::Means(
            &["^System has not been booted with systemd"],
            Kind::Unreachable,
            "systemd does not run there",
            "use setns, nspawn or another way in",
        ),
        Line::Means(
            &["^Failed to connect to bus: Host is down"],
            Kind::Unreachable,
            "systemd does not run there",
            "use setns, nspawn or another way in",
        ),
        Line::Means(
            &["^Failed to connect to bus: "],
            Kind::NotRunning,
            "the machine does not exist or has no bus: %",
            "machinectl list there shows those that run; setns:NAME,kind=machinectl needs no bus",
        ),
    ]];

    const HINT: &'static str = "machinectl status NAME there shows its state";

    const SPEC: &'static Spec = &Spec {
        name: "machinectl",
        argument: Argument::Text {
            key: "machine",
            placeholder: "MACHINE",
            noun: "the machine",
            default: None,
        },
        about: "is a running machine that machinectl lists, by systemd-run --machine",
        options: &[USER, ARG, PROGRAM],
        notes: "",
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::Nobody,
    };
}

const DENIED: &str = "this user may not start programs in the machine";
const ROOT: &str = "go there as root, as in sudo/machinectl:NAME";

setters!(Tool<Machinectl> {
    /// Sets the user in the machine.
    user: impl Into<String> => |method| method.put("user", user);
    /// Adds an argument of `systemd-run`.
    arg: impl Into<String> => |method| method.add("arg", arg);
    /// Sets the program, if it is not `systemd-run`.
    program: impl Into<String> => |method| method.put("program", program);
});
