//! Bootstraps that fail, one at each step. The error names the step, quotes the output of the
//! target and gives a hint; nothing is left behind.

use std::fs;
use std::path::Path;
use std::time::Duration;

use offshoot::stock::{echo, ping};
use offshoot::{CallError, ConnectErrorKind as Kind, Error, Reason, Router};
use offshoot_tests::hop::{Counter, assert_says, refused, router, sessions, up, words};
use offshoot_tests::process::{descendants, eventually};
use offshoot_tests::run::LIMIT;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::users::{NOLOGIN, PLAIN};
use offshoot_tests::{Leaks, Sshd};

/// The timeout of a hop that cannot succeed.
const SHORT: Duration = Duration::from_secs(1);

/// The length of what is sent before the image, in a first attempt and in a second one.
const BEFORE: [usize; 2] = [8, 40];

/// Returns the length of the image for this machine.
fn image_length() -> usize {
    let agents =
        std::env::var_os("OFFSHOOT_AGENTS").expect("`cargo xtask test` sets OFFSHOOT_AGENTS");
    let folder = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let image = Path::new(&agents).join(folder).join("offshoot-agent.image");
    fs::metadata(image)
        .expect("`cargo xtask build-agent` has made it")
        .len() as usize
}

/// Returns the words of a shell behind a faulty wire.
fn behind(how: &str, number: usize) -> Vec<String> {
    [
        env!("CARGO_BIN_EXE_mangle"),
        how,
        &number.to_string(),
        "/bin/sh",
    ]
    .map(str::to_owned)
    .into()
}

#[test]
fn a_truncated_image_is_reported_after_a_second_attempt() {
    let _leaks = Leaks::begin();
    let router = router();
    for length in [0, 1, 1000, image_length() / 2, image_length() - 1] {
        let counter = Counter::new();
        let hop = router
            .local()
            .shell_words(counter.before(behind("cut", length)));
        let error = refused(hop.connect(), Kind::Bootstrap);
        assert_says(
            &error,
            &[
                "stdin ended before the whole agent had arrived",
                "something on the way closed it",
            ],
        );
        assert_eq!(counter.starts(), 2, "attempts when {length} bytes arrive");
    }
}

#[test]
fn a_flipped_bit_anywhere_in_the_image_is_reported() {
    let _leaks = Leaks::begin();
    let router = router();
    // In both attempts, what is before the image may be damaged.
    let first = BEFORE[1];
    for at in [
        first,
        first + 3,
        first + 4,
        1000,
        image_length() / 2,
        image_length() - 1,
    ] {
        let error = refused(
            router.local().shell_words(behind("flip", at)).connect(),
            Kind::Bootstrap,
        );
        assert_says(
            &error,
            &[
                "the image arrived damaged",
                "the transport may change bytes",
            ],
        );
    }
}

#[test]
fn a_lost_byte_of_the_image_is_reported() {
    let _leaks = Leaks::begin();
    let router = router();
    for at in [BEFORE[1], 1000, image_length() - 1] {
        let error = refused(
            router.local().shell_words(behind("lose", at)).connect(),
            Kind::Bootstrap,
        );
        assert_says(&error, &["the image arrived damaged"]);
    }
}

#[test]
fn an_image_and_the_frames_after_it_may_arrive_in_small_pieces() {
    let _leaks = Leaks::begin();
    let router = router();
    for size in [1, 7, 4096] {
        let connecting = router
            .local()
            .shell_words(behind("pieces", size))
            .start()
            .expect("the order is sent");
        let text = "behind the image ".repeat(2_000);
        let reply = connecting.context().start(echo { text: text.clone() });
        assert!(
            reply.wait().expect("it arrives") == text,
            "pieces of {size}"
        );
        connecting.wait().expect("it has answered");
    }
}

#[test]
fn an_image_that_stops_arriving_times_out() {
    let _leaks = Leaks::begin();
    let router = router();
    for length in [0, 1000, image_length() - 1] {
        let hop = router
            .local()
            .shell_words(behind("stall", length))
            .timeout(SHORT);
        let error = refused(hop.connect(), Kind::TimedOut);
        assert_says(
            &error,
            &["no agent was up within 1000 ms", "give it longer"],
        );
    }
}

#[test]
fn a_link_cut_right_after_the_image_fails_the_first_call() {
    let _leaks = Leaks::begin();
    let router = router();
    let connecting = router
        .local()
        .shell_words(behind("cut", BEFORE[0] + image_length()))
        .start()
        .expect("the order is sent");
    let reply = connecting.context().start(ping {});
    let failed = reply.wait().expect_err("nobody is there").to_string();
    assert!(failed.starts_with("local: "), "{failed}");
    drop(connecting);
}

