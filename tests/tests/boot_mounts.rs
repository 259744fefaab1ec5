//! Directories from which an agent can start: every mount option that forbids it, every value of
//! `vm.memfd_noexec`, no `/proc`, unusual umasks. No file is left in any of them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use offshoot::{ConnectErrorKind, Router};
use offshoot_tests::Leaks;
use offshoot_tests::hop::{agent_of, assert_says, refused, router, up};
use offshoot_tests::mounts::{PLACES, Scene};
use offshoot_tests::process::must_run;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::shells::{INTERPRETERS, Sh, Tools};

const MEMFD_NOEXEC: [u8; 3] = [0, 1, 2];

/// Returns the tools of a host without interpreters: the minimum for stage 0.
fn tools() -> Tools {
    Tools::only(Sh::Dash, &["mkdir", "chmod", "rm", "uname"])
}

/// Returns the tools of a host with this interpreter only.
fn tools_with(interpreter: &str) -> Tools {
    // The interpreter itself, because a wrapper script would need more programs.
    let ask = if interpreter == "perl" {
        ["-e", "print $^X"]
    } else {
        ["-c", "import sys; print(sys.executable)"]
    };
    tools().link(interpreter, must_run(interpreter, &ask, b"").trim())
}

/// Asserts that an agent starts in the scene, and that none of its files has a name while it runs
/// or afterwards.
fn assert_starts(router: &Router, scene: &Scene, what: &str) {
    let context = router.local().shell_words(scene.words()).connect();
    let context = context.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(
        scene.files(),
        BTreeSet::new(),
        "{what}: files while the agent runs"
    );
    up(Ok(context.clone()));
    context.shutdown().expect("it is up");
    assert_eq!(scene.files(), BTreeSet::new(), "{what}: files left behind");
}

#[test]
fn an_agent_starts_with_any_memfd_noexec_setting() {
    let _leaks = Leaks::begin();
    let (router, tools) = (router(), tools());
    for value in MEMFD_NOEXEC {
        assert_starts(
            &router,
            &Scene::new(&tools).memfd_noexec(value),
            &format!("memfd_noexec={value}"),
        );
    }
}

#[test]
fn any_one_executable_directory_is_enough() {
    let _leaks = Leaks::begin();
    let (router, tools) = (router(), tools());
    const OPEN: [&[&str]; 7] = [
        &["/dev"],
        &["/dev/shm"],
        &["/tmp"],
        &["/run"],
        &["/var/tmp"],
        &["/home/plain"],
        &["/mnt"],
    ];
    assert_eq!(OPEN.concat(), PLACES);
    for open in OPEN {
        for (options, value) in [("noexec", 0), ("noexec", 2), ("ro", 0), ("ro", 2)] {
            let scene = Scene::new(&tools)
                .everywhere(options)
                .but(open)
                .memfd_noexec(value);
            assert_starts(
                &router,
                &scene,
                &format!("only {open:?} is not {options}, memfd_noexec={value}"),
            );
        }
    }
}

#[test]
fn an_interpreter_starts_agents_from_memory_without_an_executable_directory() {
    let _leaks = Leaks::begin();
    let router = router();
    for interpreter in INTERPRETERS {
        let tools = tools_with(interpreter);
        for options in ["noexec", "ro"] {
            for value in [0, 1] {
                let scene = Scene::new(&tools).everywhere(options).memfd_noexec(value);
                assert_starts(
                    &router,
                    &scene,
                    &format!("{interpreter}, {options}, memfd_noexec={value}"),
                );
            }
        }
    }
}

#[test]
fn agents_start_without_proc_from_files_and_from_memory() {
    let _leaks = Leaks::begin();
    let (router, tools) = (router(), tools());
    for value in MEMFD_NOEXEC {
        let scene = Scene::new(&tools).memfd_noexec(value).without_proc();
        assert_starts(&router, &scene, &format!("no /proc, memfd_noexec={value}"));
    }
}

