//! The options that hops of every method have: what surrounds the agent behind a local shell, ssh
//! to login shells of several kinds, and sudo with and without a login.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use offshoot::methods::Method;
use offshoot::{ConnectErrorKind as Kind, Context, Exec, Hop};
use offshoot_tests::hop::{Traps, sessions};
use offshoot_tests::process::{Seen, all};
use offshoot_tests::scratch::{ScratchDir, write_file};
use offshoot_tests::shells::{INTERPRETERS, Sh, Tools};
use offshoot_tests::tree::{hop, refused, router};
use offshoot_tests::users::{NOPASS, PLAIN, SHELLS};
use offshoot_tests::{Leaks, Run, Sshd};

/// Every byte that a value may have, with line ends at its end.
fn value() -> Vec<u8> {
    (1..=255).chain(*b"\n\n").collect()
}

/// A name that a shell would take apart, made by the caller with this suffix.
const DIRECTORY: &str = "it's a $HOME `id` \"x\" !\\\\ \n";

fn connect<M: Method>(hop: Hop<M>) -> Context {
    hop.connect().unwrap_or_else(|error| panic!("{error}"))
}

fn printed(context: &Context, script: &str) -> Vec<u8> {
    let output = context.command("sh").args(["-c", script]).output();
    output.unwrap_or_else(|error| panic!("{error}")).stdout
}

/// Makes a hop with all options that surround the agent, and looks at what its programs get.
#[track_caller]
fn surrounds<M: Method>(label: &str, hop: Hop<M>, directory: &Path) -> Context {
    let value = value();
    let context = connect(
        hop.env("MARK", std::ffi::OsStr::from_bytes(&value))
            .env("PLAIN", "one")
            .env("EMPTY", "")
            .env("PLAIN", "-two")
            .current_dir(directory)
            .umask(0o027)
            .name("named")
            .remote_name("a title"),
    );
    let seen = printed(&context, "printf %s. \"$MARK\"");
    assert_eq!(seen, [&value[..], b"."].concat(), "{label}");
    let seen = printed(
        &context,
        "echo \"$PLAIN $EMPTY.\" ; umask; printf %s. \"$PWD\"",
    );
    let shown = format!("-two .\n0027\n{}.", directory.display());
    assert_eq!(String::from_utf8_lossy(&seen), shown, "{label}");
    assert!(context.name().ends_with("named"), "{label}: {context}");
    let titled = all()
        .into_values()
        .filter(|seen| seen.arguments == "offshoot: a title");
    // The agent and its guard.
    assert!(titled.count() >= 1, "{label}");
    context
}

fn odd_directory() -> ScratchDir {
    let scratch = ScratchDir::new("options");
    let directory = scratch.path().join(DIRECTORY);
    fs::create_dir(&directory).expect("the name is new");
    scratch
}

#[test]
fn variables_directory_and_umask_surround_a_local_agent() {
    let _leaks = Leaks::begin();
    let scratch = odd_directory();
    let directory = scratch.path().join(DIRECTORY);
    let router = router();
    drop(surrounds("local", router.local(), &directory));
    for shell in ["/bin/dash", "/bin/bash", "/bin/mksh", "/bin/ksh93"] {
        drop(surrounds(shell, router.local().shell(shell), &directory));
    }
    let ash = Path::new("/var/lib/offshoot-fixtures/shells/ash");
    let shell = ash.display().to_string();
    drop(surrounds("ash", router.local().shell(shell), &directory));
    // A child of that child inherits them.
    let above = surrounds("above", router.local(), &directory);
    let below = connect(above.local());
    assert_eq!(printed(&below, "umask"), b"0027\n");
}

#[test]
fn variables_directory_and_umask_surround_an_agent_behind_every_login_shell() {
    let _leaks = Leaks::begin();
    let scratch = odd_directory();
    let directory = scratch.path().join(DIRECTORY);
    let server = Sshd::start("web1");
    let router = router();
    for user in SHELLS {
        drop(surrounds(
            user.name,
            hop(&router, &server, user),
            &directory,
        ));
    }
}

