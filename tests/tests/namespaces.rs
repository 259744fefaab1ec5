//! Hops into other roots and namespaces by chroot, unshare and nsenter, and by any command.

use std::fs;
use std::process::{Child, Command, Stdio};

use offshoot::ConnectErrorKind as Kind;
use offshoot::target::TargetExt as _;
use offshoot_tests::boxes::{ends_with_its_link, fails, said, up};
use offshoot_tests::docker::{self, Docker};
use offshoot_tests::podman::{self, Podman};
use offshoot_tests::process;
use offshoot_tests::rootfs::{APP, Rootfs};
use offshoot_tests::run::LIMIT;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{facts, router};
use offshoot_tests::{Leaks, Run};

/// Returns the name of a namespace, as a process of a context sees it.
fn namespace(context: &offshoot::Context, name: &str) -> String {
    said(context, &["readlink", &format!("/proc/self/ns/{name}")])
}

fn own_namespace(name: &str) -> String {
    let link = fs::read_link(format!("/proc/self/ns/{name}")).expect("/proc is mounted");
    link.display().to_string()
}

/// A process in namespaces of its own, with the root of a busybox.
struct Sleeper {
    child: Child,
    leader: u32,
}

impl Sleeper {
    fn in_root(root: &Rootfs) -> Self {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]);
        command.arg(format!("--root={}", root.text()));
        command
            .args(["/bin/busybox", "sleep", "100000"])
            .stdin(Stdio::null());
        process::die_with_parent(&mut command);
        let child = command.spawn().expect("util-linux is installed");
        let mut leader = 0;
        let started = process::eventually(LIMIT, || {
            let below = process::descendants(child.id());
            let sleeps = below
                .iter()
                .find(|seen| seen.arguments == "/bin/busybox sleep 100000");
            leader = sleeps.map_or(0, |seen| seen.pid);
            leader != 0
        });
        assert!(started, "the process does not start");
        Self { child, leader }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        process::eventually(LIMIT, || process::look_at(self.leader).is_none());
    }
}

#[test]
fn chroot_enters_a_folder_as_any_user() {
    let _leaks = Leaks::begin();
    let root = Rootfs::busybox();
    let router = router();
    let context = router.chroot(root.text()).connect();
    let context = context.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(facts(&context).uid, 0);
    assert_eq!(said(&context, &["cat", "/etc/os-release"]), "ID=busybox");
    assert_eq!(
        said(&context, &["sh", "-c", "echo ${LANGUAGE-unset}"]),
        "unset"
    );
    let app = up(
        &router,
        &format!("local/chroot:[{}],user=app/local", root.text()),
    );
    assert_eq!(facts(&app).uid, APP.1);
}

/// Returns the environments of a program in a context and of the agent that has started it, and of
/// all processes that it sees there.
fn environments(context: &offshoot::Context) -> String {
    let script = "export;cat /proc/[0-9]*/environ 2>&1|tr '\\0' '\\n'";
    said(context, &["sh", "-c", script])
}

