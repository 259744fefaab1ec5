//! The arguments that the methods of containers and namespaces give to their tools, and their
//! reaction to the tools' messages.

use offshoot_agent::ConnectErrorKind as Kind;
use offshoot_agent::method::spec::BadOption;
use offshoot_agent::method::{self, Docker, Incus, Jail, Kubectl, Lxd, Method, Table, Tool};
use offshoot_proto::connect::bootstrap::{BootstrapWatcher, Retry};
use offshoot_proto::connect::dialogue::Dialogue;
use offshoot_proto::connect::recipe::{Attach, Recipe};

fn method(name: &str, values: &[(&str, &str)]) -> Box<dyn Method> {
    let row = method::find(name).unwrap_or_else(|| panic!("no method {name}"));
    let common = |key: &str| matches!(key, "env" | "dir");
    let own: Vec<_> = values
        .iter()
        .copied()
        .filter(|(key, _)| !common(key))
        .collect();
    let mut method = row
        .build(&own)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    for (key, value) in values.iter().filter(|(key, _)| common(key)) {
        let done = match value.split_once('=') {
            Some((name, value)) => method.set_env(name, value),
            None => method.set_directory(value),
        };
        assert!(done, "{name} does not set {key} itself");
    }
    method
}

fn recipe(name: &str, values: &[(&str, &str)]) -> Recipe {
    method(name, values).recipe("5f")
}

/// Asserts the words of a hop, which have no spaces themselves.
#[track_caller]
fn words(method: &str, values: &[(&str, &str)], expected: &str) {
    let recipe = recipe(method, values);
    assert_eq!(recipe.argv.join(" "), expected);
    assert_eq!(recipe.attach, Attach::Words);
    assert!(!recipe.terminal && !recipe.hint.is_empty());
}

/// Asserts the words of a tool behind the script that finds it. `...` stands for the script behind
/// the tool. A tool with a clean environment gets nothing of its caller's.
#[track_caller]
fn found(method: &str, values: &[(&str, &str)], clean: bool, expected: &str) {
    let mut argv = recipe(method, values).argv;
    assert_eq!([&argv[0], &argv[1], &argv[3]], ["sh", "-c", "sh"]);
    assert!(argv[2].contains(":/usr/sbin:"), "{}", argv[2]);
    assert_eq!(argv[2].contains("env -i "), clean, "{}", argv[2]);
    let behind = argv.len() - 2;
    assert_eq!(argv[behind].contains("HOME="), clean, "{}", argv[behind]);
    assert!(argv[behind].contains("unset LANGUAGE"), "{}", argv[behind]);
    argv[behind] = "...".into();
    assert_eq!(argv[4..].join(" "), expected);
}

/// Returns the kind and the reason after these lines, of which the last explains the failure.
fn reason(method: &str, lines: &[&str]) -> Option<(Kind, String)> {
    let mut dialogue = Dialogue::new(recipe(method, &[]).rules);
    for line in lines {
        dialogue.line(line.as_bytes());
    }
    let why = dialogue.explanation()?;
    Some((why.kind, why.detail.clone()))
}

#[track_caller]
fn means(method: &str, line: &str, kind: Kind, part: &str) {
    let (seen, detail) =
        reason(method, &[line]).unwrap_or_else(|| panic!("{method} does not know {line:?}"));
    assert!(
        seen == kind && detail.contains(part),
        "{line:?}: {seen:?} {detail}"
    );
}

const EVERY: [(&str, &str); 6] = [
    ("user", "u"),
    ("env", "A=b"),
    ("env", "C=d"),
    ("dir", "/d"),
    ("arg", "--x"),
    ("program", "/p"),
];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&EVERY[..], more].concat()
}