#[test]
fn variables_directory_and_umask_surround_an_agent_behind_sudo() {
    let _leaks = Leaks::begin();
    let scratch = odd_directory();
    let directory = scratch.path().join(DIRECTORY);
    let server = Sshd::start("web1");
    let router = router();
    let login = connect(hop(&router, &server, NOPASS));
    drop(surrounds("sudo", login.sudo(), &directory));
    for user in SHELLS.iter().filter(|user| user.name != "rc") {
        let hop = login.sudo().user(user.name).login(true);
        drop(surrounds(user.name, hop, &directory));
    }
}

#[test]
fn the_longest_variables_pass_through_every_login_shell() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    // 12 bytes of the most that a line takes surround it.
    let longest = "x".repeat(4800 - "A=;export A;".len());
    for user in SHELLS {
        let context = connect(hop(&router, &server, user).env("A", &longest));
        let seen = printed(&context, "printf %s \"$A\"");
        assert_eq!(String::from_utf8_lossy(&seen), longest, "{}", user.name);
    }
    let before = sessions(&server);
    let error = refused(
        hop(&router, &server, PLAIN)
            .env("A", format!("{longest}x"))
            .connect(),
    );
    assert_eq!(error.kind, Kind::Start);
    let text = error.to_string();
    assert!(
        text.starts_with(
            "ssh.web1 (ssh:plain@web1): its variables and its directory are 1 bytes too long"
        ),
        "{text}"
    );
    assert_eq!(sessions(&server), before, "nothing was started");
    // sudo -i makes a text four times as long.
    let login = connect(hop(&router, &server, NOPASS));
    let quotes = "\"".repeat(24 * 1024 / 3 - 10);
    let context = connect(login.sudo().login(true).env("A", &quotes));
    assert_eq!(printed(&context, "printf %s \"$A\""), quotes.as_bytes());
}

#[test]
fn a_directory_that_cannot_be_entered_is_named_with_the_reason() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("options");
    let closed = scratch.path().join("closed");
    fs::create_dir(&closed).expect("the name is new");
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .expect("it is ours");
    let file = scratch.file("file", "", 0o644);
    let server = Sshd::start("web1");
    let router = router();
    let login = connect(hop(&router, &server, NOPASS));
    for (directory, part) in [
        (
            closed,
            "cannot be entered there: this user may not; the user behind the hop",
        ),
        (
            file,
            "cannot be entered there: it is no directory; check the path",
        ),
        (
            scratch.path().join("none"),
            "cannot be entered there: there is none, or one on the way to it is closed",
        ),
    ] {
        let named = format!("its directory {} cannot", directory.display());
        for outcome in [
            hop(&router, &server, PLAIN)
                .current_dir(&directory)
                .connect(),
            login.sudo().user("dash").current_dir(&directory).connect(),
            login
                .sudo()
                .user("fish")
                .login(true)
                .current_dir(&directory)
                .connect(),
        ] {
            let error = refused(outcome);
            let text = error.to_string();
            assert!(text.contains(part) && text.contains(&named), "{text}");
            assert_eq!(error.kind, Kind::Start, "{text}");
        }
    }
    let error = refused(router.local().current_dir("none").connect());
    assert!(
        error
            .to_string()
            .starts_with("local (local): its directory none cannot"),
        "{error}"
    );
}

#[test]
fn a_relative_directory_begins_where_the_hop_arrives() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let home = Path::new("/home/plain/-");
    fs::create_dir(home).expect("the home is ours");
    fs::set_permissions(home, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("it is ours");
    for shell in ["dash", "bash"] {
        let context = hop(&router, &server, PLAIN).shell(shell).current_dir("-");
        assert_eq!(printed(&connect(context), "pwd"), b"/home/plain/-\n");
    }
    fs::remove_dir(home).expect("it is empty");
}