#[test]
fn the_environment_of_the_caller_stays_outside_of_another_root() {
    let _leaks = Leaks::begin();
    let root = Rootfs::busybox();
    let sleeper = Sleeper::in_root(&root);
    let router = router();
    let (root, pid) = (root.text(), sleeper.leader);
    let secret = "local,env=HOSTSECRET=topsecret,env=HOME=[/secret/home]";
    for hop in [
        format!("chroot:[{root}]"),
        format!("chroot:[{root}],user=app"),
        format!("bwrap:[{root}],arg=--unshare-pid"),
        "bwrap:[/],arg=--unshare-pid".to_owned(),
        format!("setns,pid={pid}"),
        format!("setns,pid={pid},user=app"),
        format!("unshare:mount+pid,root=[{root}]"),
        "unshare:mount+pid,user=1000".to_owned(),
        format!("nspawn:[{root}]"),
    ] {
        let inside = up(&router, &format!("{secret}/{hop},env=KEPT=[two words]"));
        let seen = environments(&inside);
        assert!(seen.contains("KEPT='two words'\n"), "{hop}: {seen}");
        assert!(seen.contains("PATH='/"), "{hop}: {seen}");
        assert!(!seen.contains("secret"), "{hop}: {seen}");
        let agent = said(&inside, &["sh", "-c", "echo $PPID"]);
        if hop.starts_with("chroot") {
            let environ = fs::read(format!("/proc/{agent}/environ")).expect("it runs");
            let environ = String::from_utf8_lossy(&environ).into_owned();
            assert!(!environ.contains("secret"), "{hop}: {environ}");
        }
    }
    // A root without the program id.
    let debian = Rootfs::debian();
    let seen = environments(&up(
        &router,
        &format!("{secret}/chroot:[{}]", debian.text()),
    ));
    assert!(
        seen.contains("HOME='/'\n") && !seen.contains("secret"),
        "{seen}"
    );
    let app = up(&router, &format!("{secret}/chroot:[{root}],user=app"));
    let user = said(&app, &["sh", "-c", "echo $HOME $USER $LOGNAME $SHELL"]);
    assert_eq!(user, "/tmp app app /bin/sh");
    // The same root for the same user is the same domain of trust, as with a local hop.
    let same = up(&router, &format!("{secret}/unshare:mount+pid"));
    assert!(environments(&same).contains("HOSTSECRET='topsecret'"));
    drop((app, same, router));
    let _ = fs::remove_dir_all("/run/systemd");
}

#[test]
fn a_tool_is_found_in_sbin_by_a_user_whose_path_has_none() {
    let _leaks = Leaks::begin();
    let router = router();
    let user = "sudo:plain/local,env=PATH=[/usr/bin:/bin]";
    for (hop, parts) in [
        ("chroot:[/]", &["only root", "sudo/chroot"][..]),
        ("runuser", &["only root", "sudo/runuser"]),
    ] {
        fails(&router, &format!("{user}/{hop}"), Kind::Denied, parts);
    }
    let root = up(&router, "local,env=PATH=[/usr/bin:/bin]/runuser:plain");
    assert_eq!(said(&root, &["sh", "-c", "echo $PATH"]), "/usr/bin:/bin");
}

#[test]
fn a_sandbox_without_new_privileges_is_named() {
    let _leaks = Leaks::begin();
    let router = router();
    for (target, part) in [
        ("sudo:plain/bwrap/sudo", "no_new_privs is set"),
        ("sudo:plain/bwrap/doas", "doas does not have the rights"),
    ] {
        let error = fails(&router, target, Kind::Denied, &[part]);
        assert!(error.hint.contains("bwrap"), "{error}");
    }
}

#[test]
fn chroot_names_each_reason_of_a_failure() {
    let _leaks = Leaks::begin();
    let (root, bare) = (Rootfs::busybox(), Rootfs::without_shell());
    let router = router();
    let (root, bare) = (root.text(), bare.text());
    for (target, kind, parts) in [
        (
            "chroot:[/no/folder]".to_owned(),
            Kind::NotFound,
            &["no such folder", "/no/folder"][..],
        ),
        (
            format!("chroot:[{root}/etc/passwd]"),
            Kind::NotFound,
            &["not a folder"],
        ),
        (
            format!("chroot:[{bare}]"),
            Kind::NoShell,
            &["no program sh", "busybox"],
        ),
        (
            format!("chroot:[{root}],user=12"),
            Kind::NoSuchUser,
            &["no such user", ": 12", "user=12:12"],
        ),
        (
            format!("chroot:[{root}],user=ghost"),
            Kind::NoSuchUser,
            &["no such user"],
        ),
        (
            format!("sudo:plain/chroot:[{root}]"),
            Kind::Denied,
            &["only root", "unshare:user"],
        ),
        (
            format!("chroot:[{root}],program=no-such-chroot"),
            Kind::Start,
            &["no such program there", "no-such-chroot", "program="],
        ),
    ] {
        fails(&router, &target, kind, parts);
    }
}

#[test]
fn nothing_of_a_hop_stays_in_a_chroot() {
    let _leaks = Leaks::begin();
    let root = Rootfs::busybox();
    // chroot has become the shell, and the shell the agent, whose guard is the client.
    ends_with_its_link(
        &format!("chroot:[{}]", root.text()),
        "offshoot: chroot",
        |_| {},
    );
}