#[test]
fn docker_executes_in_a_container_or_runs_an_image() {
    words("docker", &[("container", "app")], "docker exec -i -- app");
    words(
        "docker",
        &with(&[("container", "app"), ("host", "ssh://x")]),
        "/p --host ssh://x exec -i --user u --env A=b --env C=d --workdir /d --x -- app",
    );
    words(
        "docker",
        &with(&[("image", "i:1")]),
        "/p run --rm -i --entrypoint sh --user u --env A=b --env C=d --workdir /d --x -- i:1 -c exec \"$@\" sh",
    );
    assert_eq!(
        method("docker", &[("container", "app")]).name(),
        "docker.app"
    );
    assert_eq!(
        recipe("docker", &[("image", "i:1")]).hop,
        "docker,image=[i:1]"
    );
    let here = recipe("docker", &[("container", "app")]).key;
    let there = recipe("docker", &[("container", "app"), ("host", "x")]).key;
    assert_ne!(
        here, there,
        "containers of two daemons may have the same name"
    );
}

#[test]
fn podman_executes_in_a_container_or_runs_an_image_without_keys() {
    words(
        "podman",
        &[("container", "app")],
        "podman exec -i --detach-keys= -- app",
    );
    words(
        "podman",
        &with(&[("container", "app"), ("host", "unix://x")]),
        "/p --remote --url unix://x exec -i --detach-keys= --user u --env A=b --env C=d --workdir /d --x -- app",
    );
    words(
        "podman",
        &[("image", "i")],
        "podman run --rm -i --detach-keys= --entrypoint sh -- i -c exec \"$@\" sh",
    );
}

#[test]
fn chroot_speaks_english_until_the_shell_runs() {
    found(
        "chroot",
        &[("root", "/r"), ("user", "u")],
        true,
        "chroot --userspec=u /r sh -c ... sh",
    );
    assert!(
        recipe("chroot", &[("root", "-r")])
            .argv
            .contains(&"./-r".to_owned()),
        "no folder is an option"
    );
}

#[test]
fn unshare_makes_the_listed_namespaces() {
    let behind = "-- sh -c ... sh";
    for (list, flags) in [
        ("net", "--net"),
        ("mount+pid", "--mount --pid --mount-proc"),
        ("pid", "--pid"),
        ("user+net", "--user --net --map-root-user"),
    ] {
        let expected = format!("unshare --fork --kill-child {flags} {behind}");
        found("unshare", &[("namespaces", list)], false, &expected);
    }
    // Another root and another user are other domains of trust.
    let tool = "unshare --fork --kill-child --net";
    let root = format!("{tool} --root=/r {behind}");
    found(
        "unshare",
        &[("namespaces", "net"), ("root", "/r")],
        true,
        &root,
    );
    let user = format!("{tool} --setuid=7 --setgid=7 {behind}");
    found(
        "unshare",
        &[("namespaces", "net"), ("user", "7")],
        true,
        &user,
    );
    let row = method::find("unshare").expect("it is a method");
    for list in ["", "nonsense", "net,pid", "net+", "+net"] {
        assert!(row.build(&[("namespaces", list)]).is_err(), "{list:?}");
    }
}

#[test]
fn setns_passes_values_as_arguments_of_its_script() {
    let recipe = recipe(
        "setns",
        &[
            ("container", "$(x)"),
            ("kind", "lxc"),
            ("path", "/p"),
            ("namespaces", "net"),
            ("user", "u"),
        ],
    );
    assert_eq!(recipe.argv[..2], ["sh", "-c"]);
    assert_eq!(
        recipe.argv[3..12],
        [
            "setns", "lxc", "$(x)", "net", "u", "/p", "nsenter", "sh", "-c"
        ]
        .map(str::to_owned)
    );
    assert!(recipe.argv[2].contains("exec env -i \"PATH="));
    assert!(!recipe.argv[2].contains("$(x)"));
    assert_eq!(method("setns", &[("pid", "7")]).name(), "setns.7");
}

