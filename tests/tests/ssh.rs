//! Hops through a real sshd: naming of hosts, host keys, authentication, and settings for
//! interactive sessions.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use offshoot::methods::HostKeys;
use offshoot::{ConnectErrorKind as Kind, Error, Reason, stock};
use offshoot_tests::process::descendants;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::sshd::config_for;
use offshoot_tests::tree::{below, facts, hop, refused, router, without_place};
use offshoot_tests::users::{NOISY, NOPASS, PASSWORD, PLAIN, PW, SHELLS, client_key};
use offshoot_tests::{Leaks, Sshd};

fn text(path: impl AsRef<Path>) -> String {
    path.as_ref().to_str().expect("our own path").to_owned()
}

/// An ssh configuration in root's home, removed when dropped.
struct OwnConfig;

impl OwnConfig {
    fn write(lines: &str) -> Self {
        fs::create_dir("/root/.ssh").expect("the sandbox's /root is empty");
        fs::write("/root/.ssh/config", lines).expect("it was just made");
        Self
    }
}

impl Drop for OwnConfig {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all("/root/.ssh");
    }
}

#[test]
fn an_alias_of_the_ssh_configuration_is_enough() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1").client_line("User nopass").start();
    let _config = OwnConfig::write(&format!("Include {}\n", text(server.config())));
    let router = router();
    let web1 = router
        .ssh("web1")
        .connect()
        .expect("everything is in the configuration");
    assert_eq!(web1.name(), "ssh.web1");
    assert_eq!(facts(&web1).user, "nopass");
}

#[test]
fn user_port_identity_and_options_work_without_a_configuration() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let host = router
        .ssh("somewhere")
        .config("/dev/null")
        .user(PLAIN.name)
        .port(server.address().port());
    let host = host
        .identity(text(client_key()))
        .option("HostName=127.0.0.1");
    let host = host.option(format!("UserKnownHostsFile={}", text(server.known_hosts())));
    let context = host.connect().expect("all is said by the options");
    assert_eq!(facts(&context).user, "plain");
    assert_eq!(
        context.name(),
        format!("ssh.somewhere:{}", server.address().port())
    );
}

#[test]
fn every_login_shell_starts_an_agent() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    for user in SHELLS {
        let context = hop(&router, &server, user)
            .connect()
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(facts(&context).user, user.name);
    }
}

#[test]
fn output_of_a_startup_file_does_no_harm() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let context = hop(&router, &server, NOISY)
        .connect()
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(facts(&context).user, "noisy");
}

#[test]
fn an_unknown_host_key_is_refused_with_a_hint() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    fs::write(server.known_hosts(), "").expect("the scratch directory is ours");
    let router = router();
    let error = refused(hop(&router, &server, NOPASS).connect());
    assert_eq!(error.kind, Kind::HostKey, "{error}");
    assert!(error.hint.contains("accept-new"), "{error}");
    assert!(
        without_place(&error).starts_with("ssh.web1 (ssh:nopass@web1): the host's key is unknown"),
        "{error}"
    );
}

#[test]
fn a_host_key_confirmation_prompt_is_declined() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    fs::write(server.known_hosts(), "").expect("the scratch directory is ours");
    let router = router();
    // With a password ssh may prompt on its terminal, and it prompts about the key first.
    let host = hop(&router, &server, PW)
        .option("StrictHostKeyChecking=ask")
        .password(PASSWORD);
    let error = refused(host.connect());
    assert_eq!(error.kind, Kind::HostKey, "{error}");
    assert_eq!(
        fs::read_to_string(server.known_hosts()).expect("it is there"),
        ""
    );
}

#[test]
fn accept_new_accepts_and_remembers_a_new_host_key() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let known = fs::read_to_string(server.known_hosts()).expect("the fixture wrote it");
    fs::write(server.known_hosts(), "").expect("the scratch directory is ours");
    let router = router();
    let context = hop(&router, &server, NOPASS)
        .host_keys(HostKeys::AcceptNew)
        .connect();
    assert_eq!(
        facts(&context.expect("a new key is accepted")).user,
        "nopass"
    );
    let remembered = fs::read_to_string(server.known_hosts()).expect("ssh keeps it");
    let key = known
        .split_ascii_whitespace()
        .nth(2)
        .expect("a key in base64");
    assert!(remembered.contains(key), "{remembered}");
    hop(&router, &server, NOPASS)
        .connect()
        .expect("it is known now");
}

#[test]
fn accept_new_refuses_a_changed_host_key() {
    let _leaks = Leaks::begin();
    let (server, other) = (Sshd::start("web1"), Sshd::start("web2"));
    let theirs = fs::read_to_string(other.known_hosts()).expect("the fixture wrote it");
    let key = theirs.split_once(' ').expect("host and key").1;
    let forged = format!("[127.0.0.1]:{} {key}", server.address().port());
    fs::write(server.known_hosts(), &forged).expect("the scratch directory is ours");
    let router = router();
    let error = refused(
        hop(&router, &server, NOPASS)
            .host_keys(HostKeys::AcceptNew)
            .connect(),
    );
    assert_eq!(error.kind, Kind::HostKeyChanged, "{error}");
    assert_eq!(
        fs::read_to_string(server.known_hosts()).expect("it is there"),
        forged
    );
}

