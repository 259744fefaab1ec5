//! Hops to root on a host where another local user has prepared files, links and `TMPDIR`. Nothing
//! of that user is opened, written, changed or executed, and the hop succeeds.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::{fs, os::unix::fs::symlink};

use offshoot::Router;
use offshoot_tests::Leaks;
use offshoot_tests::hop::{router, up};
use offshoot_tests::mounts::{PLACES, Scene};
use offshoot_tests::process::die_with_parent;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::shells::{Sh, Tools};
use offshoot_tests::users::{PLAIN, SHELLS, User};

/// A local user who is neither root nor the user of the hop.
struct LocalAttacker {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl LocalAttacker {
    fn begins(act: &str, proof: &Path, folders: &[PathBuf]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_local-attacker"));
        command
            .args([PLAIN.name, act])
            .arg(proof)
            .args(folders)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = die_with_parent(&mut command)
            .spawn()
            .expect("cargo builds it for this suite");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        let _ = stdout.read_line(&mut line);
        assert_eq!(line, "ready\n");
        Self { child, stdout }
    }

    /// Asserts that none of the attacker's files was touched.
    #[track_caller]
    fn has_nothing(mut self, what: &str) {
        drop(self.child.stdin.take());
        let said: Vec<String> = self.stdout.by_ref().lines().map_while(Result::ok).collect();
        let _ = self.child.wait();
        assert_eq!(said, ["done"], "{what}");
    }
}

/// Returns the tools of a host whose `sh` is the login shell of `user`, if that is a POSIX shell.
fn tools(user: User) -> Tools {
    let tools = Tools::only(Sh::Dash, &["mkdir", "chmod", "rm", "printf", "id"]);
    if matches!(user.name, "fish" | "tcsh" | "rc") {
        tools
    } else {
        tools.link("sh", user.shell)
    }
}

/// Writes a script that enters the scene with the user's login shell in place of its `sh`; returns
/// its path.
fn login(scene: &Scene, user: User, scratch: &ScratchDir) -> String {
    let mut words = scene.words();
    words.pop();
    words.push(format!("HOME=/home/{}", user.name));
    words.push(user.shell.to_owned());
    let quoted: Vec<String> = words
        .iter()
        .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
        .collect();
    let script = format!("#!/bin/sh\nexec {} \"$@\"\n", quoted.join(" "));
    scratch.file(user.name, script, 0o755).display().to_string()
}

/// Connects a context in the scene through the user's login shell and asserts that the attacker's
/// program did not run.
#[track_caller]
fn hop(router: &Router, scene: &Scene, user: User, proof: &Path, what: &str) {
    let scratch = ScratchDir::new("login");
    let context = router
        .local()
        .login_shell(login(scene, user, &scratch))
        .connect();
    assert_eq!(
        fs::read_to_string(proof).unwrap_or_default(),
        "",
        "{what}, {}",
        user.name
    );
    let context = context.unwrap_or_else(|error| {
        let said = error.as_connect().map(|error| error.output.clone());
        panic!(
            "{what}, {}: {error}\nsaid: {said:#?}\nleft: {:#?}",
            user.name,
            scene.files()
        )
    });
    assert_eq!(up(Ok(context.clone())).user, "root");
    context.shutdown().expect("it is up");
    assert_eq!(
        fs::read_to_string(proof).unwrap_or_default(),
        "",
        "{what}, {}",
        user.name
    );
}

/// Creates a file that the attacker's program can write to from any namespace.
fn proof() -> (PathBuf, ScratchDir) {
    let folder = ScratchDir::new("proof");
    // Outside of the directories that a scene replaces.
    let proof = PathBuf::from("/var/lib").join(folder.path().file_name().expect("it has one"));
    let _ = fs::remove_file(&proof);
    (proof, folder)
}

#[test]
fn files_planted_by_another_user_are_left_untouched() {
    let _leaks = Leaks::begin();
    let router = router();
    for user in SHELLS {
        let tools = tools(user);
        for kind in ["fifo", "silent-fifo", "link", "folder", "file"] {
            let scene = Scene::new(&tools);
            let (proof, _folder) = proof();
            // In every directory but one, which is the third from last that is tried.
            let taken: Vec<PathBuf> = PLACES
                .iter()
                .filter(|place| **place != "/dev")
                .map(|place| scene.behind(place))
                .collect();
            let attacker = LocalAttacker::begins(kind, &proof, &taken);
            hop(&router, &scene, user, &proof, kind);
            attacker.has_nothing(&format!("{kind}, {}", user.name));
        }
    }
}

#[test]
fn a_tmpdir_owned_by_another_user_is_skipped() {
    let _leaks = Leaks::begin();
    let router = router();
    for user in SHELLS {
        let tools = tools(user);
        for mode in [0o755, 0o777, 0o1777] {
            let (proof, _folder) = proof();
            let scene = Scene::new(&tools).env("TMPDIR", "/mnt/his");
            let his = scene.behind("/mnt").join("his");
            fs::create_dir(&his).expect("the scene is new");
            must_chown(&his, mode);
            let attacker = LocalAttacker::begins("exchange", &proof, std::slice::from_ref(&his));
            hop(
                &router,
                &scene,
                user,
                &proof,
                &format!("TMPDIR of mode {mode:o}"),
            );
            attacker.has_nothing(&format!("mode {mode:o}, {}", user.name));
        }
    }
}

#[test]
fn a_tmpdir_symlink_race_gains_the_attacker_nothing() {
    let _leaks = Leaks::begin();
    let router = router();
    for user in SHELLS {
        let tools = tools(user);
        let (proof, _folder) = proof();
        let scene = Scene::new(&tools).env("TMPDIR", "/mnt/his/link");
        let his = scene.behind("/mnt").join("his");
        fs::create_dir(&his).expect("the scene is new");
        must_chown(&his, 0o755);
        fs::create_dir(his.join("own")).expect("the folder is new");
        must_chown(&his.join("own"), 0o777);
        let theirs = scene.behind("/mnt").join("theirs");
        fs::create_dir(&theirs).expect("the scene is new");
        symlink("../theirs", his.join("theirs")).expect("the folder is new");
        let folders = [
            his.join("link"),
            "theirs".into(),
            "own".into(),
            his.join("own"),
        ];
        let attacker = LocalAttacker::begins("flip", &proof, &folders);
        for _ in 0..10 {
            hop(&router, &scene, user, &proof, "a link that flips");
        }
        attacker.has_nothing(user.name);
    }
}

fn must_chown(path: &Path, mode: u32) {
    let about = nix::unistd::User::from_name(PLAIN.name)
        .expect("the file of users")
        .expect("he is one");
    std::os::unix::fs::chown(path, Some(about.uid.as_raw()), None).expect("root may");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("root may");
}
