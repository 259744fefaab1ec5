//! Hops into containers with a system of their own: real LXC and LXD.

use offshoot::ConnectErrorKind as Kind;
use offshoot_tests::boxes::{ends_with_its_link, fails, said, up};
use offshoot_tests::lxc::Lxc;
use offshoot_tests::lxd::Lxd;
use offshoot_tests::tree::{facts, router};
use offshoot_tests::{Leaks, Run};

#[test]
fn lxc_enters_a_container_with_an_environment_of_its_own() {
    let _leaks = Leaks::begin();
    let mut lxc = Lxc::new();
    lxc.create("one");
    lxc.run("lxc-start", "one", &[]);
    let router = router();
    let plain = router.lxc("one").path(lxc.folder()).connect();
    let plain = plain.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((plain.name(), facts(&plain).uid), ("lxc.one", 0));
    assert_eq!(said(&plain, &["hostname"]), "one");
    let echo = ["sh", "-c", "echo $container.${OFFSHOOT_SANDBOX-unset}"];
    assert_eq!(said(&plain, &echo), "lxc.unset");
    let folder = lxc.folder();
    let all = up(
        &router,
        &format!("lxc:one,path=[{folder}],user=7,env=A=b c,dir=[/tmp]/local"),
    );
    assert_eq!(facts(&all).uid, 7);
    assert_eq!(said(&all, &["sh", "-c", "echo $A.$PWD"]), "b c./tmp");
    let inside = up(&router, &format!("setns:one,kind=lxc,path=[{folder}]"));
    assert_eq!(said(&inside, &["hostname"]), "one");
    let run = Run::offshoot([
        "run",
        &format!("local/lxc:one,path=[{folder}]"),
        "--",
        "hostname",
    ]);
    assert_eq!(run.finish().expect_code(0).out(), "one\n");
}

#[test]
fn lxc_names_each_reason_of_a_failure() {
    let _leaks = Leaks::begin();
    let mut lxc = Lxc::new();
    for name in ["one", "off"] {
        lxc.create(name);
    }
    lxc.run("lxc-start", "one", &[]);
    let folder = lxc.folder().to_owned();
    let router = router();
    for (hop, kind, parts) in [
        (
            "lxc:missing",
            Kind::NotFound,
            &["no such container: missing", "lxc-ls"][..],
        ),
        (
            "lxc:off",
            Kind::NotRunning,
            &["not running, its state is STOPPED", "lxc-start"],
        ),
        (
            "lxc:one,program=no-such-attach",
            Kind::Start,
            &["no such program there: no-such-attach", "program="],
        ),
        ("setns:off,kind=lxc", Kind::NotRunning, &["is not running"]),
        (
            "setns:missing,kind=lxc",
            Kind::NotFound,
            &["no such container: missing"],
        ),
    ] {
        fails(&router, &format!("{hop},path=[{folder}]"), kind, parts);
    }
    let denied = format!("sudo:plain/lxc:one,path=[{folder}]");
    fails(
        &router,
        &denied,
        Kind::Denied,
        &["may not enter the container", "sudo/lxc:NAME"],
    );
    lxc.run("lxc-freeze", "one", &[]);
    let frozen = format!("lxc:one,path=[{folder}]");
    fails(
        &router,
        &frozen,
        Kind::NotRunning,
        &["is frozen", "lxc-unfreeze"],
    );
    lxc.run("lxc-unfreeze", "one", &[]);
    let shell = format!("{folder}/one/rootfs/bin/sh");
    std::fs::remove_file(shell).expect("the template has made it");
    fails(
        &router,
        &frozen,
        Kind::NoShell,
        &["no program sh", "busybox"],
    );
}

#[test]
fn a_container_of_lxc_keeps_no_process_of_a_hop() {
    let _leaks = Leaks::begin();
    let mut lxc = Lxc::new();
    lxc.create("one");
    lxc.run("lxc-start", "one", &[]);
    let target = format!("lxc:one,path=[{}]", lxc.folder());
    ends_with_its_link(&target, "lxc-attach", |_| {});
}

#[test]
fn lxd_enters_an_instance_with_the_options_of_its_own_tool() {
    let _leaks = Leaks::begin();
    let mut lxd = Lxd::start();
    lxd.instance("one", true);
    let router = router();
    let plain = router.lxd("one").connect();
    let plain = plain.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((plain.name(), facts(&plain).uid), ("lxd.one", 0));
    assert_eq!(said(&plain, &["hostname"]), "one");
    let target = "local/lxd:one,user=1000,project=default,remote=local,env=A=b c,dir=[/tmp]/local";
    let all = up(&router, target);
    assert_eq!(facts(&all).uid, 1000);
    assert_eq!(said(&all, &["sh", "-c", "echo $A.$PWD"]), "b c./tmp");
    let inside = up(&router, "setns:one,kind=lxd");
    assert_eq!(said(&inside, &["hostname"]), "one");
    assert_eq!(facts(&inside).uid, 0, "the root of its user namespace");
}

#[test]
fn lxd_names_each_reason_of_a_failure() {
    let _leaks = Leaks::begin();
    let mut lxd = Lxd::start();
    lxd.instance("one", true);
    lxd.instance("off", false);
    let router = router();
    for (target, kind, parts) in [
        (
            "lxd:missing",
            Kind::NotFound,
            &["no such instance", "list"][..],
        ),
        ("lxd:off", Kind::NotRunning, &["is not running", "start"]),
        (
            "lxd:one,remote=nowhere",
            Kind::NotFound,
            &["no such remote: nowhere", "remote="],
        ),
        ("lxd:one,dir=[/no/folder]", Kind::Start, &["/no/folder"]),
        (
            "lxd:one,program=no-such-lxc",
            Kind::Start,
            &["is no-such-lxc installed there?"],
        ),
        (
            "command:[env LXD_DIR=/none],word=sh,word=-c/lxd:one",
            Kind::Unreachable,
            &["daemon cannot be reached", "is it running there?"],
        ),
        ("setns:off,kind=lxd", Kind::NotRunning, &["is not running"]),
        (
            "setns:missing,kind=lxd",
            Kind::NotFound,
            &["no such container"],
        ),
    ] {
        fails(&router, target, kind, parts);
    }
    let data = std::env::var("LXD_DIR").expect("the fixture sets it");
    let target = format!("sudo:plain/command:[env LXD_DIR={data}],word=sh,word=-c/lxd:one");
    let plain = fails(&router, &target, Kind::Denied, &["may not use the daemon"]);
    assert!(plain.hint.contains("group"), "{plain}");
    lxd.run("lxc", &["exec", "one", "--", "rm", "/bin/sh"], b"");
    fails(
        &router,
        "lxd:one",
        Kind::NoShell,
        &["no program sh", "busybox"],
    );
    lxd.run("lxc", &["pause", "one"], b"");
    fails(&router, "lxd:one", Kind::NotRunning, &["is frozen"]);
}

#[test]
fn an_instance_of_lxd_keeps_no_process_of_a_hop() {
    let _leaks = Leaks::begin();
    let mut lxd = Lxd::start();
    lxd.instance("one", true);
    ends_with_its_link("lxd:one", "lxc exec", |after| {
        let gone = offshoot_tests::process::eventually(offshoot_tests::run::LIMIT, || {
            let state = lxd.run("lxc", &["query", "/1.0/instances/one/state"], b"");
            state.contains("\"processes\": 2")
        });
        assert!(gone, "after {after}");
    });
}
