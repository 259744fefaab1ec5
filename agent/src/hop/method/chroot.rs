//! `chroot`: a folder as the root of the file system, on the same machine.

use super::spec::{Argument, PasswordOf, RunsAs, Spec};
use super::tool::{
    ENGLISH, Line, NO_SHELL, NO_TOOL, OWN_LANGUAGE, PROGRAM, Part, SHELL, Table, Tool, USER, path,
};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;
use offshoot_proto::ConnectErrorKind as Kind;

impl Context {
    /// Returns a hop into a folder of this context's machine, which becomes the root of the file
    /// system. Only root may do that.
    #[must_use]
    pub fn chroot(&self, folder: impl Into<String>) -> Hop<Tool<Chroot>> {
        self.hop(Tool::new(folder))
    }
}

/// The table of hops by `chroot`.
///
/// It executes the shell in its place, so the streams, signals and exit codes are those of the
/// shell itself. Processes, network and users stay those of the machine, and so do /proc and /dev,
/// which the folder has only if somebody has mounted them there. An agent starts without both.
/// busybox's `chroot` is enough, but without `user`.
#[derive(Copy, Clone, Debug)]
pub struct Chroot;

impl Table for Chroot {
    const WORDS: &'static [Part] = &[
        ENGLISH,
        Part::Or("program", "chroot"),
        Part::Each("user", &["--userspec=%"]),
        Part::Made(|values| values.get("root").map(path).into_iter().collect()),
        OWN_LANGUAGE,
    ];

    const LINES: &'static [&'static [Line]] = &[
        &[
            Line::Means(
                &[
                    "^chroot: cannot change root directory to ",
                    ": No such file or directory",
                ],
                Kind::NotFound,
                "there is no such folder: %",
                "check the path",
            ),
            Line::Means(
                &[
                    "^chroot: cannot change root directory to ",
                    ": Not a directory",
                ],
                Kind::NotFound,
                "it is not a folder: %",
                "check the path",
            ),
            Line::Means(
                &[
                    "^chroot: cannot change root directory to ",
                    ": Operation not permitted",
                ],
                Kind::Denied,
                "only root may change the root folder",
                "go there as root, as in sudo/chroot:[/srv/x], or use bwrap or unshare:user",
            ),
            Line::Means(
                &["^chroot: cannot change root directory to "],
                Kind::Denied,
                "the folder cannot be entered: %",
                "see its permissions",
            ),
            // busybox's words.
            Line::Means(
                &[
                    "^chroot: can't change root directory to ",
                    ": No such file or directory",
                ],
                Kind::NotFound,
                "there is no such folder: %",
                "check the path",
            ),
            Line::Means(
                &[
                    "^chroot: can't change root directory to ",
                    ": Operation not permitted",
                ],
                Kind::Denied,
                "only root may change the root folder",
                "go there as root, as in sudo/chroot:[/srv/x]",
            ),
            Line::Means(
                &["^chroot: invalid user"],
                Kind::NoSuchUser,
                "it has no such user",
                "check user=; a number needs no entry there",
            ),
            Line::Means(
                &["^chroot: invalid group"],
                Kind::NoSuchUser,
                "it has no such group",
                "check user=; a number needs no entry there",
            ),
            Line::Means(
                &[
                    "^chroot: failed to run command ",
                    ": No such file or directory",
                ],
                Kind::NoShell,
                NO_SHELL,
                SHELL,
            ),
            Line::Means(
                &["^chroot: can't execute 'sh': No such file or directory"],
                Kind::NoShell,
                NO_SHELL,
                SHELL,
            ),
        ],
        NO_TOOL,
    ];

    const HINT: &'static str = "chroot FOLDER sh -c true there shows the same without an agent";

    const SPEC: &'static Spec = &Spec {
        name: "chroot",
        argument: Argument::Text {
            key: "root",
            placeholder: "FOLDER",
            noun: "the folder",
            default: None,
        },
        about: "is a folder of the same machine as the root of the file system; only root may enter it so",
        options: &[USER, PROGRAM],
        notes: "",
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::Nobody,
    };
}

setters!(Tool<Chroot> {
    /// Sets the user in the folder, by name or number, with a group behind a colon if wanted.
    user: impl Into<String> => |method| method.put("user", user);
    /// Sets the program, if it is not `chroot`.
    program: impl Into<String> => |method| method.put("program", program);
});
