//! `bwrap`: a folder as the root of a sandbox of Bubblewrap, for any user.

use super::spec::{Argument, OptionSpec, PasswordOf, RunsAs, Spec, Value};
use super::tool::{
    ARG, CLEAN, Line, NO_SHELL, NO_TOOL, OUTSIDE, OWN_HOME, PROGRAM, Part, SHELL, Table, Tool, path,
};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;
use offshoot_proto::ConnectErrorKind as Kind;

impl Context {
    /// Returns a hop into a sandbox of Bubblewrap whose root is this folder, with a /dev and a
    /// /proc of its own. Nobody needs to be root for it.
    #[must_use]
    pub fn bwrap(&self, folder: impl Into<String>) -> Hop<Tool<Bwrap>> {
        self.hop(Tool::new(folder))
    }
}

/// The table of hops by `bwrap`.
///
/// The folder can be written to. Nothing else is separate unless an argument says so, as in
/// `arg=--unshare-all`. The shell inherits the streams, and bwrap passes on its exit code; it ends
/// with its parent (`--die-with-parent`), and an agent ends with its link. The environment of the
/// caller stays outside; bwrap itself could clear it since 0.5 only.
#[derive(Copy, Clone, Debug)]
pub struct Bwrap;

impl Table for Bwrap {
    const WORDS: &'static [Part] = &[
        CLEAN,
        Part::Or("program", "bwrap"),
        Part::Is("--die-with-parent"),
        Part::Is("--bind"),
        Part::Made(|values| vec![path(values.get("root").unwrap_or("/"))]),
        Part::Is("/"),
        Part::Is("--dev"),
        Part::Is("/dev"),
        Part::Is("--proc"),
        Part::Is("/proc"),
        Part::Each("user", &["--unshare-user", "--uid", "%", "--gid", "%"]),
        Part::Made(|values| {
            let pairs = values.all("env").filter_map(|pair| pair.split_once('='));
            let words = pairs.flat_map(|(name, value)| ["--setenv", name, value]);
            words.map(str::to_owned).collect()
        }),
        Part::Each("dir", &["--chdir", "%"]),
        Part::Each("arg", &["%"]),
        Part::Is("--"),
        OWN_HOME,
    ];

    const SETS: &'static [&'static str] = &["env", "dir"];

    const LINES: &'static [&'static [Line]] = &[
        NO_TOOL,
        &[
            Line::Means(
                &[
                    "^bwrap: Can't find source path ",
                    ": No such file or directory",
                ],
                Kind::NotFound,
                "there is no such folder: %",
                "check the path",
            ),
            Line::Means(
                &["^bwrap: Can't chdir to ", ": No such file or directory"],
                Kind::NotFound,
                "it has no such working directory: %",
                "check dir=",
            ),
            Line::Means(
                &["^bwrap: execvp sh: No such file or directory"],
                Kind::NoShell,
                NO_SHELL,
                SHELL,
            ),
            Line::Means(
                &["^bwrap: Unknown option "],
                Kind::Start,
                "this bwrap knows no such option: %",
                "a newer Bubblewrap may, or leave out arg=",
            ),
            Line::Means(
                &["^bwrap: No permissions to creat"],
                Kind::Denied,
                "this user may not make namespaces",
                ALLOW,
            ),
            Line::Means(
                &["^bwrap: Creating new namespace failed"],
                Kind::Denied,
                "the kernel makes no more namespaces",
                ALLOW,
            ),
            Line::Means(
                &["^bwrap: setting up uid map: "],
                Kind::Denied,
                "this user may not make a user namespace: %",
                ALLOW,
            ),
            Line::Otherwise(
                &["^bwrap: Can't ", ": Permission denied"],
                Kind::Denied,
                "this user may not make the sandbox: it cannot %",
                "see the permissions of the folder",
            ),
        ],
    ];

    const HINT: &'static str = "bwrap with the same folder there shows the same without an agent";

    const SPEC: &'static Spec = &Spec {
        name: "bwrap",
        argument: Argument::Text {
            key: "root",
            placeholder: "FOLDER",
            noun: "the folder",
            default: Some("/"),
        },
        about: "is a folder as the root of a sandbox of Bubblewrap, which any user may make",
        options: &[
            OptionSpec::new(
                "user",
                Value::Number {
                    placeholder: "NUMBER",
                    noun: "the number of a user",
                    range: 0..=u32::MAX,
                },
                "the user that the sandbox shows, by number, whose number the group has as well",
            ),
            ARG,
            PROGRAM,
        ],
        notes: OUTSIDE,
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::Nobody,
    };
}

const ALLOW: &str =
    "see the sysctls user.max_user_namespaces and kernel.unprivileged_userns_clone there";

setters!(Tool<Bwrap> {
    /// Sets the user and the group that the sandbox shows, by number.
    user: u32 => |method| method.put("user", user.to_string());
    /// Adds an argument of `bwrap`, such as `--unshare-all`.
    arg: impl Into<String> => |method| method.add("arg", arg);
    /// Sets the program, if it is not `bwrap`.
    program: impl Into<String> => |method| method.put("program", program);
});
