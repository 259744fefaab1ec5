//! `setns`: the namespaces of a running container or process, without its tool's daemon.

use super::instance;
use super::spec::{Argument, OptionSpec, PasswordOf, RunsAs, Spec, Value};
use super::tool::{Line, NO_SHELL, OUTSIDE, OWN_HOME, PROGRAM, Part, SHELL, Table, Tool};
use super::unshare::{LIST, are_namespaces};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;
use offshoot_proto::ConnectErrorKind as Kind;

/// The script that finds the leader of a container and executes `nsenter` in its namespaces.
///
/// Its arguments are the kind of the container, its name, the namespaces (empty for all that
/// differ), the user (empty for root), the folder of lxc's containers, `nsenter`, and the words of
/// the bootstrap.
///
/// A process id may be another process's by the time that it is used. So the script enters the
/// leader's folder in /proc, which stays that of this one process and is empty once that has ended,
/// asks for the leader again, and from then on uses names in this folder only.
const SCRIPT: &str = r#"k=$1 c=$2 l=$3 u=$4 w=$5 p=$6 o=$PWD
shift 6
PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin
say(){ echo "setns: $*">&2;exit 1;}
need(){ command -v "$1" >/dev/null 2>&1||say "no program $1";}
leader(){ case $k in
pid)echo "$c";;
docker|podman)"$k" container inspect -f "{{.State.Pid}}" -- "$c";;
lxc)lxc-info ${w:+-P "$w"} -n "$c" -p -H;;
lxd|incus)"$t" info -- "$c"|while read -r a b;do case $a in [Pp][Ii][Dd]:)echo "$b";;esac;done;;
machinectl)machinectl show --value -p Leader -- "$c";;
esac;}
t=$k
case $k in lxc)t=lxc-info;;lxd)t=lxc;;pid)t=$p;;esac
need "$t"
need "$p"
p=$(command -v "$p")
a=$(leader)
case $a in ''|0|*[!0-9]*)[ "$k" = pid ]&&say "no process $c";say "no leader";;esac
cd "/proc/$a" 2>/dev/null||say "no process $a"
[ "$(leader)" = "$a" ]&&[ -e stat ]||say "leader changed"
f=/etc/passwd m=
for x in user:user cgroup:cgroup ipc:ipc uts:uts net:net pid:pid mount:mnt time:time;do
n=${x%:*} x=ns/${x#*:}
case +${l:-$n}+ in *+$n+*);;*)continue;;esac
[ -L "$x" ]||continue
[ "$x" -ef "/proc/self/$x" ]&&continue
m="$m --$n=$x"
[ $n = mount ]&&f=root/etc/passwd m="$m --root=root --wd=root"
done
[ "$m" ]||say "nothing to enter"
if [ "$u" ];then
i= g=
[ -f $f ]&&while IFS=: read -r a b d e b;do
case $u in "$a"|"$d")[ "$i" ]||i=$d g=$e;;esac;done<$f
[ "$i" ]||case $u in *[!0-9]*)say "no user $u";;*)i=$u g=$u;;esac
m="$m -S $i -G $g"
fi
case $m in *--wd=*);;*)set -- "--wd=$o" -- "$@";;esac
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec env -i "PATH=$PATH" LANGUAGE=en ${TERM:+"TERM=$TERM"} "$p" $m "$@""#;

impl Context {
    /// Returns a hop into the namespaces of a container of this context's machine. `kind` is
    /// `docker`, `podman`, `lxc`, `lxd`, `incus` or `machinectl`.
    #[must_use]
    pub fn setns(&self, kind: impl Into<String>, container: impl Into<String>) -> Hop<Tool<Setns>> {
        let mut tool = Tool::new(container);
        tool.put("kind", kind);
        self.hop(tool)
    }

    /// Returns a hop into the namespaces of a process of this context's machine.
    #[must_use]
    pub fn setns_pid(&self, pid: u32) -> Hop<Tool<Setns>> {
        let mut tool = Tool::default();
        tool.put("pid", pid.to_string());
        self.hop(tool)
    }
}

