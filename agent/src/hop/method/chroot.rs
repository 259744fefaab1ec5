//! `chroot`: a folder as the root of the file system, on the same machine.

use super::spec::{Argument, PasswordOf, RunsAs, Spec};
use super::tool::{
    CLEAN, Line, NO_SHELL, NO_TOOL, OUTSIDE, OWN_HOME, PROGRAM, Part, SHELL, Table, Tool, USER,
    path,
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
/// which the folder has only if somebody has mounted them there. An agent starts without both. The
/// environment of the caller stays outside. busybox's `chroot` is enough, but without `user`.
#[derive(Copy, Clone, Debug)]
pub struct Chroot;

impl Table for Chroot {
    const WORDS: &'static [Part] = &[
        CLEAN,
        Part::Or("program", "chroot"),
        Part::Each("user", &["--userspec=%"]),
        Part::Made(|values| values.get("root").map(path).into_iter().collect()),
        OWN_HOME,
    ];

    // coreutils' chroot begins its messages with the path by which it was executed.
    const LINES: &'static [&'static [Line]] = &[
        &[
            Line::Means(
                &[
                    "chroot: cannot change root directory to ",
                    ": No such file or directory",
                ],
                Kind::NotFound,
                "there is no such folder: %",
                "check the path",
            ),
            Line::Means(
                &[
                    "chroot: cannot change root directory to ",
                    ": Not a directory",
                ],
                Kind::NotFound,
                "it is not a folder: %",
                "check the path",
            ),
            Line::Means(
                &[
                    "chroot: cannot change root directory to ",
                    ": Operation not permitted",
                ],
                Kind::Denied,
                "only root may change the root folder",
                "go there as root, as in sudo/chroot:[/srv/x], or use bwrap or unshare:user",
            ),
            Line::Means(
                &["chroot: cannot change root directory to "],
                Kind::Denied,
                "the folder cannot be entered: %",
                "see its permissions",
            ),
            // busybox's words.
            Line::Means(
                &["chroot: can't change root directory to '--userspec="],
                Kind::Start,
                BUSYBOX,
                COREUTILS,
            ),
            Line::Means(
                &[
                    "chroot: can't change root directory to ",
                    ": No such file or directory",
                ],
                Kind::NotFound,
                "there is no such folder: %",
                "check the path",
            ),
            Line::Means(
                &[
                    "chroot: can't change root directory to ",
                    ": Operation not permitted",
                ],
                Kind::Denied,
                "only root may change the root folder",
                "go there as root, as in sudo/chroot:[/srv/x]",
            ),
            Line::Means(
                &["chroot: invalid user"],
                Kind::NoSuchUser,
                "it has no such user",
                NUMBERS,
            ),
            Line::Means(
                &["chroot: invalid group"],
                Kind::NoSuchUser,
                "it has no such group",
                NUMBERS,
            ),
            Line::Means(
                &["chroot: no group specified for unknown uid: "],
                Kind::NoSuchUser,
                "it has no such user, whose entry would name the group: %",
                NUMBERS,
            ),
            Line::Means(
                &["chroot: unrecognized option"],
                Kind::Start,
                BUSYBOX,
                COREUTILS,
            ),
            Line::Means(
                &[
                    "chroot: failed to run command ",
                    ": No such file or directory",
                ],
                Kind::NoShell,
                NO_SHELL,
                SHELL,
            ),
            Line::Means(
                &["chroot: can't execute 'sh': No such file or directory"],
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
        notes: OUTSIDE,
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::Nobody,
    };
}

const BUSYBOX: &str = "this chroot, of busybox, takes no user";
const COREUTILS: &str = "leave out user=, or name the chroot of coreutils by program=";
const NUMBERS: &str =
    "check user=; numbers of a user and a group need no entry there, as in user=12:12";

setters!(Tool<Chroot> {
    /// Sets the user in the folder, by name or number, with a group behind a colon if wanted. A
    /// number without an entry there needs a group.
    user: impl Into<String> => |method| method.put("user", user);
    /// Sets the program, if it is not `chroot`.
    program: impl Into<String> => |method| method.put("program", program);
});