#[test]
fn unshare_makes_exactly_the_namespaces_that_are_listed() {
    let _leaks = Leaks::begin();
    let router = router();
    let usual = up(&router, "unshare");
    for (name, is_new) in [
        ("mnt", true),
        ("pid", true),
        ("ipc", true),
        ("uts", true),
        ("net", false),
        ("user", false),
    ] {
        assert_eq!(
            namespace(&usual, name) != own_namespace(name),
            is_new,
            "{name}"
        );
    }
    // The agent is process 1, or its parent is.
    assert!(said(&usual, &["sh", "-c", "echo $PPID"]).len() < 3);
    let net = router.unshare("net+uts").connect();
    let net = net.unwrap_or_else(|error| panic!("{error}"));
    assert_ne!(namespace(&net, "net"), own_namespace("net"));
    assert_eq!(namespace(&net, "pid"), own_namespace("pid"));
    // Nobody needs to be root for a user namespace, and becomes its root.
    let own = up(&router, "sudo:plain/unshare:user+mount+pid");
    assert_eq!(facts(&own).uid, 0);
    assert_ne!(namespace(&own, "user"), own_namespace("user"));
    let root = Rootfs::busybox();
    let target = format!("unshare:mount+pid,root=[{}],user=1000/local", root.text());
    let inside = up(&router, &target);
    assert_eq!(facts(&inside).uid, 1000);
    assert_eq!(said(&inside, &["cat", "/etc/os-release"]), "ID=busybox");
}

#[test]
fn unshare_names_each_reason_of_a_failure() {
    let _leaks = Leaks::begin();
    let (root, bare) = (Rootfs::busybox(), Rootfs::without_shell());
    fs::remove_dir(root.path().join("proc")).expect("it is ours");
    let router = router();
    for (target, kind, parts) in [
        (
            "sudo:plain/unshare:mount".to_owned(),
            Kind::Denied,
            &["may not make such namespaces", "unshare:user+mount+pid"][..],
        ),
        (
            "unshare:mount,root=[/no/folder]".to_owned(),
            Kind::NotFound,
            &["no such folder", "/no/folder"],
        ),
        (
            format!("unshare:mount+pid,root=[{}]", root.text()),
            Kind::NotFound,
            &["no proc", "leave out the namespace pid"],
        ),
        (
            format!("unshare:mount,root=[{}]", bare.text()),
            Kind::NoShell,
            &["no program sh"],
        ),
        (
            format!("unshare,program=[{}/bin/unshare]", root.text()),
            Kind::Start,
            &["'--kill-child'", "util-linux", "busybox"],
        ),
        (
            "unshare,program=no-such-unshare".to_owned(),
            Kind::Start,
            &["no-such-unshare", "program="],
        ),
    ] {
        fails(&router, &target, kind, parts);
    }
    let wrong = router
        .target("unshare:nonsense")
        .expect_err("it is no namespace");
    let wrong = wrong.to_string();
    assert!(
        wrong.contains("does not take namespaces=nonsense"),
        "{wrong}"
    );
}

#[test]
fn nothing_of_a_hop_stays_in_new_namespaces() {
    let _leaks = Leaks::begin();
    ends_with_its_link("unshare:pid+mount", "unshare --fork", |_| {});
}

#[test]
fn setns_enters_a_process_and_nothing_else() {
    let _leaks = Leaks::begin();
    let root = Rootfs::busybox();
    let sleeper = Sleeper::in_root(&root);
    let pid = sleeper.leader;
    let router = router();
    let all = router.setns_pid(pid).connect();
    let all = all.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(all.name(), format!("setns.{pid}"));
    assert_eq!(said(&all, &["cat", "/etc/os-release"]), "ID=busybox");
    for name in ["mnt", "pid", "net", "uts", "ipc"] {
        let theirs = fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("it runs");
        assert_eq!(namespace(&all, name), theirs.display().to_string());
    }
    assert_eq!(
        said(&all, &["sh", "-c", "echo ${LANGUAGE-unset} $PWD"]),
        "unset /"
    );
    let app = up(&router, &format!("local/setns,pid={pid},user=app/local"));
    assert_eq!(facts(&app).uid, APP.1);
    assert_eq!(
        said(&app, &["sh", "-c", "echo $HOME $USER $SHELL"]),
        "/tmp app /bin/sh"
    );
    let number = up(&router, &format!("setns,pid={pid},user=77"));
    assert_eq!(facts(&number).uid, 77);
    let net = up(&router, &format!("setns,pid={pid},namespaces=net+uts"));
    assert_eq!(namespace(&net, "mnt"), own_namespace("mnt"));
    assert_ne!(namespace(&net, "net"), own_namespace("net"));
    let here = fs::canonicalize(".").expect("it is there");
    assert_eq!(said(&net, &["pwd"]), here.display().to_string());
}