#[test]
fn ignore_accepts_any_host_key_and_remembers_none() {
    let _leaks = Leaks::begin();
    let (server, other) = (Sshd::start("web1"), Sshd::start("web2"));
    let theirs = fs::read_to_string(other.known_hosts()).expect("the fixture wrote it");
    fs::write(server.known_hosts(), &theirs).expect("the scratch directory is ours");
    let router = router();
    let context = hop(&router, &server, NOPASS)
        .host_keys(HostKeys::Ignore)
        .connect();
    assert_eq!(facts(&context.expect("no key is looked at")).user, "nopass");
    assert_eq!(
        fs::read_to_string(server.known_hosts()).expect("it is there"),
        theirs
    );
}

#[test]
fn a_password_logs_in_where_only_passwords_are_accepted() {
    let _leaks = Leaks::begin();
    let server = Sshd::named("web1").password_only().start();
    let router = router();
    let context = hop(&router, &server, PW)
        .password(PASSWORD)
        .connect()
        .expect("the password is right");
    assert_eq!(facts(&context).user, "pw");
}

#[test]
fn a_banner_that_looks_like_a_prompt_gets_no_password() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("banner");
    for words in [
        "Enter no password: here\n",
        "Permission denied (password).\n",
        "password: ",
    ] {
        let banner = scratch.file("banner", words, 0o644);
        let server = Sshd::named("web1")
            .password_only()
            .line(format!("Banner {}", text(banner)))
            .start();
        let router = router();
        // At ssh's default log level the banner is shown.
        let host = hop(&router, &server, PW).option("LogLevel=INFO");
        let context = host
            .password(PASSWORD)
            .connect()
            .unwrap_or_else(|error| panic!("{words:?}: {error}"));
        assert_eq!(facts(&context).user, "pw");
        let error = refused(
            hop(&router, &server, PW)
                .option("LogLevel=INFO")
                .password("wrong")
                .connect(),
        );
        assert_eq!(error.kind, Kind::PasswordIncorrect, "{words:?}: {error}");
    }
}

#[test]
fn a_configured_jump_host_is_used() {
    let _leaks = Leaks::begin();
    let bastion = Sshd::named("bastion").client_line("User plain").start();
    let inner = Sshd::named("inner")
        .client_line("User nopass")
        .client_line("ProxyJump bastion")
        .start();
    let scratch = ScratchDir::new("jump");
    let config = config_for(&scratch, &[&bastion, &inner]);
    let router = router();
    let context = router
        .ssh("inner")
        .config(text(config))
        .connect()
        .expect("the jump is configured");
    assert_eq!(facts(&context).user, "nopass");
    assert!(
        bastion.log().contains("Accepted publickey for plain"),
        "{}",
        bastion.log()
    );
}

#[test]
fn configuration_for_interactive_sessions_does_no_harm() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("master");
    let path = text(scratch.path().join("socket-%C"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("lo is up");
    let forward = format!(
        "LocalForward {} 127.0.0.1:1",
        taken.local_addr().expect("bound").port()
    );
    for setting in [
        &[
            "ControlMaster auto",
            "ControlPersist yes",
            &format!("ControlPath {path}"),
        ][..],
        &["RemoteCommand echo not this one"],
        &["RequestTTY force"],
        &["EscapeChar Z"],
        &[&forward, "ExitOnForwardFailure yes"],
        &["SessionType none"],
        &["SessionType subsystem"],
        &["StdinNull yes"],
        &["ForkAfterAuthentication yes"],
        &["UpdateHostKeys ask", "AddKeysToAgent ask"],
        &["PermitLocalCommand yes", "LocalCommand echo password:"],
        &["VisualHostKey yes", "LogLevel DEBUG3"],
    ] {
        let server = setting
            .iter()
            .fold(Sshd::named("web1"), |server, line| {
                server.client_line(*line)
            })
            .start();
        let router = router();
        let context = hop(&router, &server, NOPASS).connect();
        let context = context.unwrap_or_else(|error| panic!("{setting:?}: {error}"));
        let words = "Z\r~.\nZ.\0".repeat(1000);
        let echoed = context
            .call(stock::echo {
                text: words.clone(),
            })
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(
            echoed == words,
            "{setting:?}: bytes have changed on the way"
        );
        // The socket of a master vanishes with its server, so it is looked for while the server is
        // up.
        assert_eq!(
            fs::read_dir(scratch.path()).expect("ours").count(),
            0,
            "a master connection was opened"
        );
    }
}

#[test]
fn compression_and_keepalives_reach_ssh() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let context = hop(&router, &server, NOPASS)
        .compression(true)
        .keepalive(7)
        .connect()
        .expect("accepted");
    assert_eq!(facts(&context).user, "nopass");
    let ssh = below()
        .into_iter()
        .find(|seen| seen.name == "ssh")
        .expect("the hop's program");
    assert!(
        ssh.arguments.contains("Compression=yes"),
        "{}",
        ssh.arguments
    );
    assert!(
        ssh.arguments.contains("ServerAliveInterval=7"),
        "{}",
        ssh.arguments
    );
}