#[test]
fn without_executable_directory_or_interpreter_the_error_lists_the_attempts() {
    let _leaks = Leaks::begin();
    let (router, tools) = (router(), tools());
    for options in ["noexec", "ro"] {
        let scene = Scene::new(&tools).everywhere(options);
        let error = refused(
            router.local().shell_words(scene.words()).connect(),
            ConnectErrorKind::Bootstrap,
        );
        assert_says(
            &error,
            &[
                "local (local): no directory",
                "/dev/shm, /tmp, /run, /var/tmp",
                "perl",
                "set TMPDIR",
            ],
        );
        assert_eq!(scene.files(), BTreeSet::new(), "{options}");
    }
}

#[test]
fn without_executable_directory_or_memory_the_error_names_the_sysctl() {
    let _leaks = Leaks::begin();
    let router = router();
    for interpreter in INTERPRETERS {
        let tools = tools_with(interpreter);
        for options in ["noexec", "ro"] {
            let scene = Scene::new(&tools).everywhere(options).memfd_noexec(2);
            let error = refused(
                router.local().shell_words(scene.words()).connect(),
                ConnectErrorKind::Bootstrap,
            );
            assert_says(
                &error,
                &[
                    "vm.memfd_noexec",
                    "read-only or mounted noexec",
                    "set TMPDIR",
                ],
            );
            assert_eq!(scene.files(), BTreeSet::new(), "{interpreter}, {options}");
        }
    }
}

#[test]
fn tmpdir_is_used_and_skipped_if_unusable() {
    let _leaks = Leaks::begin();
    let (router, tools) = (router(), tools());
    let own = "mkdir /mnt/own && busybox mount -t tmpfs none /mnt/own";
    let scene = Scene::new(&tools)
        .everywhere("noexec")
        .also(own)
        .env("TMPDIR", "/mnt/own")
        .memfd_noexec(2);
    let context = router.local().shell_words(scene.words()).connect();
    up(context.clone());
    // With executable memory forbidden, the agent's link `exe` shows the directory of its file.
    let pid = agent_of(&context.expect("it is up")).pid;
    let program = fs::read_link(format!("/proc/{pid}/exe")).expect("root may look");
    assert!(
        program.starts_with("/mnt/own") && program.to_string_lossy().ends_with("(deleted)"),
        "{program:?}"
    );

    for useless in ["/nonexistent", "/proc", "relative", "/tmp/with a space", ""] {
        let scene = Scene::new(&tools).env("TMPDIR", useless);
        assert_starts(&router, &scene, &format!("TMPDIR={useless:?}"));
    }
}

#[test]
fn a_full_file_system_is_skipped() {
    let _leaks = Leaks::begin();
    let (router, tools) = (router(), tools());
    let full = "busybox mount -t tmpfs -o size=4k,nr_inodes=2 none /dev/shm; head -c 4096 /dev/zero >/dev/shm/full";
    assert_starts(&router, &Scene::new(&tools).also(full), "full /dev/shm");
}

#[test]
fn the_umask_of_the_shell_is_harmless_and_stays_unchanged() {
    let _leaks = Leaks::begin();
    let (router, tools) = (router(), tools());
    for mask in ["000", "022", "077"] {
        for value in [0, 2] {
            let scene = Scene::new(&tools)
                .also(&format!("umask {mask}"))
                .memfd_noexec(value);
            let context = router.local().shell_words(scene.words()).connect();
            let context = context
                .unwrap_or_else(|error| panic!("umask {mask}, memfd_noexec={value}: {error}"));
            let status = fs::read_to_string(format!("/proc/{}/status", agent_of(&context).pid));
            let status = status.expect("the agent runs");
            assert!(
                status.contains(&format!("Umask:\t0{mask}\n")),
                "umask {mask}: {status}"
            );
            context.shutdown().expect("it is up");
        }
    }
}

