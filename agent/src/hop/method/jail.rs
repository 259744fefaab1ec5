//! `jail`: a jail of FreeBSD, by `jexec`.

use super::spec::{Argument, PasswordOf, RunsAs, Spec};
use super::tool::{
    AN_OPTION, CLEAN, Line, NO_SHELL, OUTSIDE, OWN_HOME, PROGRAM, Part, SHELL, Table, Tool, USER,
};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;
use offshoot_proto::ConnectErrorKind as Kind;

impl Context {
    /// Returns a hop into a jail of FreeBSD, by name or number; see [`Jail`].
    #[must_use]
    pub fn jail(&self, jail: impl Into<String>) -> Hop<Tool<Jail>> {
        self.hop(Tool::new(jail))
    }
}

/// The table of hops by `jexec`.
///
/// Agents are programs for Linux. So the hop works only where FreeBSD's emulation of Linux runs the
/// agent before it and the one in the jail; elsewhere it fails with an error that says so. Its
/// words and messages are those of `jexec`, and were not tried on FreeBSD.
#[derive(Copy, Clone, Debug)]
pub struct Jail;

impl Table for Jail {
    const WORDS: &'static [Part] = &[
        CLEAN,
        // Java has a program of this name, too.
        Part::Or("program", "/usr/sbin/jexec"),
        Part::Each("user", &["-U", "%"]),
        Part::Each("jail", &["%"]),
        OWN_HOME,
    ];

    const LINES: &'static [&'static [Line]] = &[&[
        Line::Means(
            &["^offshoot: no program "],
            Kind::Platform,
            "jails belong to FreeBSD, and agents run on Linux: there is no %",
            "use a container of Linux, as docker or lxc",
        ),
        Line::Means(
            &["^jexec: jail \"", "\" not found"],
            Kind::NotFound,
            "there is no such jail: %",
            "jls there lists those that run",
        ),
        Line::Means(
            &["^jexec: ", ": no such user"],
            Kind::NoSuchUser,
            "it has no such user: %",
            "check user=",
        ),
        Line::Means(
            &["^jexec: jail_attach(", "): Operation not permitted"],
            Kind::Denied,
            "only root may enter a jail",
            "go there as root, as in sudo/jail:NAME",
        ),
        Line::Means(
            &["^jexec: execvp", ": No such file or directory"],
            Kind::NoShell,
            NO_SHELL,
            SHELL,
        ),
    ]];

    const HINT: &'static str = "jexec NAME sh -c true there shows the same without an agent";

    const SPEC: &'static Spec = &Spec {
        name: "jail",
        argument: Argument::Text {
            key: "jail",
            placeholder: "JAIL",
            noun: "the jail",
            default: None,
        },
        about: "is a jail of FreeBSD, by jexec; agents run on Linux, so that it needs FreeBSD's emulation of that",
        options: &[USER, PROGRAM],
        notes: OUTSIDE,
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::Nobody,
    };

    fn refusal(key: &str, value: &str) -> Option<&'static str> {
        (key == "jail" && value.starts_with('-')).then_some(AN_OPTION)
    }
}

setters!(Tool<Jail> {
    /// Sets the user in the jail.
    user: impl Into<String> => |method| method.put("user", user);
    /// Sets the program, if it is not `/usr/sbin/jexec`.
    program: impl Into<String> => |method| method.put("program", program);
});