#[test]
fn a_setting_that_no_shell_can_make_is_refused_before_anything_starts() {
    let _leaks = Leaks::begin();
    let router = router();
    for (outcome, part) in [
        (
            router.local().env("A-B", "x").start(),
            "no name of a variable",
        ),
        (
            router.local().env("m", "x").start(),
            "belongs to the shell that starts the agent",
        ),
        (router.local().env("A", "a\0b").start(), "NUL byte"),
        (router.local().umask(0o1000).start(), "1000 is no umask"),
        (
            router.local().current_dir("").start(),
            "cannot be its directory",
        ),
        (router.local().shell("a b").start(), "cannot be its shell"),
    ] {
        let error = outcome.map(|_| ()).expect_err(part);
        let error = error.as_connect().expect("it is about the hop");
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(
            (error.context.as_str(), error.hop.as_str()),
            ("local", "local")
        );
    }
}

#[test]
fn a_login_runs_the_startup_files_and_a_shell_replaces_sh() {
    let _leaks = Leaks::begin();
    let profile = Path::new("/home/plain/.profile");
    write_file(
        profile,
        "echo welcome\nFROM_PROFILE=read; export FROM_PROFILE\n",
        0o644,
    );
    let scratch = ScratchDir::new("options");
    let text = format!(
        "#!/bin/sh\necho $1 >>{}/used\nexec sh \"$@\"\n",
        scratch.path().display()
    );
    let shell = scratch.file("shell", text, 0o755).display().to_string();
    let used = scratch.file("used", "", 0o666);
    fs::set_permissions(&used, std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .expect("it is ours");
    let server = Sshd::start("web1");
    let router = router();
    let seen = |context: &Context| printed(context, "printf %s \"$FROM_PROFILE\"");
    let there = || hop(&router, &server, PLAIN);
    assert_eq!(seen(&connect(there())), b"");
    assert_eq!(seen(&connect(there().login(true))), b"read");
    assert_eq!(seen(&connect(there().shell(&*shell))), b"");
    assert_eq!(seen(&connect(there().shell(&*shell).login(true))), b"read");
    let above = connect(there());
    assert_eq!(seen(&connect(above.local().login(true))), b"read");
    assert_eq!(seen(&connect(above.local().shell(&*shell))), b"");
    drop(above);
    fs::remove_file(profile).expect("it was there");
    let calls = fs::read_to_string(&used).expect("it was made above");
    assert_eq!(calls, "-c\n-l\n-c\n");
}

/// Returns what the kernel says that the agent of a context executes.
fn executed(context: &Context) -> String {
    let target = printed(context, "readlink /proc/$PPID/exe");
    String::from_utf8_lossy(&target).trim_end().to_owned()
}

#[test]
fn exec_memfd_makes_no_file_and_exec_file_executes_no_memory() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let traps = Traps::named(&["mkdir"]);
    let path = format!("{}:/usr/bin:/bin", traps.path().display());
    let ash = "/var/lib/offshoot-fixtures/shells/ash";
    for shell in ["/bin/dash", "/bin/bash", "/bin/mksh", "/bin/ksh93", ash] {
        let memory = router.local().shell(shell).exec(Exec::Memory);
        let context = connect(memory.env("PATH", &path));
        assert!(executed(&context).starts_with("/memfd:"), "{shell}");
        assert_eq!(traps.caught(), "", "{shell}");
        let context = connect(router.local().shell(shell).exec(Exec::File));
        let target = executed(&context);
        assert!(
            !target.contains("memfd") && target.ends_with("(deleted)"),
            "{shell}: {target}"
        );
        let child = executed(&connect(context.local()));
        assert!(!child.contains("memfd"), "{shell}: {child}");
    }
    assert!(executed(&connect(router.local().exec(Exec::Memory))).starts_with("/memfd:"));
    for user in SHELLS {
        for (exec, name) in [(Exec::Memory, "memory"), (Exec::File, "file")] {
            let name = format!("{}-{name}", user.name);
            let there = hop(&router, &server, user).exec(exec).name(&*name);
            drop(connect(there));
            // A user may not look at an agent, but root may.
            let is = |seen: &Seen| seen.arguments.trim_end() == format!("offshoot: {name}");
            let agent = all().into_values().find(is).expect("it is up");
            let target = fs::read_link(format!("/proc/{}/exe", agent.pid)).expect("it is up");
            let memory = target.display().to_string().starts_with("/memfd:");
            assert_eq!(memory, exec == Exec::Memory, "{name}: {target:?}");
        }
    }
}