#[test]
fn messages_of_container_engines_are_told_apart() {
    for (line, kind, part) in [
        (
            "Error: No such container: x",
            Kind::NotFound,
            "container: x",
        ),
        (
            "Error response from daemon: No such container: x",
            Kind::NotFound,
            "container: x",
        ),
        (
            "Error response from daemon: Container 5f is not running",
            Kind::NotRunning,
            "not running",
        ),
        (
            "Error response from daemon: container 5f is not running",
            Kind::NotRunning,
            "not running",
        ),
        (
            "Error response from daemon: Container x is restarting, wait until the container is running",
            Kind::NotRunning,
            "restarting",
        ),
        (
            "OCI runtime exec failed: exec failed: unable to start container process: exec: \"sh\": executable file \
             not found in $PATH: unknown",
            Kind::NoShell,
            "no program sh",
        ),
        (
            "unable to find user ghost: no matching entries in passwd file",
            Kind::NoSuchUser,
            ": ghost",
        ),
        (
            "error during connect: Get \"https://x\": dial tcp: lookup x: no such host",
            Kind::Unreachable,
            "no such host",
        ),
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///run/docker.sock: x",
            Kind::Denied,
            "may not use",
        ),
        (
            "failed to connect to the docker API at unix:///run/docker.sock; check if the path is correct",
            Kind::Unreachable,
            "unix:///run/docker.sock",
        ),
    ] {
        means("docker", line, kind, part);
    }
    for (line, kind, part) in [
        (
            "Error: no container with name or ID \"x\" found: no such container",
            Kind::NotFound,
            ": x",
        ),
        (
            "Error: can only create exec sessions on running containers: container state improper",
            Kind::NotRunning,
            "not running",
        ),
        ("Error: x: image not known", Kind::NotFound, "image: x"),
        (
            "Error: crun: executable file `sh` not found in $PATH: No such file or directory: OCI runtime attempted \
             to invoke a command that was not found",
            Kind::NoShell,
            "no program sh",
        ),
    ] {
        means("podman", line, kind, part);
    }
    assert_eq!(
        reason(
            "docker",
            &[
                "Unable to find image 'x:latest' locally",
                "Status: Downloaded newer image for x:latest"
            ]
        ),
        None,
        "an image that was fetched explains no failure"
    );
}

#[test]
fn messages_of_chroot_unshare_and_nsenter_are_told_apart() {
    for (method, line, kind, part) in [
        (
            "chroot",
            "chroot: cannot change root directory to '/x': No such file or directory",
            Kind::NotFound,
            "'/x'",
        ),
        (
            "chroot",
            "chroot: failed to run command \u{2018}sh\u{2019}: No such file or directory",
            Kind::NoShell,
            "no program sh",
        ),
        (
            "chroot",
            "chroot: can't execute 'sh': No such file or directory",
            Kind::NoShell,
            "sh",
        ),
        (
            "chroot",
            "offshoot: no program chroot",
            Kind::Start,
            "no such program there: chroot",
        ),
        (
            "chroot",
            "chroot: no group specified for unknown uid: 12",
            Kind::NoSuchUser,
            ": 12",
        ),
        (
            "chroot",
            "chroot: can't change root directory to '--userspec=1': No such file or directory",
            Kind::Start,
            "busybox",
        ),
        (
            "unshare",
            "unshare: unrecognized option '--kill-child'",
            Kind::Start,
            "'--kill-child'",
        ),
        (
            "setns",
            "nsenter: unrecognized option '--foo'",
            Kind::Start,
            "'--foo'",
        ),
        (
            "setns",
            "Error: Get \"http://unix.socket/1.0\": dial unix /var/lib/lxd/unix.socket: connect: no such file or \
             directory",
            Kind::Unreachable,
            "/var/lib/lxd/unix.socket",
        ),
        (
            "setns",
            "Failed to connect to bus: Host is down",
            Kind::Unreachable,
            "Host is down",
        ),
        ("bwrap", "bwrap: Unknown option --foo", Kind::Start, "--foo"),
        (
            "unshare",
            "unshare: unshare failed: No space left on device",
            Kind::Denied,
            "as many",
        ),
        (
            "unshare",
            "unshare: unshare failed: Invalid argument",
            Kind::Denied,
            "no such namespace",
        ),
        (
            "setns",
            "nsenter: cannot open ns/mnt: No such process",
            Kind::NotRunning,
            "ended",
        ),
        (
            "setns",
            "nsenter: reassociate to namespace 'ns/user' failed: Invalid argument",
            Kind::Denied,
            "ns/user",
        ),
        ("setns", "x doesn't exist", Kind::NotFound, "x"),
        (
            "setns",
            "Error: Instance not found",
            Kind::NotFound,
            "container",
        ),
        ("setns", "No machine 'x' known", Kind::NotFound, ": x"),
        ("setns", "setns: no leader", Kind::NotRunning, "not running"),
    ] {
        means(method, line, kind, part);
    }
    let (kind, _) =
        reason("setns", &["No machine 'x' known", "setns: no leader"]).expect("it is known");
    assert_eq!(kind, Kind::NotFound, "the tool has said more");
    let away =
        "Error: Get \"http://unix.socket/1.0\": dial unix /x: connect: no such file or directory";
    let (kind, _) = reason("setns", &[away, "setns: no leader"]).expect("it is known");
    assert_eq!(kind, Kind::Unreachable, "the daemon is away");
}