#[test]
fn setns_enters_containers_without_their_daemon() {
    let _leaks = Leaks::begin();
    let (docker, podman) = (Docker::start(), Podman::start());
    docker.container("app", docker::IMAGE);
    podman.container("pod", podman::IMAGE);
    let router = router();
    let by_docker = up(&router, "setns:app");
    let host = said(&by_docker, &["hostname"]);
    assert!(docker.run(&["ps", "-q"]).contains(&host), "{host}");
    let by_podman = up(&router, "setns:pod,kind=podman,user=app");
    assert_eq!(facts(&by_podman).uid, APP.1);
    docker.run(&["kill", "app"]);
    for (target, kind, parts) in [
        (
            "setns:missing",
            Kind::NotFound,
            &["no such container: missing"][..],
        ),
        (
            "setns:missing,kind=podman",
            Kind::NotFound,
            &["no such container"],
        ),
        (
            "setns:app",
            Kind::NotRunning,
            &["is not running", "start it"],
        ),
        (
            "setns:x,kind=machinectl",
            Kind::Unreachable,
            &["systemd does not run there"],
        ),
    ] {
        fails(&router, target, kind, parts);
    }
}

#[test]
fn setns_names_each_reason_of_a_failure() {
    let _leaks = Leaks::begin();
    let (root, bare) = (Rootfs::busybox(), Rootfs::without_shell());
    let (sleeper, without) = (Sleeper::in_root(&root), Sleeper::in_root(&bare));
    let (pid, without) = (sleeper.leader, without.leader);
    let router = router();
    for (target, kind, parts) in [
        (
            "setns,pid=999999".to_owned(),
            Kind::NotFound,
            &["no such process: 999999"][..],
        ),
        (
            format!("setns,pid={pid},user=ghost"),
            Kind::NoSuchUser,
            &["no such user: ghost"],
        ),
        (
            format!("setns,pid={without}"),
            Kind::NoShell,
            &["no program sh"],
        ),
        (
            format!("setns,pid={}", std::process::id()),
            Kind::NotFound,
            &["in the same namespaces already"],
        ),
        (
            format!("sudo:plain/setns,pid={pid}"),
            Kind::Denied,
            &["may not enter the namespaces", "sudo/setns:NAME"],
        ),
        (
            format!("setns,pid={pid},program=no-such-nsenter"),
            Kind::Start,
            &["no such program there: no-such-nsenter"],
        ),
        (
            "setns:x,kind=incus".to_owned(),
            Kind::Start,
            &["no such program there: incus"],
        ),
    ] {
        fails(&router, &target, kind, parts);
    }
}

#[test]
fn setns_never_enters_a_process_that_got_the_number_of_the_leader() {
    let _leaks = Leaks::begin();
    let root = Rootfs::busybox();
    let (first, second) = (Sleeper::in_root(&root), Sleeper::in_root(&root));
    // A tool that names the leader of now, and at the next question that of a container that was
    // started again.
    let scratch = ScratchDir::new("tool");
    let script = format!(
        "#!/bin/sh\nif [ -e {0}/asked ];then echo {1};else :>{0}/asked;echo {2};fi\n",
        scratch.path().display(),
        second.leader,
        first.leader,
    );
    scratch.file("docker", script, 0o755);
    let router = router();
    let path = format!(
        "PATH={}:/usr/sbin:/usr/bin:/sbin:/bin",
        scratch.path().display()
    );
    let host = router
        .local()
        .shell_words(["env", &path, "/bin/sh"].map(str::to_owned).into());
    let host = host.connect().unwrap_or_else(|error| panic!("{error}"));
    let error =
        offshoot_tests::hop::refused(host.setns("docker", "app").connect(), Kind::NotRunning);
    assert!(
        error.detail.contains("stopped or started at this moment"),
        "{error}"
    );
    // At the next question the answer stays the same.
    let entered = host.setns("docker", "app").connect();
    let entered = entered.unwrap_or_else(|error| panic!("{error}"));
    let theirs = fs::read_link(format!("/proc/{}/ns/mnt", second.leader)).expect("it runs");
    assert_eq!(namespace(&entered, "mnt"), theirs.display().to_string());
}