#[test]
fn a_damaged_first_frame_closes_the_link() {
    let _leaks = Leaks::begin();
    let router = router();
    // The first frame is the boot message: its header, then its payload.
    for behind_image in [0, 8, 40] {
        let hop = router
            .local()
            .shell_words(behind("flip", BEFORE[0] + image_length() + behind_image));
        // The hello may arrive before the damage is detected, but no call can be answered.
        let error = match hop.connect() {
            Ok(context) => context
                .call(ping {})
                .expect_err("the agent has lost its parent")
                .to_string(),
            Err(error) => error.to_string(),
        };
        assert!(
            error.starts_with("local") && error.contains("its link has ended"),
            "{error}"
        );
    }
    up(router.local().connect());
}

#[test]
fn a_hop_program_that_exits_early_is_reported_with_its_exit_status() {
    let _leaks = Leaks::begin();
    let router = router();
    let ends = [
        (words(&["true"]), "status 0"),
        (words(&["false"]), "status 1"),
        (
            words(&["sh", "-c", "exit 126"]),
            "a command may not be executed",
        ),
        (words(&["sh", "-c", "exit 127"]), "a command was not found"),
        (words(&["sh", "-c", "kill -9 $$"]), "killed by signal 9"),
        (
            words(&["sh", "-c", "exec 0<&- 1>&- 2>&-; exit 5"]),
            "status 5",
        ),
    ];
    for (words, says) in ends {
        let counter = Counter::new();
        let hop = router.local().shell_words(counter.before(words));
        assert_says(
            &refused(hop.connect(), Kind::Exited),
            &["its program ", says, "before an agent was up"],
        );
        assert_eq!(counter.starts(), 1, "{says}");
    }
}

#[test]
fn a_hop_program_that_hangs_is_killed_with_its_children() {
    let _leaks = Leaks::begin();
    let router = router();
    let hanging = [
        ("it waits", "exec tail -f /dev/null"),
        ("it reads and says nothing", "exec cat >/dev/null"),
        ("it ignores SIGTERM", "trap '' TERM; tail -f /dev/null"),
        (
            "it has closed its streams",
            "exec 0<&- 1>&- 2>&-; exec tail -f /dev/null",
        ),
        ("its child holds the streams", "tail -f /dev/null & wait"),
    ];
    for (how, script) in hanging {
        let hop = router
            .local()
            .shell_words(words(&["sh", "-c", script, "sh"]))
            .timeout(SHORT);
        let error = hop.connect().expect_err("it hangs");
        let error = error.as_connect().expect("it is about the hop");
        // A program that has closed its streams is killed before the timeout.
        assert!(
            matches!(error.kind, Kind::TimedOut | Kind::Exited),
            "{how}: {error}"
        );
        assert_says(error, &["local (local): "]);
        let gone = eventually(LIMIT, || {
            descendants(std::process::id())
                .iter()
                .all(|seen| seen.name != "tail" && seen.name != "cat")
        });
        assert!(gone, "{how}: {:?}", descendants(std::process::id()));
    }
}

#[test]
fn the_timeout_error_quotes_the_output_of_a_hanging_hop_program() {
    let _leaks = Leaks::begin();
    let router = router();
    let script = "echo 'Enter your token:' >&2; exec tail -f /dev/null";
    let hop = router
        .local()
        .shell_words(words(&["sh", "-c", script, "sh"]))
        .timeout(SHORT);
    assert_says(
        &refused(hop.connect(), Kind::TimedOut),
        &["last output: \"Enter your token:\""],
    );
}

#[test]
fn a_missing_hop_program_is_named_and_asked_if_installed() {
    let _leaks = Leaks::begin();
    let router = router();
    let hop = router.local().shell_words(words(&["/nonexistent/shell"]));
    let error = refused(hop.connect(), Kind::Start);
    assert_says(
        &error,
        &[
            "/nonexistent/shell cannot be started: No such file",
            "is /nonexistent/shell installed",
        ],
    );
    let error = refused(
        router.ssh("web1").program("no-such-ssh").connect(),
        Kind::Start,
    );
    assert_says(
        &error,
        &[
            "ssh.web1 (ssh:web1): no-such-ssh cannot be started",
            "is no-such-ssh installed",
        ],
    );
    let error = refused(
        router
            .local()
            .shell_words(words(&["/etc/passwd"]))
            .connect(),
        Kind::Start,
    );
    assert_says(
        &error,
        &["/etc/passwd cannot be started: Permission denied"],
    );
}