#[test]
fn an_exec_that_is_impossible_is_named_with_a_way_out() {
    let _leaks = Leaks::begin();
    let router = router();
    let tools = Tools::of_system(Sh::Dash, &INTERPRETERS);
    let memory = router.local().exec(Exec::Memory).env("PATH", tools.path());
    let traps = Traps::named(&["chmod"]);
    let path = format!("{}:/usr/bin:/bin", traps.path().display());
    let file = router.local().exec(Exec::File).env("PATH", path);
    for (hop, part) in [
        (
            memory,
            "there is neither perl nor python3, one of which exec=memfd needs",
        ),
        (
            file,
            "no directory there is both writable and executable, as exec=file needs",
        ),
    ] {
        let error = refused(hop.connect());
        assert_eq!(error.kind, Kind::Bootstrap, "{error}");
        assert!(
            error.detail == part && error.hint.contains("exec=auto"),
            "{error}"
        );
    }
}

#[test]
fn a_timeout_of_a_hop_ends_it_from_the_command_line() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("options");
    let shell = scratch.file("hangs", "#!/bin/sh\nexec sleep 1000\n", 0o755);
    let target = format!("local,timeout=1,name=slow,shell=[{}]", shell.display());
    let seen = Run::offshoot(["run", &target, "--", "true"])
        .finish()
        .expect_code(255);
    assert!(
        seen.err().contains("no agent was up within 1000 ms"),
        "{}",
        seen.err()
    );
    assert!(seen.err().contains("timeout=SECONDS"), "{}", seen.err());
}

#[test]
fn the_command_line_sets_every_option_of_a_hop() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let options = "name=first,title=shown,timeout=20,heartbeat=5,env=A=b c=d,env=B=e,dir=[/var/tmp],\
                   umask=027,shell=[/bin/bash],login";
    let script = "pwd; umask; echo $A $B; cat /proc/$PPID/cmdline | tr -d '\\0'";
    for target in [
        format!("local,{options}"),
        format!("plain@web1,{options}"),
        format!("nopass@web1/sudo:plain,{options}"),
        format!("nopass@web1/sudo:plain/local,{options}"),
    ] {
        let run = Run::offshoot(["run", "-v", "-F"])
            .arg(server.config())
            .arg(&target);
        let seen = run.args(["--", "sh", "-c", script]).finish().expect_code(0);
        assert_eq!(
            seen.out(),
            "/var/tmp\n0027\nb c=d e\noffshoot: shown",
            "{target}"
        );
        assert!(seen.err().contains("first"), "{target}: {}", seen.err());
    }
    let run = Run::offshoot(["run", "local,env=A-B=x", "--", "true"]).finish();
    let seen = run.expect_code(2);
    assert!(
        seen.err().contains("no name of a variable"),
        "{}",
        seen.err()
    );
}

#[test]
fn a_name_that_a_slash_has_split_is_named_in_the_failure() {
    let _leaks = Leaks::begin();
    for (target, part) in [
        (
            "chroot:no-folder/x:1",
            "if no-folder/x:1 is one name, put it in brackets: chroot:[no-folder/x:1]",
        ),
        (
            "unshare,root=no-folder/x",
            "if no-folder/x is one name, put it in brackets: root=[no-folder/x]",
        ),
    ] {
        let run = Run::offshoot(["run", "-n", target, "--", "true"]).finish();
        let text = run.expect_code(255).err();
        assert!(text.contains(part), "{text}");
    }
    // A name in brackets is whole.
    let run = Run::offshoot(["run", "-n", "chroot:[no-folder]/x", "--", "true"]).finish();
    let text = run.expect_code(255).err();
    assert!(!text.contains("one name"), "{text}");
}

#[test]
fn stdin_has_the_password_of_one_hop() {
    let _leaks = Leaks::begin();
    let targets = ["web1,password-file=-", "local/sudo,password-file=-"];
    let run = Run::offshoot(["run", "-n"])
        .args(targets)
        .args(["--", "true"]);
    let text = run.stdin("secret\n").finish().expect_code(2).err();
    assert!(
        text.contains("stdin is read once, for a hop of web1,password-file=-"),
        "{text}"
    );
    assert!(!text.contains("secret"), "{text}");
}