#[test]
fn nothing_of_a_hop_stays_in_the_namespaces_of_another() {
    let _leaks = Leaks::begin();
    let root = Rootfs::busybox();
    let sleeper = Sleeper::in_root(&root);
    ends_with_its_link(&format!("setns,pid={}", sleeper.leader), "nsenter", |_| {});
    assert!(process::look_at(sleeper.leader).is_some_and(|seen| !seen.zombie));
}

#[test]
fn a_command_is_any_words_that_end_in_a_shell() {
    let _leaks = Leaks::begin();
    let root = Rootfs::busybox();
    let router = router();
    for (target, name) in [
        (
            format!("command:[chroot {} sh -c]", root.text()),
            "command.chroot",
        ),
        (
            format!("command:[chroot {} /bin/sh]", root.text()),
            "command.chroot",
        ),
        (
            format!("command:[/usr/sbin/chroot  {} ]", root.text()),
            "command.chroot",
        ),
        (
            format!("command:chroot,word=[{}]", root.text()),
            "command.chroot",
        ),
        (
            format!("local/command:[chroot {} /bin/ash -c]/local", root.text()),
            "local.command.chroot.local",
        ),
    ] {
        let context = up(&router, &target);
        assert_eq!(context.name(), name);
        assert_eq!(
            said(&context, &["cat", "/etc/os-release"]),
            "ID=busybox",
            "{target}"
        );
    }
    let spaces = up(&router, "command:env,word=[A=two words],word=sh,word=-c");
    assert_eq!(said(&spaces, &["sh", "-c", "echo $A"]), "two words");
    let line = up(&router, "command:[tcsh -c],line");
    assert_eq!(facts(&line).uid, 0);
    let run = Run::offshoot([
        "run",
        "command:[env -i PATH=/bin:/usr/bin]",
        "--",
        "id",
        "-u",
    ]);
    assert_eq!(run.finish().expect_code(0).out(), "0\n");
    fails(
        &router,
        "command:no-such-command",
        Kind::Start,
        &["is no-such-command installed there?"],
    );
    fails(
        &router,
        "command:false",
        Kind::Exited,
        &["ended with status 1", "must end in a shell"],
    );
}

#[test]
fn nothing_of_a_hop_by_a_command_stays() {
    let _leaks = Leaks::begin();
    ends_with_its_link("command:[setsid -w]", "setsid -w", |_| {});
}

#[test]
fn bwrap_makes_a_root_for_any_user() {
    let _leaks = Leaks::begin();
    let root = Rootfs::busybox();
    let router = router();
    let context = router.bwrap(root.text()).connect();
    let context = context.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(said(&context, &["cat", "/etc/os-release"]), "ID=busybox");
    let target = format!(
        "sudo:plain/bwrap:[{}],user=1000,env=A=b c,dir=[/tmp],arg=--unshare-pid/local",
        root.text()
    );
    let all = up(&router, &target);
    assert_eq!(facts(&all).uid, 1000);
    assert_eq!(said(&all, &["sh", "-c", "echo $A.$PWD"]), "b c./tmp");
    assert_ne!(namespace(&all, "pid"), own_namespace("pid"));
    up(&router, "bwrap");
}