/// Returns the failure of a hop whose program printed this and ended with status 126.
fn failed(stdout: &str, stderr: &str) -> (Kind, String) {
    use offshoot_bootstrap::{Mode, Nonce, Platform};
    let mut watcher = BootstrapWatcher::new(Mode::Wait, Platform::X86_64);
    let dialogue = Dialogue::new(recipe("docker", &[("container", "app")]).rules);
    watcher.begin(
        Platform::X86_64,
        Mode::Wait,
        dialogue,
        &Nonce::new([7; 8]),
        vec![b'r'; 20],
    );
    watcher.stdout(stdout.as_bytes());
    watcher.stderr(stderr.as_bytes());
    match watcher.exited(Some(126), None, "") {
        Retry::Failed(error) => (error.kind, error.detail),
        Retry::Again(platform) => panic!("another attempt for {platform}"),
    }
}

#[test]
fn a_reason_on_stdout_counts_unless_stderr_has_one() {
    let no_user = "unable to find user ghost: no matching entries in passwd file";
    assert_eq!(
        failed(no_user, "").0,
        Kind::NoSuchUser,
        "without a line end"
    );
    assert_eq!(
        failed(&format!("noise\n{no_user}\nnoise\n"), "noise\n").0,
        Kind::NoSuchUser
    );
    let missing = "Error: No such container: app\n";
    assert_eq!(failed(&format!("{no_user}\n"), missing).0, Kind::NotFound);
    assert_eq!(failed("nothing known\n", "").0, Kind::Exited);
}

#[test]
fn lxc_looks_at_the_container_before_it_enters() {
    let recipe = recipe(
        "lxc",
        &[
            ("container", "a"),
            ("path", "/p"),
            ("user", "7"),
            ("env", "A=b"),
            ("arg", "--x"),
        ],
    );
    let expected = "lxc a /p lxc-attach -P /p -n a --clear-env -v A=b -u 7 -g 7 --x --";
    assert_eq!(recipe.argv[3..].join(" "), expected);
    assert_eq!(recipe.hop, "lxc:a");
}