#[test]
fn one_thread_connects_and_calls_twenty_hosts_concurrently() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let opened: Vec<_> = (0..20)
        .map(|_| {
            hop(&router, &server, NOPASS)
                .start()
                .expect("the order is sent")
        })
        .collect();
    let replies: Vec<_> = opened
        .iter()
        .map(|hop| hop.context().start(stock::facts {}))
        .collect();
    let processes: std::collections::BTreeSet<u32> = replies
        .into_iter()
        .map(|reply| reply.wait().expect("it answers").process)
        .collect();
    assert_eq!(processes.len(), 20);
    for hop in opened {
        hop.wait().expect("it has answered already");
    }
}

#[test]
fn a_crashed_host_ends_every_wait_for_it_and_no_other() {
    let _leaks = Leaks::begin();
    let (web1, web2) = (Sshd::start("web1"), Sshd::start("web2"));
    let router = router();
    let lost = hop(&router, &web1, NOPASS).connect().expect("web1");
    let kept = hop(&router, &web2, NOPASS).connect().expect("web2");
    let mut waiting: Vec<_> = (0..3)
        .map(|_| {
            lost.command("sleep")
                .arg("1000")
                .spawn()
                .expect("the order is sent")
        })
        .collect();
    let mut output = waiting[0].stdout.take().expect("not taken yet");
    assert_eq!(facts(&lost).user, "nopass");
    web1.cut_sessions();
    for process in waiting {
        let error = process.wait().expect_err("the host is gone");
        let Error::Undelivered {
            context, reason, ..
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!(
            (context.as_str(), *reason),
            ("ssh.web1", Reason::Lost),
            "{error}"
        );
    }
    let error = output.next_chunk().expect_err("the stream has broken off");
    assert!(error.to_string().contains("ssh.web1"), "{error}");
    let error = lost.call(stock::ping {}).expect_err("it stays lost");
    assert!(error.to_string().contains("ssh.web1"), "{error}");
    assert_eq!(facts(&kept).user, "nopass");
    let again = hop(&router, &web1, NOPASS)
        .connect()
        .expect("the server itself is up");
    assert_eq!(facts(&again).user, "nopass");
    assert!(
        descendants(web1.pid())
            .iter()
            .any(|seen| seen.arguments == "offshoot: ssh.web1")
    );
}

#[test]
fn the_connection_of_ssh_sends_small_packets_at_once_while_it_logs_in() {
    let _leaks = Leaks::begin();
    let router = router();
    router
        .ssh("web1")
        .program(env!("CARGO_BIN_EXE_held-back-ssh"))
        .connect()
        .expect("the setting is made for the connection of ssh");
}

#[test]
fn the_request_for_a_session_fills_the_first_congestion_window() {
    let _leaks = Leaks::begin();
    // The most hospitable server: the variable must not reach programs there.
    let server = Sshd::named("web1").line("AcceptEnv *").start();
    let folder = ScratchDir::new("request");
    let log = folder.path().join("log");
    let ssh = folder.path().join("ssh");
    let script = format!(
        "#!/bin/sh\nfor l;do :;done\ncase $1 in -G);;*)echo ${{#OFFSHOOT_PAD}} ${{#l}} >>{};esac\nexec ssh \"$@\"\n",
        text(&log)
    );
    fs::write(&ssh, script).expect("the folder is ours");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    let router = router();
    for fast in [true, false] {
        let context = hop(&router, &server, NOPASS)
            .program(text(&ssh))
            .fast(fast)
            .connect()
            .expect("ssh is real");
        let seen = context.command("env").output().expect("it runs");
        let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
        assert!(!seen.contains("OFFSHOOT_PAD"), "{seen}");
    }
    let lines = fs::read_to_string(&log).expect("the script wrote it");
    let lengths: Vec<Vec<usize>> = lines
        .lines()
        .map(|line| {
            let words = line.split(' ').map(str::parse);
            words.collect::<Result<_, _>>().expect("lengths")
        })
        .filter(|lengths: &Vec<usize>| lengths[1] > 1000)
        .collect();
    assert_eq!(lengths.len(), 2, "{lines}");
    assert_eq!(lengths[0][0] + lengths[0][1], 13_200, "{lines}");
    assert_eq!(lengths[1][0], 0, "{lines}");
}
