//! Questions of the programs of hops, answered by the program or the person at the root, from any
//! depth.

use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use offshoot::methods::Ssh;
use offshoot::{ConnectErrorKind as Kind, Context, Hop, PromptKind};
use offshoot_test_agent as own;
use offshoot_tests::process::{eventually, must_run};
use offshoot_tests::prompts::{answering, kinds};
use offshoot_tests::pty::Terminal;
use offshoot_tests::run::{LIMIT, offshoot_binary};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{Tree, facts, hop, refused, router};
use offshoot_tests::users::{NOPASS, PASSWORD, PW};
use offshoot_tests::{Leaks, Sshd};

#[track_caller]
fn up(outcome: offshoot::Result<Context>) -> Context {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

/// Returns a hop to a server whose key is not known.
fn to_unknown(from: &Context, server: &Sshd, scratch: &ScratchDir) -> Hop<Ssh> {
    let known = scratch.path().join("known");
    hop(from, server, NOPASS)
        .option(format!("UserKnownHostsFile={}", known.display()))
        .option("StrictHostKeyChecking=ask")
}

#[test]
fn a_password_is_asked_for_until_it_is_right() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1").password_only().start();
    let router = router();
    let (hop, asked) = answering(hop(&router, &server, PW), &["wrong", PASSWORD]);
    assert_eq!(facts(&up(hop.connect())).user, PW.name);
    assert_eq!(kinds(&asked), [PromptKind::Password; 2]);
    let asked = asked.lock().expect("no panic");
    assert_eq!(
        (asked[0].context.as_str(), asked[0].hop.starts_with("ssh:")),
        ("ssh.web1", true)
    );
}

#[test]
fn a_question_comes_from_three_hops_down_and_is_answered_there() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let host = up(hop(&up(router.local().connect()), &server, PW).connect());
    let (sudo, asked) = answering(
        host.local().connect().expect("it is up").sudo(),
        &[PASSWORD],
    );
    let root = up(sudo.connect());
    assert_eq!(facts(&root).uid, 0);
    assert_eq!(kinds(&asked), [PromptKind::Password]);
    let asked = asked.lock().expect("no panic");
    assert_eq!(asked[0].context, "local.ssh.web1.local.sudo.root");
    assert_eq!(asked[0].hop, "sudo");
}

#[test]
fn without_an_answer_the_hop_fails_and_quotes_the_question() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let host = up(hop(&router, &server, PW).connect());
    let (sudo, asked) = answering(host.sudo(), &[]);
    let error = refused(sudo.connect());
    assert_eq!(error.kind, Kind::Question, "{error}");
    assert_eq!(error.detail, "its question \"password:\" was declined");
    assert_eq!(error.context, "ssh.web1.sudo.root");
    assert_eq!(kinds(&asked), [PromptKind::Password]);
}

#[test]
fn an_unknown_host_key_is_shown_with_its_fingerprint_and_accepted_by_yes() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let scratch = ScratchDir::new("known");
    let router = router();
    for answer in ["no", "yes"] {
        let (hop, asked) = answering(to_unknown(&router, &server, &scratch), &[answer]);
        match hop.connect() {
            Ok(context) => assert_eq!(
                (facts(&context).user.as_str(), answer),
                (NOPASS.name, "yes")
            ),
            Err(error) => {
                assert_eq!(answer, "no", "{error}");
                let kind = error.as_connect().map(|error| error.kind);
                assert_eq!(kind, Some(Kind::HostKey), "{error}");
            }
        }
        assert_eq!(kinds(&asked), [PromptKind::HostKey]);
        let lines = asked.lock().expect("no panic")[0].lines.join("\n");
        assert!(lines.contains("fingerprint is SHA256:"), "{lines}");
    }
    // The key is known now.
    let (hop, asked) = answering(to_unknown(&router, &server, &scratch), &[]);
    up(hop.connect());
    assert_eq!(kinds(&asked), []);
}

