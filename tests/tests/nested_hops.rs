//! Hops through other hops. Each parent starts its child from its own image, and a whole chain is
//! sent without waiting.

use std::collections::BTreeSet;
use std::fs;

use nix::sys::signal::Signal;
use offshoot::{ConnectErrorKind as Kind, Connecting, Context, Error, Reason, stock};
use offshoot_tests::process::signal;
use offshoot_tests::tree::{facts, hop, refused, router};
use offshoot_tests::users::{NOPASS, PASSWORD, PLAIN, PW, client_key};
use offshoot_tests::{Leaks, Sshd};

#[track_caller]
fn opened<T>(outcome: offshoot::Result<T>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

fn key() -> String {
    client_key().to_str().expect("our own path").to_owned()
}

/// Returns the size of the image for this machine.
fn image_size() -> u64 {
    let agents = std::env::var("OFFSHOOT_AGENTS").expect("`cargo xtask test` sets it");
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let image = fs::metadata(format!("{agents}/{target}/offshoot-agent.image"));
    image.expect("`cargo xtask build-agent` has made it").len()
}

#[test]
fn sudo_after_ssh_gets_its_image_from_the_remote_host() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let web1 = opened(hop(&router, &server, NOPASS).connect());
    let before = router.bytes_sent();
    assert!(
        before > image_size(),
        "the first hop's image went over the link: {before} bytes"
    );
    let root = opened(web1.sudo().connect());
    assert_eq!((facts(&root).uid, root.name()), (0, "ssh.web1.sudo.root"));
    let after = router.bytes_sent();
    assert!(
        after - before < image_size() / 20,
        "{} bytes for the second hop",
        after - before
    );
}

#[test]
fn ssh_ssh_sudo_ssh_sudo_transfers_one_image() {
    let _leaks = Leaks::begin();
    let (one, two, three) = (Sshd::start("one"), Sshd::start("two"), Sshd::start("three"));
    let router = router();
    let first = opened(hop(&router, &one, NOPASS).connect());
    let before = router.bytes_sent();
    let second = opened(first.ssh("two").user(PW.name).connect());
    let third = opened(second.sudo().password(PASSWORD).connect());
    let fourth = opened(
        third
            .ssh("three")
            .user(NOPASS.name)
            .identity(key())
            .connect(),
    );
    let fifth = opened(fourth.sudo().user(PLAIN.name).connect());
    assert_eq!(
        fifth.name(),
        "ssh.one.ssh.two.sudo.root.ssh.three.sudo.plain"
    );
    let users = [&first, &second, &third, &fourth, &fifth].map(|context| facts(context).user);
    assert_eq!(users, ["nopass", "pw", "root", "nopass", "plain"]);
    let grown = router.bytes_sent() - before;
    assert!(grown < image_size() / 2, "{grown} bytes for four more hops");
    drop((two, three));
}

#[test]
fn a_call_passes_through_ten_nested_contexts() {
    let _leaks = Leaks::begin();
    let router = router();
    let mut chain: Vec<Context> = vec![opened(router.local().connect())];
    while chain.len() < 10 {
        let next = opened(chain[chain.len() - 1].local().connect());
        chain.push(next);
    }
    assert_eq!(chain[9].name(), ["local"; 10].join("."));
    let processes: BTreeSet<u32> = chain.iter().map(|context| facts(context).process).collect();
    assert_eq!(processes.len(), 10);
    let text = "x".repeat(1 << 20);
    assert_eq!(
        opened(
            chain[9]
                .call(stock::echo { text: text.clone() })
                .map_err(Error::from)
        ),
        text
    );
}

#[test]
fn nested_hops_and_a_call_behind_them_are_sent_without_waiting() {
    let _leaks = Leaks::begin();
    let (one, _two) = (Sshd::start("one"), Sshd::start("two"));
    let router = router();
    let first = opened(hop(&router, &one, NOPASS).start());
    let second = opened(first.context().ssh("two").user(PW.name).start());
    let third = opened(second.context().sudo().password(PASSWORD).start());
    let fourth = opened(third.context().sudo().user(PLAIN.name).start());
    let reply = fourth.context().start(stock::facts {});
    let output = opened(fourth.context().command("id").arg("-un").output());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "plain\n");
    assert_eq!(opened(reply.wait().map_err(Error::from)).user, "plain");
    for connecting in [first, second, third, fourth] {
        opened(connecting.wait());
    }
}

#[test]
fn a_failed_hop_is_named_in_the_errors_of_everything_behind_it() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let first = opened(hop(&router, &server, NOPASS).start());
    let failing = opened(first.context().sudo().user("ghost").start());
    let behind = opened(failing.context().local().start());
    let last = opened(behind.context().local().start());
    let reply = last.context().start(stock::facts {});
    let program = opened(last.context().command("true").spawn());
    let texts = [
        reply.wait().expect_err("its hop has failed").to_string(),
        program.wait().expect_err("its hop has failed").to_string(),
        last.wait()
            .expect_err("its parent's hop has failed")
            .to_string(),
        behind
            .wait()
            .expect_err("its parent has failed")
            .to_string(),
    ];
    for text in &texts {
        for part in [
            "ssh.web1.sudo.ghost",
            "the user to become does not exist there",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
    assert_eq!(refused(failing.wait()).kind, Kind::NoSuchUser);
    assert_eq!(facts(&opened(first.wait())).user, "nopass");
}

#[test]
fn a_lost_hop_is_named_in_the_errors_of_everything_behind_it() {
    let _leaks = Leaks::begin();
    let router = router();
    let first = opened(router.local().connect());
    let second = opened(first.local().name("broken").connect());
    let last = opened(second.local().connect());
    let gone = last.disconnected().expect("it is below");
    signal(facts(&second).process, Signal::SIGKILL);
    assert_eq!(gone.wait().reason, Reason::Lost);
    let text = |context: &Context| {
        let error = context.call(stock::ping {}).expect_err("it is lost");
        error.to_string()
    };
    let begin = "local.broken.local: connection lost: local.broken: its link has ended";
    assert!(text(&last).starts_with(begin), "{}", text(&last));
    // Not twice for the context itself.
    let begin = "local.broken: connection lost: its link has ended";
    assert!(text(&second).starts_with(begin), "{}", text(&second));
}

#[test]
fn a_failed_hop_leaves_the_hops_before_it_usable() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let web1 = opened(hop(&router, &server, PW).connect());
    for _ in 0..3 {
        assert_eq!(refused(web1.sudo().connect()).kind, Kind::PasswordRequired);
    }
    let error = refused(web1.ssh("nobody.invalid").connect());
    assert_eq!(
        (error.kind, error.context.as_str()),
        (Kind::Unreachable, "ssh.web1.ssh.nobody.invalid")
    );
    assert_eq!(
        facts(&opened(web1.sudo().password(PASSWORD).connect())).user,
        "root"
    );
}

#[test]
fn thirty_children_of_one_remote_host_connect_at_once() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = router();
    let web1 = opened(hop(&router, &server, NOPASS).start());
    let children: Vec<Connecting> = (0..30)
        .map(|_| opened(web1.context().local().start()))
        .collect();
    let replies: Vec<_> = children
        .iter()
        .map(|child| child.context().start(stock::facts {}))
        .collect();
    let processes: BTreeSet<u32> = replies
        .into_iter()
        .map(|reply| opened(reply.wait().map_err(Error::from)).process)
        .collect();
    assert_eq!(processes.len(), 30);
}
