//! `lxc`: a container of LXC, by `lxc-attach`.

use super::spec::{Argument, OptionSpec, PasswordOf, RunsAs, Spec, Value};
use super::tool::{ARG, Line, NO_SHELL, PROGRAM, Part, SHELL, Table, Tool};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;
use offshoot_proto::ConnectErrorKind as Kind;

/// The script that looks at the container before it executes `lxc-attach`, whose words are its
/// arguments behind the name and the folder of the containers.
///
/// `lxc-attach` says the same of a container that does not exist and of one that does not run, and
/// waits for ever where one is frozen.
const SCRIPT: &str = r#"n=$1 w=$2 i=${3%attach}info
shift 2
PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin
say(){ echo "lxc: $*">&2;exit 1;}
command -v "$1" >/dev/null 2>&1||say "no program $1"
if command -v "$i" >/dev/null 2>&1;then
s=$("$i" ${w:+-P "$w"} -n "$n" -s -H)||exit
[ "$s" = RUNNING ]||say "state $s"
fi
exec "$@""#;

impl Context {
    /// Returns a hop into a running container of LXC on this context's machine.
    #[must_use]
    pub fn lxc(&self, container: impl Into<String>) -> Hop<Tool<Lxc>> {
        self.hop(Tool::new(container))
    }
}

/// The table of hops by `lxc-attach`.
///
/// It would put a terminal with small buffers between if one of its streams were one; those of a
/// hop are pipes. It would keep the whole environment of its caller, so it is told to clear that
/// (`--clear-env`). The shell inherits the streams, and `lxc-attach` waits for it: an agent does
/// not notice if only `lxc-attach` is killed, has the link itself, and ends with that.
#[derive(Copy, Clone, Debug)]
pub struct Lxc;

impl Table for Lxc {
    const WORDS: &'static [Part] = &[
        Part::Is("sh"),
        Part::Is("-c"),
        Part::Is(SCRIPT),
        Part::Is("lxc"),
        Part::Or("container", ""),
        Part::Or("path", ""),
        Part::Or("program", "lxc-attach"),
        Part::Each("path", &["-P", "%"]),
        Part::Each("container", &["-n", "%"]),
        Part::Is("--clear-env"),
        Part::Each("env", &["-v", "%"]),
        Part::Each("user", &["-u", "%", "-g", "%"]),
        Part::Each("arg", &["%"]),
        Part::Is("--"),
    ];

    const SETS: &'static [&'static str] = &["env"];

    const LINES: &'static [&'static [Line]] = &[&[
        Line::Means(
            &["^lxc: no program "],
            Kind::Start,
            "there is no such program there: %",
            "install it (package lxc), or name its place by program=",
        ),
        Line::Means(
            &["^", " doesn't exist"],
            Kind::NotFound,
            "there is no such container: %",
            "lxc-ls there lists those of its user; path= names another folder of containers",
        ),
        Line::Means(
            &["^lxc: state FROZEN"],
            Kind::NotRunning,
            "the container is frozen",
            "lxc-unfreeze continues it",
        ),
        Line::Means(
            &["^lxc: state "],
            Kind::NotRunning,
            "the container is not running, its state is %",
            "lxc-start starts it",
        ),
        Line::Means(
            &[" - Failed to exec \"sh\""],
            Kind::NoShell,
            NO_SHELL,
            SHELL,
        ),
        Line::Means(
            &["Insufficent privileges to control "],
            Kind::Denied,
            DENIED,
            ROOT,
        ),
        Line::Means(
            &["Insufficient privileges to control "],
            Kind::Denied,
            DENIED,
            ROOT,
        ),
        Line::Otherwise(&[": ", " Permission denied - "], Kind::Denied, DENIED, ROOT),
        Line::Otherwise(
            &[": ", " Operation not permitted - "],
            Kind::Denied,
            DENIED,
            ROOT,
        ),
        Line::Otherwise(
            &["Failed to get init pid"],
            Kind::NotRunning,
            "the container does not exist or is not running",
            "lxc-ls -f there shows its state",
        ),
    ]];

    const HINT: &'static str =
        "lxc-attach -n NAME -- sh -c true there shows the same without an agent";

    const SPEC: &'static Spec = &Spec {
        name: "lxc",
        argument: Argument::Text {
            key: "container",
            placeholder: "CONTAINER",
            noun: "the container",
            default: None,
        },
        about: "is a running container of LXC, by lxc-attach",
        options: &[
            OptionSpec::new(
                "path",
                Value::Text("FOLDER"),
                "the folder of the containers, as lxc-attach -P",
            ),
            OptionSpec::new(
                "user",
                Value::Number {
                    placeholder: "NUMBER",
                    noun: "the number of a user",
                    range: 0..=u32::MAX,
                },
                "the user there, by number, whose number the group has as well",
            ),
            ARG,
            PROGRAM,
        ],
        notes: "",
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::Nobody,
    };
}

const DENIED: &str = "this user may not enter the container";
const ROOT: &str = "go there as root, as in sudo/lxc:NAME, or as the user whose container it is";

setters!(Tool<Lxc> {
    /// Sets the folder of the containers, as `lxc-attach -P`.
    path: impl Into<String> => |method| method.put("path", path);
    /// Sets the user and the group there, by number.
    user: u32 => |method| method.put("user", user.to_string());
    /// Adds an argument of `lxc-attach`.
    arg: impl Into<String> => |method| method.add("arg", arg);
    /// Sets the program, if it is not `lxc-attach`.
    program: impl Into<String> => |method| method.put("program", program);
});
