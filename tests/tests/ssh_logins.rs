//! Ways to log in over ssh: certificates and keys of an agent, and conversations of several
//! questions, where each gets the answer to itself and to nothing else.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use offshoot::methods::Ssh;
use offshoot::{ConnectErrorKind as Kind, Context, Hop, PromptKind};
use offshoot_tests::process::{eventually, must_run};
use offshoot_tests::prompts::{answering, kinds};
use offshoot_tests::pty::Terminal;
use offshoot_tests::run::{LIMIT, offshoot_binary};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{facts, hop, refused, router};
use offshoot_tests::users::{NOPASS, PASSWORD, PW};
use offshoot_tests::{Leaks, Run, Sshd};

/// A secret of a device that makes one-time codes, and the codes that are valid once whatever the
/// clock says.
const CODES: [&str; 4] = ["31415926", "27182818", "16180339", "14142135"];

/// The stack of PAM modules that decides about logins, until this is dropped.
struct Stack {
    before: Vec<u8>,
    scratch: ScratchDir,
}

impl Stack {
    const FILE: &str = "/etc/pam.d/sshd";

    /// Puts modules that ask before those of a server that lets in and shows a message of the day.
    /// A `CODE` is the module that wants a one-time code.
    fn new(modules: &[&str]) -> Self {
        let before = fs::read(Self::FILE).expect("it comes with sshd");
        let scratch = ScratchDir::new("pam");
        let codes = CODES.join("\n");
        let secret = format!("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP\n\" TOTP_AUTH\n{codes}\n");
        let secret = scratch.file("codes", secret, 0o400);
        let motd = scratch.file("motd", "(pw@127.0.0.1) Password: \npassword: ", 0o644);
        let code = format!(
            "pam_google_authenticator.so user=root secret={}",
            secret.display()
        );
        let mut text = String::new();
        for module in modules {
            text.push_str(&format!(
                "auth required {}\n",
                module.replace("CODE", &code)
            ));
        }
        text.push_str("account required pam_permit.so\nsession required pam_permit.so\n");
        text.push_str(&format!(
            "session optional pam_motd.so noupdate motd={}\n",
            motd.display()
        ));
        fs::write(Self::FILE, text).expect("this is a sandbox");
        Self { before, scratch }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        fs::write(Self::FILE, &self.before).expect("this is a sandbox");
    }
}

/// Starts a server that asks what the stack of PAM modules wants to know, behind a banner.
fn asking(banner: &Path) -> Sshd {
    let server = Sshd::named("web1")
        .line("UsePAM yes")
        .line("PrintMotd yes")
        .line("KbdInteractiveAuthentication yes")
        .line("AuthenticationMethods keyboard-interactive");
    server.line(format!("Banner {}", banner.display())).start()
}