#[test]
fn an_existing_file_with_the_same_name_is_not_overwritten() {
    let _leaks = Leaks::begin();
    let router = router();
    let directory = ScratchDir::new("tmpdir");
    // The name of the file contains the process id of the shell.
    let script = "echo mine >\"$TMPDIR/.o$$\"; eval \"$2\"";
    let shell = directory.file("shell", format!("#!/bin/sh\n{script}\n"), 0o755);
    let tmpdir = format!("TMPDIR={}", directory.path().display());
    let words = ["env", &tmpdir, shell.to_str().expect("our own path")].map(str::to_owned);
    up(router.local().shell_words(words.into()).connect());
    let names: Vec<_> = fs::read_dir(directory.path())
        .expect("ours")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    let theirs: Vec<_> = names.iter().filter(|path| **path != shell).collect();
    assert_eq!(theirs.len(), 1, "{names:?}");
    assert_eq!(fs::read_to_string(theirs[0]).expect("ours"), "mine\n");
}

#[test]
fn temporary_files_are_private_whatever_the_umask() {
    let _leaks = Leaks::begin();
    let router = router();
    let directory = ScratchDir::new("tmpdir");
    let seen = directory.file("modes", "", 0o666);
    // A `chmod` that records the mode first: the file already contains the loader at this point.
    let script = format!(
        "#!/bin/sh\nstat -c '%a %U' \"$2\" >>{}\nexec /bin/chmod \"$@\"\n",
        seen.display()
    );
    directory.file("chmod", script, 0o755);
    let path = format!("PATH={}:/usr/bin:/bin", directory.path().display());
    let words = [
        "sh",
        "-c",
        "umask 000; exec \"$@\"",
        "sh",
        "env",
        path.as_str(),
        "sh",
    ]
    .map(str::to_owned);
    up(router.local().shell_words(words.into()).connect());
    assert_eq!(fs::read_to_string(&seen).expect("ours"), "600 root\n");
    let mode = fs::metadata(Path::new("/dev/shm"))
        .expect("it exists")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o1777, "the place itself is not touched");
}

#[test]
fn a_missing_dev_null_is_not_created() {
    let _leaks = Leaks::begin();
    let (router, tools) = (router(), tools());
    for value in [0, 2] {
        let scene = Scene::new(&tools).also("rm /dev/null").memfd_noexec(value);
        assert_starts(
            &router,
            &scene,
            &format!("no /dev/null, memfd_noexec={value}"),
        );
        assert!(
            !scene.behind("/dev").join("null").exists(),
            "memfd_noexec={value}"
        );
    }
}

#[test]
fn the_working_directory_of_an_agent_is_that_of_its_shell() {
    let _leaks = Leaks::begin();
    let (router, tools) = (
        router(),
        Tools::only(Sh::Dash, &["mkdir", "chmod", "rm", "pwd", "env"]),
    );
    let closed = "busybox mount -t tmpfs -o noexec none /mnt/own";
    for (tmpdir, also) in [
        ("/mnt/own", "true"),
        ("/mnt/own", closed),
        ("/nonexistent", "true"),
        ("own", "true"),
    ] {
        for value in [0, 2] {
            let also = format!("mkdir -p /mnt/own && {also}");
            let scene = Scene::new(&tools)
                .env("TMPDIR", tmpdir)
                .also(&also)
                .memfd_noexec(value);
            let context = router.local().shell_words(scene.words()).connect();
            let context = context.unwrap_or_else(|error| panic!("{tmpdir}, {also}: {error}"));
            let said = |words: &[&str]| {
                let output = context
                    .command(words[0])
                    .args(&words[1..])
                    .output()
                    .expect("it is there");
                String::from_utf8_lossy(&output.stdout).into_owned()
            };
            assert_eq!(said(&["pwd", "-P"]), "/mnt\n", "{tmpdir}, {also}");
            let environment = said(&["env"]);
            let wrong = environment
                .lines()
                .find(|line| line.starts_with("PWD=") && *line != "PWD=/mnt");
            assert_eq!(wrong, None, "{tmpdir}, {also}");
            context.shutdown().expect("it is up");
        }
    }
}
