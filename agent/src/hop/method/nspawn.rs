//! `nspawn`: a folder or an image as a container of `systemd-nspawn`.

use super::spec::{Argument, PasswordOf, RunsAs, Spec};
use super::tool::{ARG, Line, NO_SHELL, PROGRAM, Part, SHELL, Table, Tool, USER};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;
use offshoot_proto::ConnectErrorKind as Kind;

impl Context {
    /// Returns a hop into a new container of `systemd-nspawn`: a folder, if `place` begins with
    /// `/`, or a machine of `/var/lib/machines`. Only root may do that.
    #[must_use]
    pub fn nspawn(&self, place: impl Into<String>) -> Hop<Tool<Nspawn>> {
        self.hop(Tool::new(place))
    }
}

/// The table of hops by `systemd-nspawn`.
///
/// Without a terminal, its console kills the container at the end of its input, so it passes the
/// streams through (`--pipe`). It neither registers the container nor asks systemd for a scope
/// (`--register=no --keep-unit`), so it works where systemd does not run. Nobody else can use the
/// folder at the same time, another hop included; `arg=--ephemeral` takes a copy. The user is
/// looked up by `getent` in the container, which busybox lacks.
///
/// If `systemd-nspawn` itself is killed, the agent goes on until its link ends.
#[derive(Copy, Clone, Debug)]
pub struct Nspawn;

impl Table for Nspawn {
    const WORDS: &'static [Part] = &[
        Part::Or("program", "systemd-nspawn"),
        Part::Is("--quiet"),
        Part::Is("--register=no"),
        Part::Is("--keep-unit"),
        Part::Is("--pipe"),
        Part::Each("user", &["--user=%"]),
        Part::Each("env", &["--setenv=%"]),
        Part::Each("dir", &["--chdir=%"]),
        Part::Each("arg", &["%"]),
        Part::Made(|values| {
            let place = values.get("place").unwrap_or_default();
            let flag = if place.starts_with('/') {
                "directory"
            } else {
                "machine"
            };
            vec![format!("--{flag}={place}")]
        }),
        Part::Is("--"),
    ];

    const SETS: &'static [&'static str] = &["env", "dir"];

    const LINES: &'static [&'static [Line]] = &[&[
        Line::Means(
            &["^Failed to resolve path ", ": No such file or directory"],
            Kind::NotFound,
            "there is no such folder: %",
            "check the path",
        ),
        Line::Means(
            &["^No image for machine '", "'"],
            Kind::NotFound,
            "there is no such machine: %",
            "machinectl list-images there lists those that there are; a folder begins with /",
        ),
        Line::Means(
            &["doesn't look like it has an OS tree"],
            Kind::NotFound,
            "the folder is no root of a system",
            "it needs the folder usr",
        ),
        Line::Means(
            &["doesn't look like an OS root directory"],
            Kind::NotFound,
            "the folder is no root of a system",
            "it needs the folder usr",
        ),
        Line::Means(
            &["^Directory tree ", " is currently busy"],
            Kind::Denied,
            "another container uses the folder: %",
            "end it, or use a copy (arg=--ephemeral)",
        ),
        Line::Means(
            &[": unrecognized option "],
            Kind::Start,
            "this systemd-nspawn has no such option: %",
            "a newer systemd may",
        ),
        Line::Means(
            &["^Need to be root"],
            Kind::Denied,
            "only root may make such containers",
            "go there as root, as in sudo/nspawn:[/srv/x], or use bwrap",
        ),
        Line::Means(
            &["^Failed to resolve user ", "."],
            Kind::NoSuchUser,
            "it has no such user: %",
            "check user=; the container needs getent to look it up",
        ),
        Line::Means(
            &["execv(", ") failed: No such file or directory"],
            Kind::NoShell,
            NO_SHELL,
            SHELL,
        ),
    ]];

    const HINT: &'static str =
        "systemd-nspawn --pipe -D FOLDER sh -c true there shows the same without an agent";

    const SPEC: &'static Spec = &Spec {
        name: "nspawn",
        argument: Argument::Text {
            key: "place",
            placeholder: "FOLDER|MACHINE",
            noun: "the folder or machine",
            default: None,
        },
        about: "is a folder, if it begins with /, or a machine of /var/lib/machines, as a new container of \
                systemd-nspawn",
        options: &[USER, ARG, PROGRAM],
        notes: "",
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::Nobody,
    };
}

setters!(Tool<Nspawn> {
    /// Sets the user in the container.
    user: impl Into<String> => |method| method.put("user", user);
    /// Adds an argument of `systemd-nspawn`, such as `--ephemeral`.
    arg: impl Into<String> => |method| method.add("arg", arg);
    /// Sets the program, if it is not `systemd-nspawn`.
    program: impl Into<String> => |method| method.put("program", program);
});