#[test]
fn a_passphrase_is_told_apart_and_an_unknown_question_is_passed_on() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("locked");
    let key = scratch.path().join("key");
    let path = key.display().to_string();
    let words = ["-q", "-t", "ed25519", "-N", "a passphrase", "-f", &path];
    must_run("ssh-keygen", &words, b"");
    let public = std::fs::read(key.with_extension("pub")).expect("it was just made");
    let authorized = scratch.file("authorized", public, 0o644);
    let server = Sshd::named("web1")
        .line(format!("AuthorizedKeysFile {}", authorized.display()))
        .start();
    let router = router();
    let known = server.known_hosts().display().to_string();
    let host = router.ssh("127.0.0.1").config("/dev/null").user(PW.name);
    let host = host.port(server.address().port()).identity(&path);
    let host = host.option(format!("UserKnownHostsFile={known}"));
    let (hop, asked) = answering(host.option("IdentitiesOnly=yes"), &["a passphrase"]);
    assert_eq!(facts(&up(hop.connect())).user, PW.name);
    assert_eq!(kinds(&asked), [PromptKind::Passphrase]);
    // A program that asks something of its own, and gets the answer on its terminal.
    let text = "#!/bin/sh\n[ \"$1\" = -G ]&&exit 1\nprintf 'Duo login\\nOption (1-3): ' >/dev/tty\n\
                read answer </dev/tty\necho \"it was $answer\" >&2\nexit 1\n";
    let program = scratch.file("asks", text, 0o755).display().to_string();
    let (hop, asked) = answering(router.ssh("web1").program(program), &["2"]);
    let error = refused(hop.connect());
    assert!(error.output.contains(&"it was 2".to_owned()), "{error:?}");
    let asked = asked.lock().expect("no panic");
    assert_eq!(asked[0].kind, PromptKind::Other);
    assert_eq!(asked[0].lines, ["Duo login", "Option (1-3):"]);
}

#[test]
fn an_answer_that_comes_too_late_is_not_given_to_the_next_question() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("late");
    let begun = scratch.path().join("begun");
    // Asks a second time while the first question is open.
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = -G ]&&exit 1\nprintf 'First (1-3): ' >/dev/tty\n\
         while ! test -e {0};do sleep 0.05;done\nprintf '\\nSecond (1-3): ' >/dev/tty\n\
         read answer </dev/tty\necho \"it was $answer\" >&2\nexit 1\n",
        begun.display()
    );
    let program = scratch.file("asks", text, 0o755).display().to_string();
    let (second, asks) = channel();
    let (first, answered) = channel();
    let (asks, answered) = (Mutex::new(asks), Mutex::new(answered));
    let router = router();
    let hop = router
        .ssh("web1")
        .program(program)
        .on_prompt(move |prompt| {
            let is_first = prompt
                .lines
                .last()
                .is_some_and(|line| line.starts_with("First"));
            if is_first {
                std::fs::write(&begun, "").expect("the folder is ours");
                let asks = asks.lock().expect("no panic");
                asks.recv_timeout(LIMIT).expect("it asks again");
                first.send(()).expect("it waits");
            } else {
                second.send(()).expect("it waits");
                let answered = answered.lock().expect("no panic");
                answered.recv_timeout(LIMIT).expect("the first answers");
            }
            Some(if is_first { "1" } else { "2" }.into())
        });
    let error = refused(hop.connect());
    assert!(error.output.contains(&"it was 2".to_owned()), "{error:?}");
}

/// Starts a hop by sudo whose question waits: the hop, the question, and the way to answer it.
fn waiting(context: &Context, limit: Duration) -> (offshoot::Connecting, impl Fn(), Receiver<()>) {
    let (begun, begins) = channel();
    let (go, wait) = channel();
    let wait = Mutex::new(wait);
    let hop = context.sudo().timeout(limit).on_prompt(move |_| {
        begun.send(()).expect("the test waits");
        let wait = wait.lock().expect("no panic");
        wait.recv_timeout(LIMIT).ok().map(|()| PASSWORD.into())
    });
    let hop = hop.start().unwrap_or_else(|error| panic!("{error}"));
    (hop, move || go.send(()).expect("it waits"), begins)
}

#[test]
fn a_person_may_take_longer_than_the_limit_of_the_hop() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let host = up(hop(&router, &server, PW).connect());
    let (hop, answer, begins) = waiting(&host, Duration::from_secs(1));
    begins.recv_timeout(LIMIT).expect("it asks");
    // The limit passes twice.
    assert!(hop.wait_timeout(Duration::from_millis(2200)).is_err());
    answer();
    assert_eq!(facts(&up(hop.wait())).uid, 0);
}

#[test]
fn only_the_context_of_the_hop_can_ask() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let tree = Tree::new();
    let stranger = tree.child();
    let host = up(hop(&tree.router, &server, PW).connect());
    let (hop, answer, begins) = waiting(&host, LIMIT);
    begins.recv_timeout(LIMIT).expect("it asks");
    // It tries every number that a handler of the root can have by now.
    let taken = stranger.call(own::services::ask_for_secrets {
        first: 256,
        count: 64,
    });
    assert_eq!(taken.unwrap_or_else(|error| panic!("{error}")), 0);
    answer();
    assert_eq!(facts(&up(hop.wait())).uid, 0);
    assert!(begins.try_recv().is_err(), "it was asked once");
}

fn at_terminal(words: &[&str]) -> Terminal {
    let mut command = Command::new(offshoot_binary());
    command.arg("run").args(words);
    Terminal::start(command, false)
}

