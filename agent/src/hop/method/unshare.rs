//! `unshare`: new namespaces on the same machine.

use super::spec::{Argument, OptionSpec, PasswordOf, RunsAs, Spec, Value};
use super::tool::{
    ARG, CLEAN, ENGLISH, Line, NO_SHELL, NO_TOOL, OWN_HOME, OWN_LANGUAGE, PROGRAM, Part, SHELL,
    Table, Tool, Values, path,
};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;
use offshoot_proto::ConnectErrorKind as Kind;

/// The namespaces that a hop gets without an argument.
const USUAL: &str = "mount+pid+ipc+uts";

/// The namespaces that there are.
pub(super) const NAMESPACES: [&str; 8] = [
    "mount", "uts", "ipc", "net", "pid", "user", "cgroup", "time",
];

/// The namespaces that there are, as advice.
pub(super) const LIST: &str = "the namespaces are mount, uts, ipc, net, pid, user, cgroup and time, with + between them, \
                               as in net+pid";

/// Returns true for a list of namespaces, with `+` between them.
pub(super) fn are_namespaces(list: &str) -> bool {
    list.split('+').all(|name| NAMESPACES.contains(&name))
}

impl Context {
    /// Returns a hop into new namespaces of this context's machine, for instance `mount+pid+net`;
    /// see [`Unshare`].
    #[must_use]
    pub fn unshare(&self, namespaces: impl Into<String>) -> Hop<Tool<Unshare>> {
        self.hop(Tool::new(namespaces))
    }
}

/// The table of hops by `unshare`.
///
/// The argument lists the new namespaces: `mount`, `pid`, `ipc`, `uts`, `net`, `user`, `cgroup` and
/// `time`, with `+` between them. With `pid`, the agent is process 1 of its namespace, and all
/// processes there end with it; /proc is mounted again, which needs `mount`. With `user`, the
/// caller becomes root of the namespace, so nobody needs to be root for the rest. The environment
/// of the caller is that of the agent, as with a local hop, unless there is another root or user.
///
/// `unshare` waits for the agent and passes on its exit code. If it is killed, the kernel kills the
/// shell that starts the agent (`--kill-child`). An agent in a pid namespace does not notice that:
/// it has the link itself, and ends with that.
#[derive(Copy, Clone, Debug)]
pub struct Unshare;

/// Returns true if the environment of the caller is nobody's business there: in another root, and
/// for another user.
fn is_foreign(values: &Values) -> bool {
    values.get("root").is_some() || values.get("user").is_some()
}

fn flags(values: &Values) -> Vec<String> {
    let list = values.get("namespaces").unwrap_or(USUAL);
    let has = |name: &str| list.split('+').any(|other| other == name);
    let mut words: Vec<String> = list.split('+').map(|name| format!("--{name}")).collect();
    for (flag, wanted) in [
        ("--map-root-user", has("user")),
        ("--mount-proc", has("pid") && has("mount")),
    ] {
        words.extend(wanted.then(|| flag.into()));
    }
    words.extend(
        values
            .get("root")
            .map(|root| format!("--root={}", path(root))),
    );
    words
}

impl Table for Unshare {
    const WORDS: &'static [Part] = &[
        Part::Either(is_foreign, &CLEAN, &ENGLISH),
        Part::Or("program", "unshare"),
        Part::Is("--fork"),
        Part::Is("--kill-child"),
        Part::Made(flags),
        Part::Each("user", &["--setuid=%", "--setgid=%"]),
        Part::Each("arg", &["%"]),
        Part::Is("--"),
        Part::Either(is_foreign, &OWN_HOME, &OWN_LANGUAGE),
    ];

    const LINES: &'static [&'static [Line]] = &[
        &[
            Line::Means(
                &["^unshare: unshare failed: Operation not permitted"],
                Kind::Denied,
                "this user may not make such namespaces",
                "go there as root (sudo/unshare), or add the namespace user, as in unshare:user+mount+pid",
            ),
            Line::Means(
                &["unshare: unrecognized option"],
                Kind::Start,
                "this unshare has no such option: %",
                "the hop needs the unshare of util-linux, as that of busybox has too few; install it, or name it by \
                 program=",
            ),
            Line::Means(
                &["^unshare: unshare failed: No space left on device"],
                Kind::Denied,
                "there are as many namespaces as the machine allows",
                "see /proc/sys/user there",
            ),
            Line::Means(
                &["^unshare: unshare failed: Invalid argument"],
                Kind::Denied,
                "the kernel there has no such namespace",
                "leave out those that it lacks",
            ),
            Line::Means(
                &[
                    "^unshare: cannot change root directory to ",
                    ": No such file or directory",
                ],
                Kind::NotFound,
                "there is no such folder: %",
                "check root=",
            ),
            Line::Means(
                &["^unshare: cannot change root directory to "],
                Kind::Denied,
                "the folder cannot be entered: %",
                "check root=",
            ),
            Line::Means(
                &["^unshare: mount /proc failed: No such file or directory"],
                Kind::NotFound,
                "the folder has no proc to mount /proc on",
                "make it, or leave out the namespace pid",
            ),
            Line::Means(
                &["^unshare: failed to execute sh: No such file or directory"],
                Kind::NoShell,
                NO_SHELL,
                SHELL,
            ),
        ],
        NO_TOOL,
    ];

    const HINT: &'static str =
        "unshare with the same namespaces there shows the same without an agent";

    const SPEC: &'static Spec = &Spec {
        name: "unshare",
        argument: Argument::Text {
            key: "namespaces",
            placeholder: "NAMESPACES",
            noun: "the namespaces",
            default: Some(USUAL),
        },
        about: "is the same machine in new namespaces, of mount, pid, ipc, uts, net, user, cgroup and time, with + \
                between them",
        options: &[
            OptionSpec::new(
                "root",
                Value::Text("FOLDER"),
                "a folder as the root of the file system",
            ),
            OptionSpec::new(
                "user",
                Value::Number {
                    placeholder: "NUMBER",
                    noun: "the number of a user",
                    range: 0..=u32::MAX,
                },
                "the user, by number, whose number the group has as well",
            ),
            ARG,
            PROGRAM,
        ],
        notes: "With user, the caller is root of the new namespaces, and has to be nobody special for the others. \
                With root= or user=, the variables of the caller stay outside, except TERM; env= gives the agent others.",
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::Nobody,
    };

    fn refusal(key: &str, value: &str) -> Option<&'static str> {
        (key == "namespaces" && !are_namespaces(value)).then_some(LIST)
    }
}

setters!(Tool<Unshare> {
    /// Sets a folder as the root of the file system.
    root: impl Into<String> => |method| method.put("root", root);
    /// Sets the user and the group, by number.
    user: u32 => |method| method.put("user", user.to_string());
    /// Adds an argument of `unshare`.
    arg: impl Into<String> => |method| method.add("arg", arg);
    /// Sets the program, if it is not `unshare`.
    program: impl Into<String> => |method| method.put("program", program);
});
