//! `buildah`: a container that Buildah builds in.

use super::spec::{Argument, PasswordOf, RunsAs, Spec};
use super::tool::{ARG, Line, PROGRAM, Part, RUNTIME, Table, Tool, USER};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;
use offshoot_proto::ConnectErrorKind as Kind;

impl Context {
    /// Returns a hop into a container of Buildah, by name or id, of this context's user.
    #[must_use]
    pub fn buildah(&self, container: impl Into<String>) -> Hop<Tool<Buildah>> {
        self.hop(Tool::new(container))
    }
}

/// The table of hops by `buildah run`.
///
/// A container of Buildah has no process of its own: `buildah run` makes its namespaces, and they
/// end with the agent. `buildah run` copies the bytes between its streams and the shell's. When it
/// is killed, the shell's stdin ends, at which an agent ends. What it prints about a status that is
/// not 0 comes after the reason. Killed by SIGKILL, it leaves a folder of its own in /var/tmp.
#[derive(Copy, Clone, Debug)]
pub struct Buildah;

impl Table for Buildah {
    const WORDS: &'static [Part] = &[
        Part::Or("program", "buildah"),
        Part::Is("run"),
        Part::Each("user", &["--user", "%"]),
        Part::Each("env", &["--env", "%"]),
        Part::Each("dir", &["--workingdir", "%"]),
        Part::Each("arg", &["%"]),
        Part::Is("--"),
        Part::Each("container", &["%"]),
    ];

    const SETS: &'static [&'static str] = &["env", "dir"];

    const LINES: &'static [&'static [Line]] = &[
        &[
            Line::Means(
                &[
                    "^Error: reading build container \"",
                    "\": container not known",
                ],
                Kind::NotFound,
                "there is no such container: %",
                "buildah containers there lists those of the user who asks",
            ),
            Line::Means(
                &["unknown user error looking up user \"", "\""],
                Kind::NoSuchUser,
                "it has no such user: %",
                "check user=; a number needs no entry there",
            ),
            // The rest of the line is the whole script, behind which the reason is cut off.
            Line::Means(
                &["^error running container: "],
                Kind::NoShell,
                "the runtime cannot start sh in it",
                "an agent needs a POSIX shell there; buildah run NAME sh says what prevents it",
            ),
        ],
        RUNTIME,
    ];

    const HINT: &'static str = "buildah run NAME sh -c true there shows the same without an agent";

    const SPEC: &'static Spec = &Spec {
        name: "buildah",
        argument: Argument::Text {
            key: "container",
            placeholder: "CONTAINER",
            noun: "the container",
            default: None,
        },
        about: "is a container of Buildah of the user before the hop, by buildah run",
        options: &[USER, ARG, PROGRAM],
        notes: "",
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::Nobody,
    };
}

setters!(Tool<Buildah> {
    /// Sets the user in the container, by name or number, with a group behind a colon if wanted.
    user: impl Into<String> => |method| method.put("user", user);
    /// Adds an argument of `buildah run`, such as `--network=none`.
    arg: impl Into<String> => |method| method.add("arg", arg);
    /// Sets the program, if it is not `buildah`.
    program: impl Into<String> => |method| method.put("program", program);
});
