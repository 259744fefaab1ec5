//! Users of the sandbox: one for every kind of sudoers rule, login shell and start-up file that the
//! suites need.
//!
//! [`prepare`] creates them once for the whole sandbox. All can log in with the key [`client_key`];
//! those with a password have [`PASSWORD`]. Each has a key in `~/.ssh` too, so that ssh on the
//! first host reaches a second.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::process::must_run;
use crate::scratch::write_file;

/// The password of every user who has one.
pub const PASSWORD: &str = "correct horse";

/// The directory of the fixtures; not watched by the leak check.
const HOME_OF_FIXTURES: &str = "/var/lib/offshoot-fixtures";

/// One user of the sandbox.
#[derive(Clone, Copy, Debug)]
pub struct User {
    /// Login name.
    pub name: &'static str,
    /// Login shell, an absolute path.
    pub shell: &'static str,
    /// Lines for `/etc/sudoers.d`, empty for somebody unknown to sudoers.
    pub sudoers: &'static str,
    /// A start-up file: name below the home directory, and text.
    pub startup: Option<(&'static str, &'static str)>,
}

const fn user(name: &'static str, shell: &'static str) -> User {
    User {
        name,
        shell,
        sudoers: "",
        startup: None,
    }
}

/// Not in sudoers.
pub const PLAIN: User = user("plain", "/bin/bash");
/// Passwordless sudo and doas.
pub const NOPASS: User = User {
    sudoers: "nopass ALL=(ALL:ALL) NOPASSWD: ALL",
    ..user("nopass", "/bin/bash")
};
/// Passwordless sudo with `NOEXEC`: the program started may execute nothing else.
pub const NOEXEC: User = User {
    sudoers: "noexec ALL=(ALL:ALL) NOPASSWD: NOEXEC: ALL",
    ..user("noexec", "/bin/bash")
};
/// Passwordless sudo, like [`NOPASS`]: the user in README and guide.
pub const DEPLOY: User = User {
    sudoers: "deploy ALL=(ALL:ALL) NOPASSWD: ALL",
    ..user("deploy", "/bin/bash")
};
/// sudo and doas with [`PASSWORD`], prompted for each time.
pub const PW: User = User {
    sudoers: "Defaults:pw timestamp_timeout=0\npw ALL=(ALL:ALL) ALL",
    ..user("pw", "/bin/bash")
};
/// Passwordless sudo with `requiretty`.
pub const TTY: User = User {
    sudoers: "Defaults:tty requiretty\ntty ALL=(ALL:ALL) NOPASSWD: ALL",
    ..user("tty", "/bin/bash")
};
/// sudo with [`PASSWORD`] and `requiretty`.
pub const TTYPW: User = User {
    sudoers: "Defaults:ttypw requiretty, timestamp_timeout=0\nttypw ALL=(ALL:ALL) ALL",
    ..user("ttypw", "/bin/bash")
};
/// Start-up file prints lines to both streams, and at the end a piece without a newline.
pub const NOISY: User = User {
    startup: Some((
        ".bashrc",
        "echo 'Welcome to noisy!'\necho 'quota: 93 %' >&2\nprintf 'no newline here: '\n",
    )),
    ..user("noisy", "/bin/bash")
};
/// Start-up file reads two lines of stdin.
pub const SWALLOW: User = User {
    startup: Some((".bashrc", "read -r swallowed; read -r swallowed\n")),
    ..user("swallow", "/bin/bash")
};
/// No login: the shell prints a message and exits with 1.
pub const NOLOGIN: User = user("nologin", "/usr/sbin/nologin");

/// The login shell executes only what is in `PATH`, and nothing in its own place.
pub const RESTRICTED: User = user("restricted", "/bin/rbash");

/// One user per login shell, named after it.
pub const SHELLS: [User; 9] = [
    user("dash", "/bin/dash"),
    user("bash", "/bin/bash"),
    user("zsh", "/bin/zsh"),
    user("mksh", "/bin/mksh"),
    user("ksh93", "/bin/ksh93"),
    user("ash", "/var/lib/offshoot-fixtures/shells/ash"),
    user("fish", "/usr/bin/fish"),
    user("tcsh", "/bin/tcsh"),
    user("rc", "/usr/bin/rc"),
];

/// Returns all users but root.
pub fn everybody() -> Vec<User> {
    let mut all = vec![
        PLAIN, NOPASS, NOEXEC, DEPLOY, PW, TTY, TTYPW, NOISY, SWALLOW, NOLOGIN, RESTRICTED,
    ];
    all.extend(SHELLS);
    all
}

