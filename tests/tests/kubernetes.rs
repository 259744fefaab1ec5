//! Hops into pods by a real kubectl, with an API server of the fixtures.

use std::path::Path;

use offshoot::ConnectErrorKind as Kind;
use offshoot_tests::boxes::{ends_with_its_link, fails, said, up};
use offshoot_tests::kube::{Kube, kubectl};
use offshoot_tests::tree::{facts, router};
use offshoot_tests::{Leaks, Run, skip};

/// Returns the options of a hop for a server, or `None` if no kubectl can be used.
fn options(kube: &Kube) -> Option<String> {
    let Some(kubectl) = kubectl() else {
        skip("kubectl is missing, or older than 1.31");
        return None;
    };
    let options = format!(
        "kubeconfig=[{}],arg=[{}],program=[{}]",
        kube.config(),
        kube.cache(),
        kubectl.display()
    );
    Some(options)
}

#[test]
fn kubectl_reaches_a_container_of_a_pod() {
    let _leaks = Leaks::begin();
    let kube = Kube::start();
    let Some(options) = options(&kube) else {
        return;
    };
    let router = router();
    let context = up(&router, &format!("kubectl:app,{options}"));
    assert_eq!((context.name(), facts(&context).uid), ("kubectl.app", 0));
    assert_eq!(said(&context, &["cat", "/etc/os-release"]), "ID=busybox");
    let target = format!(
        "local/kubectl:app,{options},namespace=web,container=main,context=c,env=A=b c,dir=[/tmp]/local"
    );
    let all = up(&router, &target);
    assert_eq!(said(&all, &["sh", "-c", "echo $A.$PWD"]), "b c./tmp");
    // As much as passes through several messages in both directions.
    let bytes: Vec<u8> = (0..3_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let run = Run::offshoot(["run", &format!("kubectl:app,{options}"), "--", "cat"]);
    let seen = run.stdin(bytes.clone()).finish().expect_code(0);
    assert!(seen.stdout == bytes, "the bytes have changed");
    let command = format!(
        "command:[{} --kubeconfig={} {} exec -i app -- sh -c]",
        kubectl().expect("it was found").display(),
        kube.config(),
        kube.cache()
    );
    up(&router, &command);
}

#[test]
fn kubectl_names_each_reason_of_a_failure() {
    let _leaks = Leaks::begin();
    let kube = Kube::start();
    let Some(options) = options(&kube) else {
        return;
    };
    let router = router();
    for (hop, kind, parts) in [
        (
            "kubectl:missing",
            Kind::NotFound,
            &[
                "it does not exist: pods \"missing\" not found",
                "kubectl get pods",
            ][..],
        ),
        ("kubectl:over", Kind::NotRunning, &["the pod has ended"]),
        (
            "kubectl:app,container=none",
            Kind::NotFound,
            &["the pod has no such container", "container="],
        ),
        (
            "kubectl:app,container=bare",
            Kind::NoShell,
            &["no program sh", "busybox"],
        ),
        (
            "kubectl:app,namespace=closed",
            Kind::Denied,
            &["may not do that", "pods/exec"],
        ),
        (
            "kubectl:app,context=away",
            Kind::Unreachable,
            &["nothing listens at the server"],
        ),
        (
            "kubectl:app,context=none",
            Kind::NotFound,
            &["no such context: none", "get-contexts"],
        ),
    ] {
        fails(&router, &format!("{hop},{options}"), kind, parts);
    }
    let program = options.split("program=").nth(1).expect("it is the last");
    for (hop, kind, parts) in [
        (
            format!("kubectl:app,kubeconfig=[/no/file],program={program}"),
            Kind::NotFound,
            "no such configuration: /no/file",
        ),
        (
            "kubectl:app,program=no-such-kubectl".to_owned(),
            Kind::Start,
            "is no-such-kubectl installed there?",
        ),
    ] {
        fails(&router, &hop, kind, &[parts]);
    }
    assert!(
        !Path::new("/root/.kube").exists(),
        "kubectl has kept a cache at home"
    );
}

#[test]
fn a_pod_keeps_no_process_of_a_hop() {
    let _leaks = Leaks::begin();
    let kube = Kube::start();
    let Some(options) = options(&kube) else {
        return;
    };
    ends_with_its_link(&format!("kubectl:app,{options}"), "exec -i app", |_| {});
}