#[test]
fn bwrap_names_each_reason_of_a_failure() {
    let _leaks = Leaks::begin();
    let (root, bare) = (Rootfs::busybox(), Rootfs::without_shell());
    let router = router();
    for (target, kind, parts) in [
        (
            "bwrap:[/no/folder]".to_owned(),
            Kind::NotFound,
            &["no such folder", "/no/folder"][..],
        ),
        (
            format!("bwrap:[{}]", bare.text()),
            Kind::NoShell,
            &["no program sh"],
        ),
        (
            format!("bwrap:[{}],dir=[/no/folder]", root.text()),
            Kind::NotFound,
            &["no such working directory: /no/folder"],
        ),
        (
            "bwrap,program=no-such-bwrap".to_owned(),
            Kind::Start,
            &["no such program there: no-such-bwrap"],
        ),
    ] {
        fails(&router, &target, kind, parts);
    }
    let limit = "/proc/sys/user/max_user_namespaces";
    let usual = fs::read_to_string(limit).expect("/proc is mounted");
    // In a user namespace of its own, for the limit holds for all below it.
    let none = up(&router, "unshare:user+mount+pid");
    let set = format!("echo 0 >{limit}");
    said(&none, &["sh", "-c", &set]);
    let denied = offshoot_tests::hop::refused(none.bwrap("/").user(1).connect(), Kind::Denied);
    assert!(denied.hint.contains("user.max_user_namespaces"), "{denied}");
    assert_eq!(fs::read_to_string(limit).ok(), Some(usual));
}

#[test]
fn nothing_of_a_hop_stays_in_a_sandbox_of_bwrap() {
    let _leaks = Leaks::begin();
    let root = Rootfs::busybox();
    let target = format!("bwrap:[{}],arg=--unshare-pid", root.text());
    ends_with_its_link(&target, "bwrap --die-with-parent", |_| {});
}

#[test]
fn nspawn_makes_a_container_of_a_folder() {
    let _leaks = Leaks::begin();
    let root = Rootfs::busybox();
    let router = router();
    let target = format!("local/nspawn:[{}],env=A=b c,dir=[/tmp]/local", root.text());
    let all = up(&router, &target);
    assert_eq!(facts(&all).uid, 0);
    assert_eq!(said(&all, &["cat", "/etc/os-release"]), "ID=busybox");
    assert_eq!(
        said(&all, &["sh", "-c", "echo $A.$PWD.$container"]),
        "b c./tmp.systemd-nspawn"
    );
    drop((all, router));
    let _ = fs::remove_dir_all("/run/systemd");
}

#[test]
fn nspawn_names_each_reason_of_a_failure() {
    let _leaks = Leaks::begin();
    let (root, bare) = (Rootfs::busybox(), Rootfs::without_shell());
    let router = router();
    let busy = up(&router, &format!("nspawn:[{}]", root.text()));
    for (target, kind, parts) in [
        (
            "nspawn:[/no/folder]".to_owned(),
            Kind::NotFound,
            &["no such folder: /no/folder"][..],
        ),
        (
            "nspawn:none".to_owned(),
            Kind::NotFound,
            &["no such machine: none", "begins with /"],
        ),
        (
            format!("nspawn:[{}]", bare.text()),
            Kind::NoShell,
            &["no program sh"],
        ),
        (
            format!("nspawn:[{}]", root.text()),
            Kind::Denied,
            &["another container uses the folder", "--ephemeral"],
        ),
        (
            format!("nspawn:[{}],user=ghost", bare.text()),
            Kind::NoSuchUser,
            &["no such user: ghost", "getent"],
        ),
        (
            format!("sudo:plain/nspawn:[{}]", bare.text()),
            Kind::Denied,
            &["only root", "bwrap"],
        ),
        (
            "nspawn:x,program=no-such-nspawn".to_owned(),
            Kind::Start,
            &["is no-such-nspawn installed there?"],
        ),
        (
            "machinectl:x".to_owned(),
            Kind::Unreachable,
            &["systemd does not run there", "nspawn"],
        ),
        (
            "jail:x".to_owned(),
            Kind::Platform,
            &[
                "jails belong to FreeBSD",
                "agents run on Linux",
                "docker or lxc",
            ],
        ),
    ] {
        fails(&router, &target, kind, parts);
    }
    drop((busy, router));
    let _ = fs::remove_dir_all("/run/systemd");
}

#[test]
fn nothing_of_a_hop_stays_in_a_container_of_nspawn() {
    let _leaks = Leaks::begin();
    let root = Rootfs::busybox();
    ends_with_its_link(
        &format!("nspawn:[{}]", root.text()),
        "systemd-nspawn",
        |_| {},
    );
    let _ = fs::remove_dir_all("/run/systemd");
}