#[test]
fn a_nologin_account_is_quoted_and_not_retried() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let config = server.config().display().to_string();
    let hop = router.ssh("web1").config(config.clone()).user(NOLOGIN.name);
    let error = refused(hop.connect(), Kind::Restricted);
    assert_says(
        &error,
        &[
            "ssh.web1 (ssh:nologin@web1, nologin@127.0.0.1:",
            "\"This account is currently not available.\"",
            "use an account with a shell",
        ],
    );
    assert_eq!(sessions(&server), 1);
    up(router.ssh("web1").config(config).user(PLAIN.name).connect());
}

#[test]
fn calls_queued_for_a_failed_hop_return_its_error() {
    let _leaks = Leaks::begin();
    let router = router();
    let connecting = router
        .local()
        .shell_words(words(&["sh", "-c", "exit 5"]))
        .start()
        .expect("the order is sent");
    let call = connecting.context().start(ping {});
    let below = connecting
        .context()
        .local()
        .start()
        .expect("the order is sent")
        .context()
        .start(ping {});
    for reply in [call, below] {
        let Err(CallError::Failed(Error::Undelivered {
            context,
            reason,
            detail,
        })) = reply.wait()
        else {
            panic!("not returned");
        };
        assert!(context.starts_with("local"), "{context}");
        assert_eq!(reason, Reason::ConnectFailed, "{detail}");
        assert!(detail.contains("ended with status 5"), "{detail}");
    }
    refused(connecting.wait(), Kind::Exited);
}

#[test]
fn a_local_image_that_is_damaged_or_missing_is_named_by_its_path() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("agents");
    let folder = scratch
        .path()
        .join(format!("{}-unknown-linux-musl", std::env::consts::ARCH));
    let file = folder.join("offshoot-agent.image");
    let agents = || {
        Router::builder()
            .agents(scratch.path())
            .start()
            .expect("a router needs no image")
    };
    let named = file.display().to_string();

    let error = refused(agents().local().connect(), Kind::Platform);
    assert_says(&error, &[&named, "does not exist"]);
    fs::create_dir(&folder).expect("ours");
    fs::write(&file, "not an image").expect("ours");
    let error = refused(agents().local().connect(), Kind::Platform);
    assert_says(&error, &[&named, "damaged", "cargo xtask build-agent"]);
}

#[test]
fn a_damaged_image_payload_is_detected_on_the_target() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("agents");
    let name = format!(
        "{}-unknown-linux-musl/offshoot-agent.image",
        std::env::consts::ARCH
    );
    let whole = Path::new(&std::env::var_os("OFFSHOOT_AGENTS").expect("set by xtask")).join(&name);
    let mut bytes = fs::read(whole).expect("built");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let file = scratch.path().join(&name);
    fs::create_dir(file.parent().expect("it has one")).expect("ours");
    fs::write(&file, bytes).expect("ours");
    let router = Router::builder()
        .agents(scratch.path())
        .start()
        .expect("a router needs no image");
    for hop in [router.local(), router.local().shell("/bin/sh")] {
        let error = refused(hop.connect(), Kind::Bootstrap);
        assert_says(
            &error,
            &["does not match its checksum", "cargo xtask build-agent"],
        );
    }
}

#[test]
fn programs_that_a_failing_hop_has_started_end_with_it() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("wrapper");
    let router = router();
    for (script, kind) in [
        // Its streams stay open, so the hop ends by its timeout.
        ("sleep 100001", Kind::TimedOut),
        ("trap '' TERM; sleep 100001 & wait; wait", Kind::TimedOut),
        // It ends itself and leaves a program.
        (
            "trap '' TERM; sleep 100001 >&- 2>&- <&- & exit 3",
            Kind::Exited,
        ),
        ("exec >&- 2>&- <&-; sleep 100001", Kind::Exited),
    ] {
        let wrapper = scratch.file("wrapper", format!("#!/bin/sh\n{script}\n"), 0o755);
        let hop = router.command_hop([wrapper.to_str().expect("our own path")]);
        refused(hop.timeout(SHORT).connect(), kind);
        let gone = eventually(LIMIT, || {
            let mut all = descendants(1);
            all.retain(|seen| seen.arguments == "sleep 100001");
            all.is_empty()
        });
        assert!(gone, "{script}");
    }
}