#[track_caller]
fn up(outcome: offshoot::Result<Context>) -> Context {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

/// Returns the text that this server puts before its questions.
fn banner(scratch: &ScratchDir) -> std::path::PathBuf {
    let text = "(pw@127.0.0.1) Verification code: \npw@127.0.0.1's password: \n";
    scratch.file("banner", text, 0o644)
}

#[test]
fn each_question_of_a_conversation_gets_the_answer_to_itself_at_depth() {
    use PromptKind::{Code, Other, Password};
    let _leaks = Leaks::begin();
    let both = [PASSWORD, CODES[2]].concat();
    // The server puts a message of a module before the next question, which is then any.
    let info = ScratchDir::new("info");
    let info = info.file("info", "(pw@127.0.0.1) Password: ", 0o644);
    let info = format!("pam_echo.so file={}", info.display());
    for (modules, expected, answers) in [
        (
            &["pam_unix.so", "CODE"][..],
            &[Password, Code][..],
            &[PASSWORD, CODES[0]][..],
        ),
        (
            &["pam_unix.so", &info, "CODE"],
            &[Password, Other],
            &[PASSWORD, CODES[0]],
        ),
        (
            &["CODE", "pam_unix.so"],
            &[Code, Password],
            &[CODES[1], PASSWORD],
        ),
        // One question for both, which a password alone does not answer.
        (
            &["CODE forward_pass", "pam_unix.so use_first_pass"],
            &[Code],
            &[&both],
        ),
        // The module asks again.
        (
            &["pam_unix.so", "CODE", "CODE"],
            &[Password, Code, Code],
            &[PASSWORD, CODES[0], CODES[3]],
        ),
    ] {
        let stack = Stack::new(modules);
        let server = asking(&banner(&stack.scratch));
        let router = router();
        let place = up(up(router.local().connect()).local().connect());
        let (asks, asked) = answering(hop(&place, &server, PW), answers);
        assert_eq!(facts(&up(asks.connect())).user, PW.name, "{modules:?}");
        assert_eq!(kinds(&asked), expected, "{modules:?}");
        let asked = asked.lock().expect("no panic");
        assert_eq!(asked[0].context, "local.local.ssh.web1");
    }
}

#[test]
fn a_given_password_answers_only_the_question_for_it() {
    let _leaks = Leaks::begin();
    for modules in [&["pam_unix.so", "CODE"][..], &["CODE", "pam_unix.so"]] {
        let stack = Stack::new(modules);
        let server = asking(&banner(&stack.scratch));
        let router = router();
        let given = |place: &Context| hop(place, &server, PW).password(PASSWORD);
        let (asks, asked) = answering(given(&router), &[CODES[0]]);
        assert_eq!(facts(&up(asks.connect())).user, PW.name, "{modules:?}");
        assert_eq!(kinds(&asked), [PromptKind::Code], "{modules:?}");
        let error = refused(given(&router).connect());
        assert_eq!(error.kind, Kind::Question, "{error}");
        assert!(error.detail.contains("one-time code"), "{error}");
    }
    let info = ScratchDir::new("info");
    let info = info.file("info", "(pw@127.0.0.1) Password: ", 0o644);
    let info = format!("pam_echo.so file={}", info.display());
    for modules in [
        &["CODE forward_pass", "pam_unix.so use_first_pass"],
        &[&info, "CODE"],
    ] {
        let stack = Stack::new(modules);
        let server = asking(&banner(&stack.scratch));
        let error = refused(hop(&router(), &server, PW).password(PASSWORD).connect());
        assert_eq!(error.kind, Kind::Question, "{error}");
    }
}

#[test]
fn questions_of_one_round_are_answered_one_after_the_other() {
    use PromptKind::{Code, Other, Password};
    let _leaks = Leaks::begin();
    // A stand-in for ssh: OpenSSH's own server sends one question in a round.
    let scratch = ScratchDir::new("round");
    let text = "#!/bin/sh\n[ \"$1\" = -G ]&&{ printf 'user pw\\nhostname web1\\nport 22\\n';exit;}\n\
                ask(){ printf '(pw@web1) %s: ' \"$1\" >/dev/tty;read -r a </dev/tty;all=\"$all $a\";}\n\
                ask Password;ask 'Verification code';ask 'Favourite colour';echo \"it was$all\" >&2;exit 1\n";
    let program = scratch.file("ssh", text, 0o755).display().to_string();
    let router = router();
    let host = || router.ssh("web1").user(PW.name).program(program.as_str());
    let (asks, asked) = answering(host(), &["a", "b", "c"]);
    let error = refused(asks.connect());
    assert!(
        error.output.contains(&"it was a b c".to_owned()),
        "{error:?}"
    );
    assert_eq!(kinds(&asked), [Password, Code, Other]);
    let (asks, asked) = answering(host().password("a"), &["b"]);
    let error = refused(asks.connect());
    assert_eq!(error.kind, Kind::Question, "{error}");
    assert_eq!(kinds(&asked), [Code, Other]);
}

#[test]
fn the_command_line_asks_each_question_of_a_conversation() {
    let _leaks = Leaks::begin();
    let stack = Stack::new(&["CODE", "pam_unix.so"]);
    let server = asking(&banner(&stack.scratch));
    let config = server.config().display().to_string();
    let target = format!("local/local/{}@web1", PW.name);
    let mut command = Command::new(offshoot_binary());
    command.args(["run", "-n", "-F", &config, &target, "--", "id", "-un"]);
    let mut terminal = Terminal::start(command, false);
    let place = format!("[{target}]");
    terminal.expect(&format!("{place} (pw@127.0.0.1) Verification code: "));
    assert!(!terminal.echoes(), "a code is shown");
    terminal.type_line(CODES[0]);
    terminal.expect(&format!("{place} password for ssh of pw: "));
    terminal.type_line(PASSWORD);
    terminal.expect("pw\r\n");
    let (code, transcript) = terminal.finish();
    assert_eq!(code, 0, "{transcript}");
    let questions = transcript.matches(&place).count();
    assert_eq!(questions, 2, "{transcript}");
}

/// Makes a key without a passphrase.
fn new_key(path: &Path) {
    let path = path.to_str().expect("our own path");
    let words = ["-q", "-t", "ed25519", "-N", "", "-f", path];
    must_run("ssh-keygen", &words, b"");
}

/// Signs a public key for a user and some time with the key of an authority. Returns the key's own
/// path.
fn signed(scratch: &ScratchDir, authority: &str, name: &str, user: &str, time: &str) -> String {
    let authority = scratch.path().join(authority).display().to_string();
    let key = scratch.path().join(name);
    new_key(&key);
    let public = key.with_extension("pub").display().to_string();
    let words = [
        "-q", "-s", &authority, "-I", name, "-n", user, "-V", time, &public,
    ];
    must_run("ssh-keygen", &words, b"");
    key.display().to_string()
}

/// Returns a hop with only this key and the certificate beside it.
fn with_key(place: &Context, server: &Sshd, key: &str) -> Hop<Ssh> {
    let host = place.ssh("127.0.0.1").config("/dev/null").user(NOPASS.name);
    let known = server.known_hosts().display().to_string();
    let host = host.option(format!("UserKnownHostsFile={known}"));
    host.option("IdentitiesOnly=yes")
        .identity(key)
        .port(server.address().port())
}

#[test]
fn a_certificate_of_the_user_logs_in_and_an_expired_or_foreign_one_does_not() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("certificates");
    for authority in ["authority", "stranger"] {
        new_key(&scratch.path().join(authority));
    }
    let trusted = scratch.path().join("authority.pub").display().to_string();
    let server = Sshd::named("web1")
        .line("AuthorizedKeysFile none")
        .line(format!("TrustedUserCAKeys {trusted}"))
        .line("AuthenticationMethods publickey")
        .start();
    let router = router();
    let valid = signed(&scratch, "authority", "valid", NOPASS.name, "+1d");
    let context = up(with_key(&router, &server, &valid).connect());
    assert_eq!(facts(&context).user, NOPASS.name);
    // At depth as well.
    let place = up(router.local().connect());
    up(with_key(&place, &server, &valid).connect());
    for (authority, name, user, time) in [
        ("authority", "expired", NOPASS.name, "20200101:20200102"),
        ("authority", "of-another", PW.name, "+1d"),
        ("stranger", "foreign", NOPASS.name, "+1d"),
    ] {
        let key = signed(&scratch, authority, name, user, time);
        let error = refused(with_key(&router, &server, &key).connect());
        assert_eq!(error.kind, Kind::Denied, "{name}: {error}");
    }
}