#[test]
fn the_command_line_asks_for_host_key_and_passwords_of_each_hop() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1").password_only().start();
    let config = server.config().display().to_string();
    let scratch = ScratchDir::new("known");
    let known = format!(
        "UserKnownHostsFile={}",
        scratch.path().join("known").display()
    );
    let target = format!("local/ssh:{}@web1/sudo", PW.name);
    let mut terminal = at_terminal(&[
        "-n",
        "-F",
        &config,
        "-o",
        &known,
        "-o",
        "StrictHostKeyChecking=ask",
        &target,
        "--",
        "id",
        "-u",
    ]);
    let place = format!("[local/{}@web1", PW.name);
    terminal.expect("key fingerprint is SHA256:");
    terminal.expect("continue connecting (yes/no/[fingerprint])? ");
    terminal.type_line("yes");
    let question = format!("{place}] password for ssh of {}: ", PW.name);
    terminal.expect(&question);
    terminal.type_line("wrong");
    terminal.expect("the password was not accepted; try again");
    terminal.expect(&question);
    terminal.type_line(PASSWORD);
    terminal.expect(&format!("{place}/sudo] password for sudo of {}: ", PW.name));
    terminal.type_line(PASSWORD);
    terminal.expect("0\r\n");
    assert_eq!(terminal.finish().0, 0);
}

#[test]
fn ctrl_c_at_a_question_ends_the_command() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let config = server.config().display().to_string();
    let target = format!("{}@web1/sudo", PW.name);
    let mut terminal = at_terminal(&["-n", "-F", &config, &target, "--", "true"]);
    terminal.expect("password for sudo");
    terminal.press(3);
    assert_eq!(terminal.finish().0, 130);
}

/// A stand-in for a program of hops that a host has written, found before the real one.
struct Hostile {
    folder: ScratchDir,
}

impl Hostile {
    /// Returns a `name` that runs these lines of sh, with the prompt of sudo in `$2`.
    fn new(name: &str, lines: &str) -> Self {
        let folder = ScratchDir::new("hostile");
        let text = format!(
            "#!/bin/sh\n[ \"$1\" = -G ]&&exit 1\ncd {}\n{lines}\n",
            folder.path().display()
        );
        folder.file(name, text, 0o755);
        Self { folder }
    }

    /// Starts the command line on a terminal with this number of columns.
    fn run(&self, columns: u16, words: &[&str]) -> Terminal {
        let path = std::env::var("PATH").expect("there are programs");
        let mut command = Command::new(offshoot_binary());
        command
            .args(["run", "-n"])
            .args(words)
            .env("PATH", format!("{}:{path}", self.folder.path().display()));
        Terminal::start_with(command, false, columns)
    }

    /// Creates a file that the program waits for.
    fn open(&self, gate: &str) {
        std::fs::write(self.folder.path().join(gate), "").expect("the folder is ours");
    }
}

#[test]
fn each_row_of_a_long_question_names_its_hop() {
    let _leaks = Leaks::begin();
    // Letters, wide characters, and blanks that are no spaces.
    for (filler, columns, width) in [
        ("x", 0, 80),
        ("x", 80, 80),
        ("\u{4e00}", 80, 80),
        ("\u{2800}", 80, 80),
        ("\u{3164}", 120, 120),
    ] {
        let count = width - "[sudo] ".len();
        let script = format!(
            "printf %s '{}[p2] password for ssh: ' >/dev/tty\nread answer </dev/tty\nexit 1",
            filler.repeat(count)
        );
        let hostile = Hostile::new("sudo", &script);
        let mut terminal = hostile.run(columns, &["sudo", "--", "true"]);
        terminal.expect("ssh: ");
        let shown = terminal.transcript();
        let rows: Vec<&str> = shown.split("\r\n").collect();
        assert!(rows.len() > 1, "{shown}");
        for row in rows {
            assert!(row.starts_with("[sudo] "), "{row:?}");
            let columns: usize = row.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
            assert!(columns < width, "{row:?}");
            let blank = |c| filler != "x" && filler != "\u{4e00}" && filler.contains(c);
            assert!(!row.contains(blank), "{row:?}");
        }
        terminal.type_line("");
        assert_eq!(terminal.finish().0, 255);
    }
}

#[test]
fn the_first_line_of_a_long_question_stays_in_sight() {
    let _leaks = Leaks::begin();
    let hostile = Hostile::new(
        "ssh",
        "{ printf '(me@evil) A\\n'; yes A | head -n 3000; printf '(me@web2) Password: '; } >/dev/tty\n\
         read answer </dev/tty\nexit 1",
    );
    let mut terminal = hostile.run(80, &["me@web2", "--", "true"]);
    terminal.expect("[me@web2] (me@web2) Password: ");
    let shown = terminal.transcript();
    let rows: Vec<&str> = shown.split("\r\n").collect();
    assert!(rows.len() < 24, "all of them fit on a terminal: {shown}");
    assert_eq!(rows[0], "[me@web2] (me@evil) A");
    assert!(rows[1].contains("left out"), "{shown}");
    terminal.type_line("");
    assert_eq!(terminal.finish().0, 255);
}

