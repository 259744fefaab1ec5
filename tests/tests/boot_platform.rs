//! Hosts of another platform. The matching image is sent at the second attempt; without one, the
//! error lists the images there are.
//!
//! The aarch64 hosts run under qemu, registered in a user namespace of their own, so that nothing
//! of this machine changes. Skipped without qemu-user-static or on a kernel before 6.7.

use offshoot::ConnectErrorKind as Kind;
use offshoot::stock::echo;
use offshoot_tests::Leaks;
use offshoot_tests::hop::{assert_says, facts_of, reached, refused, router, runs_a_program};
use offshoot_tests::qemu::{AARCH64, Renamed, Whole};
use offshoot_tests::shells::{Sh, Tools};

#[test]
fn another_platform_gets_its_image_on_the_second_attempt_and_is_remembered() {
    let _leaks = Leaks::begin();
    if !AARCH64.runs_here() {
        return;
    }
    let router = router();
    let host = Renamed::called("aarch64");
    let words = host.words(&AARCH64.words());
    let context = router
        .local()
        .shell_words(words.clone())
        .connect()
        .expect("the other image is sent");
    assert_eq!(facts_of(&context).platform, "aarch64");
    assert_eq!(
        host.counter.starts(),
        2,
        "for this platform, then for its own"
    );
    let text = "over the other platform ".repeat(10_000);
    assert!(
        context
            .call(echo { text: text.clone() })
            .expect("it answers")
            == text
    );
    let again = router
        .local()
        .shell_words(words)
        .connect()
        .expect("it is remembered");
    assert_eq!(facts_of(&again).platform, "aarch64");
    assert_eq!(host.counter.starts(), 3, "at the first attempt now");
}

#[test]
fn a_host_with_an_aarch64_userland_is_detected_and_connected() {
    let _leaks = Leaks::begin();
    if !AARCH64.runs_here() {
        return;
    }
    let Some(busybox) = AARCH64.busybox() else {
        return;
    };
    let host = Whole::with(&busybox);
    let router = router();
    let context = reached(&router, host.words(&AARCH64.words()));
    let facts = facts_of(&context);
    assert_eq!(facts.platform, "aarch64");
    assert!(facts.kernel.ends_with(" aarch64"), "{}", facts.kernel);
    assert_eq!(
        host.counter.starts(),
        2,
        "for this platform, then for its own"
    );
    let output = context
        .command("/bin/busybox")
        .args(["uname", "-m"])
        .output()
        .expect("its programs run");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "aarch64\n");
}

#[test]
fn a_call_sent_with_the_wrong_image_is_answered_by_the_right_one() {
    let _leaks = Leaks::begin();
    if !AARCH64.runs_here() {
        return;
    }
    let router = router();
    let host = Renamed::called("aarch64");
    let connecting = router
        .local()
        .shell_words(host.words(&AARCH64.words()))
        .start()
        .expect("the order is sent");
    let reply = connecting.context().start(offshoot::stock::facts {});
    assert_eq!(reply.wait().expect("it is answered").platform, "aarch64");
    connecting.wait().expect("it has answered");
}

#[test]
fn an_agent_of_another_platform_starts_children_of_both_platforms() {
    let _leaks = Leaks::begin();
    if !AARCH64.runs_here() {
        return;
    }
    let router = router();
    let host = Renamed::called("aarch64");
    let other = router
        .local()
        .shell_words(host.words(&AARCH64.words()))
        .connect()
        .expect("the other image is sent");
    let same = other.local().connect().expect("from its own image");
    assert_eq!(facts_of(&same).platform, "aarch64");
    // The real `uname` of this machine: the image has to come from the root.
    let ours = other.local().shell_words(vec![
        "/usr/bin/env".into(),
        "PATH=/usr/bin:/bin".into(),
        "/bin/sh".into(),
    ]);
    let ours = ours.connect().expect("from an image that is fetched");
    assert_eq!(facts_of(&ours).platform, std::env::consts::ARCH);
}

#[test]
fn a_descendant_fetches_the_other_image_from_the_root_once() {
    let _leaks = Leaks::begin();
    if !AARCH64.runs_here() {
        return;
    }
    let router = router();
    let parent = router.local().connect().expect("a child of this program");
    let host = Renamed::called("aarch64");
    let first = parent
        .local()
        .shell_words(host.words(&AARCH64.words()))
        .connect()
        .expect("it is fetched");
    assert_eq!(facts_of(&first).platform, "aarch64");
    let before = router.bytes_sent();
    let second = parent
        .local()
        .shell_words(host.words(&AARCH64.words()))
        .connect()
        .expect("it is at hand");
    assert_eq!(facts_of(&second).platform, "aarch64");
    assert_eq!(host.counter.starts(), 3);
    let sent = router.bytes_sent() - before;
    assert!(
        sent < 16 * 1024,
        "{sent} bytes for an order and a call: the image went down again"
    );
}

#[test]
fn an_unsupported_platform_is_named_with_the_supported_ones() {
    let _leaks = Leaks::begin();
    let router = router();
    for machine in ["armv6l", "ppc64le", "vax"] {
        let host = Renamed::called(machine);
        let error = refused(
            router.local().shell_words(host.words(&[])).connect(),
            Kind::Platform,
        );
        assert_says(
            &error,
            &[
                &format!("local (local): its machine is {machine}"),
                "x86_64, aarch64, i686, armv7l and riscv64",
            ],
        );
        assert_eq!(
            host.counter.starts(),
            1,
            "{machine}: no second attempt can help"
        );
    }
}

#[test]
fn a_host_that_lies_about_its_platform_fails_after_two_attempts() {
    let _leaks = Leaks::begin();
    let router = router();
    let other = if std::env::consts::ARCH == "x86_64" {
        "aarch64"
    } else {
        "x86_64"
    };
    let host = Renamed::called(other);
    let error = refused(
        router.local().shell_words(host.words(&[])).connect(),
        Kind::Bootstrap,
    );
    assert_eq!(
        host.counter.starts(),
        2,
        "for this platform, then for the one it names"
    );
    // Its loader cannot be executed anywhere, which looks the same as a noexec mount.
    assert_says(
        &error,
        &["no directory there is both writable and executable"],
    );
}

#[test]
fn a_host_without_uname_is_assumed_to_have_our_platform() {
    let _leaks = Leaks::begin();
    let router = router();
    let tools = Tools::only(Sh::Dash, &["mkdir", "chmod", "rm"]);
    let words = [
        "env",
        "-i",
        &format!("PATH={}", tools.path()),
        &format!("{}/sh", tools.path()),
    ]
    .map(str::to_owned);
    let context = router
        .local()
        .shell_words(words.into())
        .connect()
        .expect("the guess is right");
    assert_eq!(facts_of(&context).platform, std::env::consts::ARCH);
}

#[test]
fn an_agent_under_qemu_ends_with_its_tree() {
    let leaks = Leaks::begin();
    if !AARCH64.runs_here() {
        return;
    }
    let router = router();
    let host = Renamed::called("aarch64");
    let context = reached(&router, host.words(&AARCH64.words()));
    runs_a_program(&context);
    drop((context, router, host));
    leaks.check().expect("all of it is gone");
}