/// The table of hops by `nsenter`.
///
/// The hop needs root, and a shell in the container, but neither a daemon that answers nor a tool
/// that can execute in it: the tool only names the leader, the container's first process. The agent
/// gets the namespaces and the root folder of the leader. It does not get its limits (cgroup), its
/// seccomp filter, its capabilities or its environment, so it is less restricted than the
/// container. It does not get the environment of the caller either. It starts outside of the
/// container's accounting, and outlives the container if that is stopped.
///
/// Where a pid namespace is entered, `nsenter` stays as the parent of the agent, which does not
/// notice its end: the agent has the link itself, and ends with that.
#[derive(Copy, Clone, Debug)]
pub struct Setns;

impl Table for Setns {
    const WORDS: &'static [Part] = &[
        Part::Is("sh"),
        Part::Is("-c"),
        Part::Is(SCRIPT),
        Part::Is("setns"),
        Part::Made(|values| {
            let (kind, name) = match values.get("pid") {
                Some(pid) => ("pid", pid),
                None => (
                    values.get("kind").unwrap_or("docker"),
                    values.get("container").unwrap_or_default(),
                ),
            };
            let get = |key| values.get(key).unwrap_or_default();
            let words = [kind, name, get("namespaces"), get("user"), get("path")];
            words.map(str::to_owned).into()
        }),
        Part::Or("program", "nsenter"),
        OWN_HOME,
    ];

    const LINES: &'static [&'static [Line]] = &[
        &[
            Line::Means(
                &["^setns: no program "],
                Kind::Start,
                "there is no such program there: %",
                "install it; nsenter is part of util-linux and of busybox",
            ),
            Line::Means(
                &["^setns: no process "],
                Kind::NotFound,
                "there is no such process: %",
                "see ps there",
            ),
            Line::Means(
                &["^setns: no user "],
                Kind::NoSuchUser,
                "it has no such user: %",
                "check user=; a number needs no entry there",
            ),
            Line::Means(
                &["^setns: leader changed"],
                Kind::NotRunning,
                "the container was stopped or started at this moment",
                "try again",
            ),
            Line::Means(
                &["^setns: nothing to enter"],
                Kind::NotFound,
                "it is in the same namespaces already",
                "name others by namespaces=, or use local",
            ),
            // Docker's and Podman's words, lxc-info's, lxc's, and systemd's.
            Line::Means(
                &["No such container: "],
                Kind::NotFound,
                NO_CONTAINER,
                CHECK,
            ),
            Line::Means(&["no such container "], Kind::NotFound, NO_CONTAINER, CHECK),
            Line::Means(
                &["no container with name or ID \"", "\" found"],
                Kind::NotFound,
                NO_CONTAINER,
                CHECK,
            ),
            Line::Means(
                &["^", " doesn't exist"],
                Kind::NotFound,
                NO_CONTAINER,
                CHECK,
            ),
            Line::Means(
                &["^Error: Instance not found"],
                Kind::NotFound,
                "there is no such container",
                CHECK,
            ),
            Line::Means(
                &["^Error: not found"],
                Kind::NotFound,
                "there is no such container",
                CHECK,
            ),
            Line::Means(
                &["^No machine '", "' known"],
                Kind::NotFound,
                NO_CONTAINER,
                CHECK,
            ),
            Line::Means(
                &["^Could not get path to machine: No machine '", "' known"],
                Kind::NotFound,
                NO_CONTAINER,
                CHECK,
            ),
            Line::Means(
                &["permission denied while trying to connect to the Docker "],
                Kind::Denied,
                "this user may not use the Docker daemon",
                ROOT,
            ),
            Line::Means(
                &["^Cannot connect to the Docker daemon at "],
                Kind::Unreachable,
                "the Docker daemon cannot be reached: %",
                "is it running there? With pid= none is needed",
            ),
            Line::Means(
                &["^nsenter: cannot open ", ": Permission denied"],
                Kind::Denied,
                "this user may not enter the namespaces of that process: %",
                ROOT,
            ),
            Line::Means(
                &["^nsenter: reassociate to namespace '", "' failed"],
                Kind::Denied,
                "this user may not enter the namespace: %",
                ROOT,
            ),
            Line::Means(
                &["^nsenter: cannot open ", ": No such "],
                Kind::NotRunning,
                "the process has ended meanwhile",
                "try again",
            ),
            Line::Means(
                &["nsenter: unrecognized option"],
                Kind::Start,
                "this nsenter has no such option: %",
                "install the one of util-linux, or name it by program=",
            ),
            Line::Means(
                &["^nsenter: failed to execute sh: No such file or directory"],
                Kind::NoShell,
                NO_SHELL,
                SHELL,
            ),
            Line::Means(
                &["^nsenter: can't execute 'sh': No such file or directory"],
                Kind::NoShell,
                NO_SHELL,
                SHELL,
            ),
            Line::Means(
                &["^System has not been booted with systemd"],
                Kind::Unreachable,
                "systemd does not run there",
                "name a process by pid=",
            ),
            Line::Otherwise(
                &["^Failed to connect to bus: "],
                Kind::Unreachable,
                "systemd does not answer there: %",
                "name a process by pid=",
            ),
            Line::Otherwise(
                &["^setns: no leader"],
                Kind::NotRunning,
                "the container is not running, or its tool does not say its first process",
                "start it",
            ),
        ],
        // The words of LXD and Incus, whose daemon says the leader.
        instance::LINES,
    ];

    const HINT: &'static str = "nsenter -a -t PID sh -c true there shows the same without an agent";

    const SPEC: &'static Spec = &Spec {
        name: "setns",
        argument: Argument::TextOr {
            key: "container",
            placeholder: "CONTAINER",
            noun: "the container",
            option: "pid",
        },
        about: "is the namespaces of a container or process of the same machine, without its daemon and its limits; \
                only root may enter them so",
        options: &[
            OptionSpec::new(
                "pid",
                Value::Number {
                    placeholder: "PID",
                    noun: "a process id",
                    range: 1..=i32::MAX as u32,
                },
                "a process in place of a container",
            ),
            OptionSpec::new(
                "kind",
                Value::Choice {
                    noun: "kind of container",
                    words: &["docker", "podman", "lxc", "lxd", "incus", "machinectl"],
                },
                "the tool that knows the container, docker unless given",
            )
            .excluding("pid"),
            OptionSpec::new(
                "namespaces",
                Value::Text("LIST"),
                "the namespaces to enter, as in mount+net; all that differ unless given",
            ),
            OptionSpec::new(
                "user",
                Value::Text("USER"),
                "the user there, by name or number",
            ),
            OptionSpec::new(
                "path",
                Value::Text("FOLDER"),
                "the folder of lxc's containers, as lxc-info -P",
            ),
            PROGRAM,
        ],
        notes: OUTSIDE,
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::Nobody,
    };

    fn refusal(key: &str, value: &str) -> Option<&'static str> {
        (key == "namespaces" && !are_namespaces(value)).then_some(LIST)
    }
}

const NO_CONTAINER: &str = "there is no such container: %";
const CHECK: &str = "check the name and kind=";
const ROOT: &str = "go there as root, as in sudo/setns:NAME";

setters!(Tool<Setns> {
    /// Sets the namespaces to enter, for instance `mount+net`; all that differ unless set.
    namespaces: impl Into<String> => |method| method.put("namespaces", namespaces);
    /// Sets the user there, by name or number.
    user: impl Into<String> => |method| method.put("user", user);
    /// Sets the folder of lxc's containers, as `lxc-info -P`.
    path: impl Into<String> => |method| method.put("path", path);
    /// Sets the program, if it is not `nsenter`.
    program: impl Into<String> => |method| method.put("program", program);
});