#[test]
fn a_flood_of_questions_leaves_the_terminal_as_it_was() {
    let _leaks = Leaks::begin();
    let hostile = Hostile::new(
        "sudo",
        "yes \"$2\" | head -n 20000 | tr -d '\\n' >/dev/tty\nread answer </dev/tty\nexit 1",
    );
    for _ in 0..4 {
        let mut terminal = hostile.run(80, &["sudo", "--", "true"]);
        terminal.expect("[sudo] password for sudo");
        assert!(eventually(LIMIT, || !terminal.echoes()));
        terminal.type_line("the answer");
        terminal.expect("cannot reach");
        assert!(eventually(LIMIT, || terminal.echoes()));
        let modes = terminal.modes();
        let (code, text) = terminal.finish();
        assert!(
            modes
                .local_flags
                .contains(nix::sys::termios::LocalFlags::ECHO)
        );
        assert_eq!(code, 255, "{text}");
        assert!(!text.contains("the answer"), "{text}");
        let (_, after) = text.split_once("cannot reach").expect("it was there");
        assert!(!after.contains("[sudo] password"), "{text}");
    }
}

#[test]
fn the_question_of_a_hop_that_has_ended_is_withdrawn() {
    let _leaks = Leaks::begin();
    let hostile = Hostile::new(
        "sudo",
        "printf %s \"$2\" >/dev/tty\nwhile ! test -e gone;do sleep 0.05;done\nexit 1",
    );
    let end = hostile.folder.path().join("end");
    let wait = format!("while ! test -e {}; do sleep 0.05; done", end.display());
    let mut terminal = hostile.run(80, &["sudo", "local", "--", "sh", "-c", &wait]);
    terminal.expect("[sudo] password for sudo");
    assert!(eventually(LIMIT, || !terminal.echoes()));
    // A part of a line.
    terminal.press(b'x');
    hostile.open("gone");
    terminal.expect("[sudo] no answer is wanted any more");
    terminal.expect("cannot reach sudo");
    assert!(terminal.echoes(), "the other program still runs");
    hostile.open("end");
    let (code, text) = terminal.finish();
    assert_eq!(code, 255, "{text}");
    assert_eq!(text.matches("password for sudo").count(), 1, "{text}");
}

#[test]
fn a_program_is_told_that_no_answer_is_wanted_any_more() {
    let _leaks = Leaks::begin();
    let hostile = Hostile::new(
        "asks",
        "printf 'Option (1-3): ' >/dev/tty\nwhile ! test -e gone;do sleep 0.05;done\nexit 1",
    );
    let gone = hostile.folder.path().join("gone");
    let program = hostile.folder.path().join("asks").display().to_string();
    let (withdrawn, seen) = channel();
    let router = router();
    let hop = router.ssh("web1").program(program);
    let hop = hop.on_prompt(move |prompt| {
        assert!(!prompt.is_withdrawn());
        let (tell, told) = channel();
        prompt.on_withdrawal(move || tell.send(()).expect("it waits"));
        std::fs::write(&gone, "").expect("the folder is ours");
        told.recv_timeout(LIMIT).expect("it is withdrawn");
        withdrawn
            .send(prompt.is_withdrawn())
            .expect("the test waits");
        None
    });
    let error = refused(hop.connect());
    // It was not declined.
    assert_eq!(error.kind, Kind::Exited, "{error}");
    assert_eq!(seen.recv_timeout(LIMIT), Ok(true));
}

#[test]
fn a_declined_question_and_too_many_are_named_as_the_reason() {
    let _leaks = Leaks::begin();
    let hostile = Hostile::new(
        "sudo",
        "printf %s \"$2\" >/dev/tty\nread answer </dev/tty\nexit 1",
    );
    let mut terminal = hostile.run(80, &["sudo", "--", "true"]);
    terminal.expect("[sudo] password for sudo");
    assert!(eventually(LIMIT, || !terminal.echoes()));
    terminal.press(4);
    let (code, text) = terminal.finish();
    assert_eq!(code, 255, "{text}");
    assert!(
        text.contains("its question \"password:\" was declined"),
        "{text}"
    );
    let script = "while :;do printf %s \"$2\" >/dev/tty;read answer </dev/tty;done";
    let hostile = Hostile::new("sudo", script);
    let program = hostile.folder.path().join("sudo").display().to_string();
    let router = router();
    let (hop, asked) = answering(router.sudo().program(program), &["x"; 30]);
    let error = refused(hop.connect());
    assert_eq!(error.kind, Kind::Question, "{error}");
    assert_eq!(error.detail, "it asked more than 20 times");
    assert_eq!(kinds(&asked).len(), 20);
}