#[test]
fn lxd_and_incus_have_the_same_words_behind_their_names() {
    let values = [
        ("instance", "a"),
        ("remote", "r"),
        ("project", "p"),
        ("user", "7"),
        ("env", "A=b"),
        ("arg", "--x"),
    ];
    for (method, program) in [("lxd", "lxc"), ("incus", "incus")] {
        let all = format!(
            "{program} exec --mode=non-interactive --project p --env A=b --user 7 --group 7 --x r:a --"
        );
        words(method, &values, &all);
        let short = format!("{program} exec --mode=non-interactive a --");
        words(method, &[("instance", "a")], &short);
        let row = method::find(method).expect("it is a method");
        assert!(
            row.build(&[("instance", "-a")]).is_err(),
            "no instance is an option"
        );
    }
}

#[test]
fn kubectl_names_pod_container_and_configuration() {
    words(
        "kubectl",
        &[
            ("pod", "p"),
            ("namespace", "n"),
            ("container", "c"),
            ("kubeconfig", "/k"),
            ("context", "x"),
            ("arg", "--as=me"),
        ],
        "kubectl --kubeconfig=/k --context=x --namespace=n --as=me exec -i --container=c p --",
    );
}

#[test]
fn other_tools_get_their_values_as_their_own_arguments() {
    words(
        "buildah",
        &[
            ("container", "c"),
            ("user", "u"),
            ("env", "A=b"),
            ("dir", "/d"),
            ("arg", "--x"),
        ],
        "buildah run --user u --env A=b --workingdir /d --x -- c",
    );
    let nspawn = "systemd-nspawn --quiet --register=no --keep-unit --pipe";
    words(
        "nspawn",
        &[
            ("place", "/r"),
            ("user", "u"),
            ("env", "A=b"),
            ("dir", "/d"),
            ("arg", "--x"),
        ],
        &format!("{nspawn} --user=u --setenv=A=b --chdir=/d --x --directory=/r --"),
    );
    words(
        "nspawn",
        &[("place", "m")],
        &format!("{nspawn} --machine=m --"),
    );
    let bwrap = "--dev /dev --proc /proc";
    found(
        "bwrap",
        &[
            ("root", "/r"),
            ("user", "7"),
            ("env", "A=b=c"),
            ("dir", "/d"),
            ("arg", "--x"),
        ],
        true,
        &format!(
            "bwrap --die-with-parent --bind /r / {bwrap} --unshare-user --uid 7 --gid 7 --setenv A b=c --chdir /d --x -- \
             sh -c ... sh"
        ),
    );
    found(
        "bwrap",
        &[],
        true,
        &format!("bwrap --die-with-parent --bind / / {bwrap} -- sh -c ... sh"),
    );
    words(
        "machinectl",
        &[
            ("machine", "m"),
            ("user", "u"),
            ("env", "A=b"),
            ("dir", "/d"),
        ],
        "systemd-run --machine=m --quiet --collect --wait --pipe --uid=u --setenv=A=b --working-directory=/d --",
    );
    found(
        "jail",
        &[("jail", "j"), ("user", "u")],
        true,
        "/usr/sbin/jexec -U u j sh -c ... sh",
    );
}

