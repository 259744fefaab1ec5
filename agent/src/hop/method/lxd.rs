//! `lxd`: an instance of LXD, by `lxc exec`.

use super::instance;
use super::spec::{Argument, PasswordOf, RunsAs, Spec};
use super::tool::{AN_OPTION, Line, Part, Table, Tool};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;

impl Context {
    /// Returns a hop into a running instance of LXD on this context's machine or on a remote.
    #[must_use]
    pub fn lxd(&self, instance: impl Into<String>) -> Hop<Tool<Lxd>> {
        self.hop(Tool::new(instance))
    }
}

/// The table of hops by `lxc exec`.
///
/// It would ask for a terminal in the instance if one of its streams were one, so it is told that
/// none is (`--mode=non-interactive`). The bytes go through the daemon unchanged. The daemon closes
/// the stdin in the instance when the client is killed, at which an agent ends. If a working
/// directory does not exist there, LXD executes nothing and reports success; so the shell enters
/// it.
#[derive(Copy, Clone, Debug)]
pub struct Lxd;

/// The arguments of `exec` that LXD and Incus have in common.
pub(super) const EXEC: Part = Part::All(&[
    Part::Is("exec"),
    Part::Is("--mode=non-interactive"),
    Part::Each("project", &["--project", "%"]),
    Part::Each("env", &["--env", "%"]),
    Part::Each("user", &["--user", "%", "--group", "%"]),
    Part::Each("arg", &["%"]),
    Part::Made(|values| {
        let remote = values.get("remote").map(|remote| format!("{remote}:"));
        let instance = values.get("instance").unwrap_or_default();
        vec![remote.unwrap_or_default() + instance]
    }),
    Part::Is("--"),
]);

impl Table for Lxd {
    const WORDS: &'static [Part] = &[Part::Or("program", "lxc"), EXEC];

    const SETS: &'static [&'static str] = &["env"];

    const LINES: &'static [&'static [Line]] = &[instance::LINES];

    const HINT: &'static str = "lxc exec NAME -- sh -c true there shows the same without an agent";

    const SPEC: &'static Spec = &Spec {
        name: "lxd",
        argument: Argument::Text {
            key: "instance",
            placeholder: "INSTANCE",
            noun: "the instance",
            default: None,
        },
        about: "is a running instance of LXD, by lxc exec",
        options: instance::OPTIONS,
        notes: "",
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::Nobody,
    };

    fn refusal(key: &str, value: &str) -> Option<&'static str> {
        (key == "instance" && value.starts_with('-')).then_some(AN_OPTION)
    }
}

setters!(Tool<Lxd> {
    /// Sets another server, which the client knows by this name.
    remote: impl Into<String> => |method| method.put("remote", remote);
    /// Sets the project of the instance.
    project: impl Into<String> => |method| method.put("project", project);
    /// Sets the user and the group there, by number.
    user: u32 => |method| method.put("user", user.to_string());
    /// Adds an argument of `lxc exec`.
    arg: impl Into<String> => |method| method.add("arg", arg);
    /// Sets the program, if it is not `lxc`.
    program: impl Into<String> => |method| method.put("program", program);
});