/// Returns the private key that opens every account, root included; readable only by root.
pub fn client_key() -> PathBuf {
    Path::new(HOME_OF_FIXTURES).join("client_key")
}

/// Returns the `authorized_keys` file of all accounts.
pub fn authorized_keys() -> PathBuf {
    Path::new(HOME_OF_FIXTURES).join("authorized_keys")
}

/// Creates users, passwords, keys and sudo rules, unless this sandbox has them already.
///
/// # Panics
/// Panics if a tool of the system fails.
pub fn prepare() {
    static PREPARED: OnceLock<()> = OnceLock::new();
    PREPARED.get_or_init(|| {
        crate::require_sandbox();
        let done = Path::new(HOME_OF_FIXTURES).join("ready");
        if !done.exists() {
            prepare_keys();
            prepare_accounts();
            // sshd insists on this directory and leaves it alone.
            fs::create_dir_all("/run/sshd").expect("/run is writable in the sandbox");
            write_file(&done, "", 0o644);
        }
    });
}

fn prepare_keys() {
    let shells = Path::new(HOME_OF_FIXTURES).join("shells");
    fs::create_dir_all(&shells).expect("/var is writable in the sandbox");
    symlink("/bin/busybox", shells.join("ash")).expect("the directory is new");
    let busybox = fs::read("/bin/busybox").expect("it is installed");
    write_file(&shells.join("su"), busybox, 0o4755);
    let key = client_key();
    let path = key.to_str().expect("the path is ours");
    must_run(
        "ssh-keygen",
        &[
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "offshoot-tests",
            "-f",
            path,
        ],
        b"",
    );
    let public = fs::read(key.with_extension("pub")).expect("ssh-keygen has just written it");
    write_file(&authorized_keys(), public, 0o644);
}

fn prepare_accounts() {
    let mut passwords = String::new();
    let mut sudoers = String::new();
    for user in everybody() {
        // Accounts get the shared group `users`: a group of the name `tty` exists already.
        must_run(
            "useradd",
            &[
                "--create-home",
                "--no-user-group",
                "--shell",
                user.shell,
                user.name,
            ],
            b"",
        );
        let _ = writeln!(passwords, "{}:{PASSWORD}", user.name);
        let _ = writeln!(sudoers, "{}", user.sudoers);
        let home = Path::new("/home").join(user.name);
        let about = fs::metadata(&home).expect("useradd has just made the home");
        // Without the start-up files of /etc/skel: a shell reads only those of the user's
        // definition.
        for skeleton in [".bashrc", ".profile", ".bash_logout"] {
            let _ = fs::remove_file(home.join(skeleton));
        }
        if let Some((file, text)) = user.startup {
            write_file(&home.join(file), text, 0o644);
        }
        fs::create_dir(home.join(".ssh")).expect("the home is new");
        let key = home.join(".ssh/id_ed25519");
        write_file(
            &key,
            fs::read(client_key()).expect("made before the accounts"),
            0o600,
        );
        for path in [home.join(".ssh"), key] {
            std::os::unix::fs::chown(&path, Some(about.uid()), Some(about.gid()))
                .expect("root may give files away");
        }
        if user.name == "fish" {
            // fish stores its universal variables at the first start, which is no leak.
            must_run(
                "setpriv",
                &fish_once(&about.uid().to_string(), &about.gid().to_string()),
                b"",
            );
        }
    }
    // In a form that busybox knows as well.
    must_run(
        "chpasswd",
        &["--crypt-method", "SHA512"],
        passwords.as_bytes(),
    );
    let rules = "/etc/sudoers.d/offshoot-fixtures";
    write_file(Path::new(rules), sudoers, 0o440);
    // The last rule of doas that matches applies.
    write_file(
        Path::new("/etc/doas.conf"),
        format!("permit nopass \"{}\"\npermit {}\n", NOPASS.name, PW.name),
        0o600,
    );
    // Only our rules, without those of the machine.
    must_run("visudo", &["--check", "--quiet", "--file", rules], b"");
}

fn fish_once<'a>(uid: &'a str, gid: &'a str) -> [&'a str; 11] {
    [
        "--reuid",
        uid,
        "--regid",
        gid,
        "--clear-groups",
        "env",
        "-i",
        "HOME=/home/fish",
        "/usr/bin/fish",
        "-c",
        "true",
    ]
}