/// An agent of ssh with keys.
struct Agent {
    child: Child,
    scratch: ScratchDir,
}

impl Agent {
    fn new() -> Self {
        let scratch = ScratchDir::new("agent");
        let mut command = Command::new("ssh-agent");
        command
            .arg("-D")
            .arg("-a")
            .arg(scratch.path().join("socket"));
        let child = command.stdout(Stdio::null()).spawn();
        let agent = Self {
            child: child.expect("it comes with ssh"),
            scratch,
        };
        let socket = agent.socket();
        assert!(
            eventually(LIMIT, || Path::new(&socket).exists()),
            "the ssh agent does not listen"
        );
        agent
    }

    fn socket(&self) -> String {
        self.scratch.path().join("socket").display().to_string()
    }

    /// Adds a key, which exists nowhere else afterwards.
    fn take(&self, key: &str) {
        let mut add = Command::new("ssh-add");
        add.args(["-q", key]).env("SSH_AUTH_SOCK", self.socket());
        assert!(add.status().expect("it comes with ssh").success());
        fs::remove_file(key).expect("it was there");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_key_or_certificate_of_the_ssh_agent_logs_in() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("keys");
    for key in ["authority", "plain"] {
        new_key(&scratch.path().join(key));
    }
    let (public, authority) = (
        scratch.path().join("plain.pub").display().to_string(),
        scratch.path().join("authority.pub").display().to_string(),
    );
    let server = Sshd::named("web1")
        .line(format!("AuthorizedKeysFile {public}"))
        .line(format!("TrustedUserCAKeys {authority}"))
        .start();
    let certified = signed(&scratch, "authority", "certified", NOPASS.name, "+1d");
    let plain = scratch.path().join("plain").display().to_string();
    let router = router();
    for key in [plain, certified] {
        let agent = Agent::new();
        agent.take(&key);
        // By the configuration, which an option stands for here.
        let host = router
            .ssh("127.0.0.1")
            .config("/dev/null")
            .user(NOPASS.name);
        let known = server.known_hosts().display().to_string();
        let host = host
            .port(server.address().port())
            .option(format!("UserKnownHostsFile={known}"));
        let context = up(host
            .option(format!("IdentityAgent={}", agent.socket()))
            .connect());
        assert_eq!(facts(&context).user, NOPASS.name, "{key}");
        // By the environment of the command line.
        let target = format!("{}@127.0.0.1:{}", NOPASS.name, server.address().port());
        let run = Run::offshoot(["run", "-n", "-F", "/dev/null", "-o"])
            .env("SSH_AUTH_SOCK", agent.socket())
            .args([&format!("UserKnownHostsFile={known}"), &target, "--"]);
        assert_eq!(
            run.args(["id", "-un"]).finish().expect_code(0).out(),
            "nopass\n"
        );
    }
}

#[test]
fn the_error_of_a_hop_shows_the_real_host_where_the_alias_hides_it() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1")
        .password_only()
        .client_line("User pw")
        .start();
    let config = server.config().display().to_string();
    let address = server.address();
    let router = router();
    let place = up(router.local().connect());
    for place in [&router as &Context, &place] {
        let error = refused(place.ssh("web1").config(config.as_str()).connect());
        assert_eq!(error.hop, format!("ssh:web1, pw@{address}"), "{error}");
        assert!(error.context.ends_with("ssh.web1"), "{error}");
        // It shows nothing else than the hop.
        let host = place.ssh("127.0.0.1").config("/dev/null").user("pw");
        let error = refused(host.port(address.port()).connect());
        assert_eq!(error.hop, format!("ssh:pw@{address}"), "{error}");
    }
    let run = Run::offshoot(["ping", "-F", &config, "web1"]).finish();
    let said = run.expect_code(255).err();
    assert!(said.contains(&format!("web1, pw@{address}: ")), "{said}");
}