#[test]
fn messages_of_the_other_tools_are_told_apart() {
    for (method, line, kind, part) in [
        (
            "buildah",
            "Error: reading build container \"x\": container not known",
            Kind::NotFound,
            ": x",
        ),
        (
            "buildah",
            "process failed to start with error: exec: \"sh\": executable file not found in $PATHprocess exited",
            Kind::NoShell,
            "no program sh",
        ),
        (
            "lxc",
            "lxc-attach: x: ../src/lxc/attach.c: get_attach_context: 406 Connection refused - Failed to get init pid",
            Kind::NotRunning,
            "does not exist or is not running",
        ),
        ("lxc", "lxc: state FROZEN", Kind::NotRunning, "frozen"),
        (
            "incus",
            "Error: Instance not found",
            Kind::NotFound,
            "no such instance",
        ),
        (
            "incus",
            "Error: Failed to fetch instance \"x\" in project \"default\": Instance not found",
            Kind::NotFound,
            "no such instance",
        ),
        (
            "incus",
            "Error: Instance is not running",
            Kind::NotRunning,
            "not running",
        ),
        (
            "incus",
            "Error: Command not found",
            Kind::NoShell,
            "no program sh",
        ),
        (
            "incus",
            "Error: You don't have the needed permissions to talk to the incus daemon (socket path: /x)",
            Kind::Denied,
            "may not use",
        ),
        (
            "incus",
            "Error: The incus daemon doesn't appear to be started (socket path: /x)",
            Kind::Unreachable,
            "not started",
        ),
        (
            "lxd",
            "Error: Get \"http://unix.socket/1.0\": dial unix /x: connect: permission denied",
            Kind::Denied,
            "may not use",
        ),
        (
            "kubectl",
            "Error from server (Forbidden): pods \"x\" is forbidden: User \"u\" cannot create resource \"pods/exec\"",
            Kind::Denied,
            "may not do that",
        ),
        (
            "kubectl",
            "error: You must be logged in to the server (Unauthorized)",
            Kind::Denied,
            "does not know this user",
        ),
        (
            "kubectl",
            "Unable to connect to the server: dial tcp: lookup x: no such host",
            Kind::Unreachable,
            "no such host",
        ),
        (
            "kubectl",
            "error: unable to upgrade connection: container not found (\"main\")",
            Kind::NotRunning,
            ": main",
        ),
        (
            "kubectl",
            "error: unable to upgrade connection: error dialing backend: x",
            Kind::Unreachable,
            "dialing backend",
        ),
        (
            "machinectl",
            "Failed to connect to bus: Host is down",
            Kind::Unreachable,
            "systemd",
        ),
        (
            "machinectl",
            "Failed to connect to bus: No such file or directory",
            Kind::NotRunning,
            "machine",
        ),
        (
            "machinectl",
            "Failed to find executable sh: No such file or directory",
            Kind::NoShell,
            "sh",
        ),
        (
            "machinectl",
            "Failed to start transient service unit: Interactive authentication required.",
            Kind::Denied,
            "may not",
        ),
        ("jail", "jexec: jail \"x\" not found", Kind::NotFound, ": x"),
        (
            "jail",
            "jexec: ghost: no such user",
            Kind::NoSuchUser,
            ": ghost",
        ),
        (
            "jail",
            "jexec: jail_attach(1): Operation not permitted",
            Kind::Denied,
            "root",
        ),
        (
            "jail",
            "jexec: execvp: sh: No such file or directory",
            Kind::NoShell,
            "no program sh",
        ),
        (
            "bwrap",
            "bwrap: setting up uid map: Permission denied",
            Kind::Denied,
            "user namespace",
        ),
        (
            "bwrap",
            "bwrap: No permissions to creating new namespace, likely because the kernel does not allow it",
            Kind::Denied,
            "may not make namespaces",
        ),
        (
            "nspawn",
            "Directory \"/x\" doesn't look like it has an OS tree (/usr/ directory is missing). Refusing.",
            Kind::NotFound,
            "no root of a system",
        ),
    ] {
        means(method, line, kind, part);
    }
}

#[test]
fn a_value_that_a_tool_would_take_for_an_option_is_refused_in_a_program_as_well() {
    fn wrong<T: Table>(argument: &str) -> Option<BadOption> {
        Tool::<T>::new(argument).check().err()
    }
    let option = "--kubeconfig=x";
    for (wrong, key) in [
        (wrong::<Kubectl>(option), "pod"),
        (wrong::<Lxd>(option), "instance"),
        (wrong::<Incus>("-x"), "instance"),
        (wrong::<Jail>("-l"), "jail"),
    ] {
        let wrong = wrong.expect("it begins like an option");
        assert!(
            wrong.key == key && wrong.advice.contains("begin with -"),
            "{wrong}"
        );
    }
    assert_eq!(wrong::<Kubectl>("web-1"), None);
    // The words of these end their options before the argument.
    assert_eq!(wrong::<Docker>(option), None);
}
