//! `incus`: an instance of Incus, by `incus exec`.

use super::instance;
use super::lxd::EXEC;
use super::spec::{Argument, PasswordOf, RunsAs, Spec};
use super::tool::{AN_OPTION, Line, Part, Table, Tool};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;

impl Context {
    /// Returns a hop into a running instance of Incus on this context's machine or on a remote.
    #[must_use]
    pub fn incus(&self, instance: impl Into<String>) -> Hop<Tool<Incus>> {
        self.hop(Tool::new(instance))
    }
}

/// The table of hops by `incus exec`, which has the arguments, the messages and the ways of
/// [`Lxd`](super::Lxd).
#[derive(Copy, Clone, Debug)]
pub struct Incus;

impl Table for Incus {
    const WORDS: &'static [Part] = &[Part::Or("program", "incus"), EXEC];

    const SETS: &'static [&'static str] = &["env"];

    const LINES: &'static [&'static [Line]] = &[instance::LINES];

    const HINT: &'static str =
        "incus exec NAME -- sh -c true there shows the same without an agent";

    const SPEC: &'static Spec = &Spec {
        name: "incus",
        argument: Argument::Text {
            key: "instance",
            placeholder: "INSTANCE",
            noun: "the instance",
            default: None,
        },
        about: "is a running instance of Incus, by incus exec",
        options: instance::OPTIONS,
        notes: "",
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::Nobody,
    };

    fn refusal(key: &str, value: &str) -> Option<&'static str> {
        (key == "instance" && value.starts_with('-')).then_some(AN_OPTION)
    }
}

setters!(Tool<Incus> {
    /// Sets another server, which the client knows by this name.
    remote: impl Into<String> => |method| method.put("remote", remote);
    /// Sets the project of the instance.
    project: impl Into<String> => |method| method.put("project", project);
    /// Sets the user and the group there, by number.
    user: u32 => |method| method.put("user", user.to_string());
    /// Adds an argument of `incus exec`.
    arg: impl Into<String> => |method| method.add("arg", arg);
    /// Sets the program, if it is not `incus`.
    program: impl Into<String> => |method| method.put("program", program);
});
