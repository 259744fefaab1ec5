//! Roots of many kinds: of busybox alone, of a small Debian, read-only, without devices or /proc,
//! with hidden processes, in a user namespace, without capabilities or system calls. An agent
//! starts and works, or the error names the way out; nothing is left behind.

use offshoot::stock::facts;
use offshoot::target::TargetExt as _;
use offshoot::{ConnectErrorKind as Kind, Context, Router};
use offshoot_tests::boxes::{fails, said};
use offshoot_tests::docker::{self, Docker};
use offshoot_tests::hop::{assert_says, exchanges, facts_of, refused, router, up, words};
use offshoot_tests::rootfs::{APP, Rootfs};
use offshoot_tests::shells::{Sh, Tools};
use offshoot_tests::users::PLAIN;
use offshoot_tests::{Leaks, Run};

const REFUSE: &str = env!("CARGO_BIN_EXE_refuse-calls");

/// The kernel's file systems, mounted in a root.
const KERNEL: &str = "busybox mount -t proc none $R/proc\nbusybox mount -o rbind /dev $R/dev";

/// Every directory of a root that an agent could start in, as one that executes nothing.
const NOEXEC: &str =
    "for d in dev tmp run root; do busybox mount -t tmpfs -o noexec none $R/$d; done
busybox mknod $R/dev/null c 1 3";

/// Returns the words of a shell that runs a script, which ends in `exec`, in namespaces of mounts
/// and processes of its own.
fn unshared(script: &str) -> Vec<String> {
    words(&[
        "unshare",
        "-m",
        "-p",
        "-f",
        "--kill-child",
        "--propagation",
        "private",
        "sh",
        "-c",
        script,
        "sh",
        "/bin/sh",
    ])
}

/// Returns the words of a shell in a root, with namespaces of mounts and processes of its own.
/// `prepare` is shell text, in which `$R` is the root; `user` is one by number.
fn inside(root: &Rootfs, prepare: &str, user: u32) -> Vec<String> {
    let script = format!(
        "set -e\nR={}\nbusybox mount -o bind $R $R\n{prepare}\ncd $R\nexec chroot --userspec={user}:{user} $R \"$@\"",
        root.text()
    );
    unshared(&script)
}

/// Connects a host and uses it: messages of several frames, a program, a hop from there.
#[track_caller]
fn works(router: &Router, what: &str, words: Vec<String>) -> Context {
    let context = exchanges(router, what, words);
    assert_eq!(
        said(&context, &["sh", "-c", "echo $((6 * 7))"]),
        "42",
        "{what}"
    );
    for below in [context.local(), context.local().shell("/bin/sh")] {
        let below = below.connect();
        let below = below.unwrap_or_else(|error| panic!("{what}: {error}"));
        facts_of(&below);
    }
    context
}

/// Asserts that a host is refused, with an error that has these parts.
#[track_caller]
fn names(router: &Router, words: Vec<String>, parts: &[&str]) {
    let error = refused(router.local().shell_words(words).connect(), Kind::Bootstrap);
    assert_says(&error, parts);
}

#[test]
fn a_root_of_busybox_alone_is_enough_also_without_proc_and_devices() {
    let _leaks = Leaks::begin();
    let (router, root) = (router(), Rootfs::busybox());
    for user in [0, APP.1] {
        for prepare in [KERNEL, "", "busybox rm -f $R/dev/null"] {
            let what = format!("user {user}, {prepare:?}");
            let context = works(&router, &what, inside(&root, prepare, user));
            assert_eq!(said(&context, &["cat", "/etc/os-release"]), "ID=busybox");
            assert_eq!(facts_of(&context).uid, user);
        }
    }
    let null = root.path().join("dev/null");
    assert!(!null.exists(), "nobody makes a file of that name");
}

#[test]
fn a_root_of_a_small_debian_is_enough() {
    let _leaks = Leaks::begin();
    let (router, root) = (router(), Rootfs::debian());
    for user in [0, APP.1] {
        for prepare in [KERNEL, ""] {
            let what = format!("user {user}, {prepare:?}");
            let context = works(&router, &what, inside(&root, prepare, user));
            assert_eq!(said(&context, &["cat", "/etc/os-release"]), "ID=debian");
        }
    }
    // Read-only, and without a directory that executes programs: perl starts it from memory.
    let closed = format!(
        "{NOEXEC}\nbusybox mount -t proc none $R/proc\nbusybox mount -o remount,bind,ro none $R"
    );
    for user in [0, APP.1] {
        works(
            &router,
            &format!("user {user}, closed"),
            inside(&root, &closed, user),
        );
    }
}

#[test]
fn a_read_only_root_needs_one_directory_that_executes() {
    let _leaks = Leaks::begin();
    let (router, root) = (router(), Rootfs::busybox());
    let closed = format!("{NOEXEC}\nbusybox mount -o remount,bind,ro none $R");
    for user in [0, APP.1] {
        names(
            &router,
            inside(&root, &closed, user),
            &[
                "no directory there is both writable and executable",
                "set TMPDIR",
            ],
        );
        let open = format!(
            "{NOEXEC}\nbusybox mount -o remount,exec none $R/tmp\nbusybox chmod 1777 $R/tmp\nbusybox mount -o remount,bind,ro none $R"
        );
        works(&router, &format!("user {user}"), inside(&root, &open, user));
    }
}

#[test]
fn an_agent_that_sees_no_processes_of_others_ends_all_of_its_own() {
    let _leaks = Leaks::begin();
    let router = router();
    let script = format!(
        "busybox mount -t proc -o hidepid=2 none /proc
        tail -f /dev/null </dev/null >/dev/null 2>&1 &
        exec setpriv --reuid={} --regid=users --clear-groups \"$@\"",
        PLAIN.name
    );
    let host = unshared(&script);
    let context = works(&router, "hidepid=2", host);
    let seen = "grep -l tail /proc/[0-9]*/comm || echo hidden";
    assert_eq!(said(&context, &["sh", "-c", seen]), "hidden");
    // A daemon, in a session of its own.
    let daemon = "setsid sleep 100000 >/dev/null 2>&1 </dev/null & echo started";
    assert_eq!(said(&context, &["sh", "-c", daemon]), "started");
    context.shutdown().expect("it is up");
}

#[test]
fn system_calls_that_are_refused_are_done_without() {
    let _leaks = Leaks::begin();
    let router = router();
    for errno in ["ENOSYS", "EPERM"] {
        for calls in [
            "memfd_create",
            "execveat",
            "memfd_create,execveat",
            "close_range,pidfd_open",
        ] {
            let what = format!("{calls}: {errno}");
            works(&router, &what, words(&[REFUSE, errno, calls, "/bin/sh"]));
        }
        // The controller has no memory files then either.
        let run = Run::program(REFUSE).args([errno, "memfd_create,execveat"]);
        let run = run.arg(offshoot_tests::run::offshoot_binary());
        let seen = run.args(["run", "local/local", "--", "echo", "done"]);
        assert_eq!(seen.finish().expect_code(0).out(), "done\n", "{errno}");
    }
}

#[test]
fn without_memory_files_and_executable_directories_the_error_says_so() {
    let _leaks = Leaks::begin();
    let router = router();
    let root = Rootfs::debian();
    let mut host = inside(&root, NOEXEC, 0);
    host.splice(0..0, words(&[REFUSE, "EPERM", "memfd_create"]));
    names(&router, host, &["a seccomp filter", "set TMPDIR"]);
}

#[test]
fn an_agent_works_in_a_user_namespace_with_and_without_a_mapping() {
    let _leaks = Leaks::begin();
    let router = router();
    let tools = Tools::only(Sh::Dash, &["mkdir", "chmod", "rm", "sh", "head"]);
    let path = format!("PATH={}", tools.path());
    let as_plain = ["setpriv", "--reuid", PLAIN.name, "--clear-groups"];
    for (map, user) in [(&["-r"][..], 0), (&[], 65_534)] {
        let inside = [
            &as_plain[..],
            &["unshare", "-U"],
            map,
            &["env", &path, "/bin/sh"],
        ]
        .concat();
        let context = works(&router, &format!("user {user}"), words(&inside));
        assert_eq!(context.call(facts {}).expect("it is up").uid, user);
    }
}

#[test]
fn an_agent_of_a_root_without_capabilities_works() {
    let _leaks = Leaks::begin();
    let router = router();
    let drop = [
        "setpriv",
        "--no-new-privs",
        "--bounding-set=-all",
        "--inh-caps=-all",
        "/bin/sh",
    ];
    let context = works(&router, "no capabilities", words(&drop));
    let status = said(
        &context,
        &["grep", "-E", "CapEff|NoNewPrivs", "/proc/self/status"],
    );
    assert_eq!(status, "CapEff:\t0000000000000000\nNoNewPrivs:\t1");
}

#[test]
fn a_container_without_capabilities_and_with_a_read_only_root_needs_one_directory() {
    let _leaks = Leaks::begin();
    let docker = Docker::start();
    let container = |name: &str, more: &[&str]| {
        let bare = [
            "run",
            "-d",
            "--name",
            name,
            "--network",
            "none",
            "--cap-drop",
            "ALL",
        ];
        let safe = [
            "--security-opt",
            "no-new-privileges",
            "--read-only",
            "--user",
            "1000",
        ];
        let sleeps = [docker::IMAGE, "/bin/busybox", "sleep", "100000"];
        docker.run(&[&bare[..], &safe, more, &sleeps].concat());
    };
    container("closed", &["--tmpfs", "/tmp"]);
    container("open", &["--tmpfs", "/tmp:exec,mode=1777"]);
    let router = router();
    let parts = &["docker.closed", "no directory there is both", "set TMPDIR"];
    fails(&router, "docker:closed", Kind::Bootstrap, parts);
    let open = router.target("docker:open").expect("it is one").connect();
    assert_eq!(up(open.clone()).uid, 1000);
    let open = open.expect("it is up");
    up(open.local().connect());
    assert_eq!(said(&open, &["sh", "-c", "ls -A /tmp"]), "");
}
