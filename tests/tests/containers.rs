//! Hops into containers of real Docker, Podman and Buildah, and into temporary ones.

use offshoot::ConnectErrorKind as Kind;
use offshoot_tests::boxes::{
    ends_with_its_link, fails, is_removed_however_early, no_agent_stays, said, up,
};
use offshoot_tests::docker::{self, Docker};
use offshoot_tests::podman::{self, Podman};
use offshoot_tests::rootfs::APP;
use offshoot_tests::tree::{facts, router};
use offshoot_tests::{Leaks, Run};

#[test]
fn docker_reaches_a_container_with_the_options_of_its_own_tool() {
    let _leaks = Leaks::begin();
    let docker = Docker::start();
    docker.container("app", docker::IMAGE);
    let router = router();
    let plain = router.docker("app").connect();
    let plain = plain.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (plain.name(), facts(&plain).user.as_str()),
        ("docker.app", "root")
    );
    let host = said(&plain, &["hostname"]);
    assert!(docker.run(&["ps", "-q"]).contains(&host), "{host}");
    let target = "docker:app,user=app,env=A=b c,env=B=,dir=[/tmp],host=[unix:///run/docker.sock],arg=--env=C=d";
    let all = up(&router, target);
    assert_eq!(facts(&all).uid, APP.1);
    let seen = said(&all, &["sh", "-c", "echo $A.${B-unset}.$C.$PWD"]);
    assert_eq!(seen, "b c..d./tmp");
    // A container can be named by its id.
    let id = docker.run(&["ps", "-q", "-f", "name=app"]);
    up(&router, &format!("docker:{}", id.trim()));
}

#[test]
fn docker_nests_with_every_other_hop() {
    let _leaks = Leaks::begin();
    let docker = Docker::start();
    docker.container("app", docker::IMAGE);
    let run = Run::offshoot(["run", "local/sudo/docker:app/local/local,shell=sh", "--"]);
    let seen = run.args(["cat", "/etc/os-release"]).finish().expect_code(0);
    assert_eq!(seen.out(), "ID=busybox\n");
    no_agent_stays("the end of the command");
}

#[test]
fn docker_names_each_reason_of_a_failure() {
    let _leaks = Leaks::begin();
    let docker = Docker::start();
    docker.container("app", docker::IMAGE);
    docker.container("noshell", docker::NO_SHELL);
    docker.container("paused", docker::IMAGE);
    docker.run(&["pause", "paused"]);
    docker.run(&["run", "--name", "over", docker::IMAGE, "true"]);
    let router = router();
    for (target, kind, parts) in [
        (
            "docker:missing",
            Kind::NotFound,
            &[
                "there is no such container: missing",
                "docker ps",
                "No such container: missing",
            ][..],
        ),
        (
            "docker:over",
            Kind::NotRunning,
            &["is not running", "docker start"],
        ),
        (
            "docker:paused",
            Kind::NotRunning,
            &["is paused", "docker unpause"],
        ),
        (
            "docker:noshell",
            Kind::NoShell,
            &["no program sh", "busybox", "executable file not found"],
        ),
        (
            "docker:app,user=ghost",
            Kind::NoSuchUser,
            &["no such user: ghost"],
        ),
        (
            "docker:app,user=[0:ghosts]",
            Kind::NoSuchUser,
            &["no such group: ghosts"],
        ),
        (
            "docker:app,dir=[/no/folder]",
            Kind::NotFound,
            &["no such working directory: /no/folder"],
        ),
        (
            "docker:app,host=[unix:///run/none]",
            Kind::Unreachable,
            &["daemon cannot be reached: unix:///run/none", "host="],
        ),
        (
            "docker:app,program=no-such-docker",
            Kind::Start,
            &["is no-such-docker installed there?"],
        ),
        (
            "docker,image=noimage,arg=--pull=never",
            Kind::NotFound,
            &["no such image: noimage", "docker images"],
        ),
        (
            "docker,image=noimage",
            Kind::NotFound,
            &[
                "no such image, and it could not be fetched: noimage:latest",
                "docker pull",
            ],
        ),
        (
            "docker,image=[offshoot/noshell:1]",
            Kind::NoShell,
            &["no program sh"],
        ),
        (
            "docker,image=[offshoot/busybox:1],user=ghost",
            Kind::NoSuchUser,
            &["no such user: ghost"],
        ),
    ] {
        let error = fails(&router, target, kind, parts);
        assert!(
            !error.output.is_empty() || kind == Kind::Start,
            "nothing is quoted: {error}"
        );
    }
    // A container that a failed hop has made is gone as well.
    docker.run(&["rm", "over"]);
    let mut left = docker.containers();
    left.sort();
    assert_eq!(left, ["app", "noshell", "paused"]);
    let denied = fails(
        &router,
        "local/sudo:plain/docker:app",
        Kind::Denied,
        &["may not use the Docker daemon", "sudo/docker:NAME"],
    );
    assert_eq!(denied.hop, "docker:app");
}

#[test]
fn a_container_of_docker_keeps_no_process_of_a_hop() {
    let _leaks = Leaks::begin();
    let docker = Docker::start();
    docker.container("app", docker::IMAGE);
    ends_with_its_link("docker:app", "docker exec", |after| {
        let seen = docker::processes("app");
        assert_eq!(seen.lines().count(), 2, "after {after}: {seen}");
    });
}

#[test]
fn a_temporary_container_of_docker_is_always_removed() {
    let _leaks = Leaks::begin();
    let docker = Docker::start();
    let router = router();
    let context = router.docker_image(docker::IMAGE).user("app").connect();
    let context = context.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(facts(&context).uid, APP.1);
    assert_eq!(context.name(), "docker.offshoot/busybox:1");
    drop((context, router));
    ends_with_its_link("docker,image=[offshoot/busybox:1]", "docker run", |after| {
        let gone = offshoot_tests::process::eventually(offshoot_tests::run::LIMIT, || {
            docker.containers().is_empty()
        });
        assert!(gone, "after {after}: {:?}", docker.containers());
    });
    is_removed_however_early("docker,image=[offshoot/busybox:1]", || docker.containers());
}

#[test]
fn podman_reaches_a_container_with_the_options_of_its_own_tool() {
    let _leaks = Leaks::begin();
    let podman = Podman::start();
    podman.container("app", podman::IMAGE);
    let router = router();
    let plain = router.podman("app").connect();
    let plain = plain.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (plain.name(), facts(&plain).user.as_str()),
        ("podman.app", "root")
    );
    let all = up(
        &router,
        "podman:app,user=app,env=A=b c,dir=[/tmp],arg=--env=C=d/local",
    );
    assert_eq!(facts(&all).uid, APP.1);
    assert_eq!(said(&all, &["sh", "-c", "echo $A.$C.$PWD"]), "b c.d./tmp");
}

#[test]
fn podman_names_each_reason_of_a_failure() {
    let _leaks = Leaks::begin();
    let podman = Podman::start();
    podman.container("app", podman::IMAGE);
    podman.container("noshell", podman::NO_SHELL);
    podman.container("paused", podman::IMAGE);
    podman.run("podman", &["pause", "paused"]);
    let router = router();
    for (target, kind, parts) in [
        (
            "podman:missing",
            Kind::NotFound,
            &["there is no such container: missing", "podman ps"][..],
        ),
        (
            "podman:paused",
            Kind::NotRunning,
            &["is paused", "podman unpause"],
        ),
        (
            "podman:noshell",
            Kind::NoShell,
            &["no program sh", "busybox"],
        ),
        (
            "podman:app,user=ghost",
            Kind::NoSuchUser,
            &["no such user: ghost"],
        ),
        (
            "podman:app,dir=[/no/folder]",
            Kind::NotFound,
            &["no such working directory: /no/folder"],
        ),
        (
            "podman:app,host=[unix:///run/none]",
            Kind::Unreachable,
            &["service cannot be reached", "host="],
        ),
        (
            "podman:app,program=no-such-podman",
            Kind::Start,
            &["is no-such-podman installed there?"],
        ),
        (
            "podman,image=noimage,arg=--pull=never",
            Kind::NotFound,
            &["no such image: noimage", "podman images"],
        ),
        (
            "podman,image=[localhost/offshoot-noshell:1],arg=--network=none",
            Kind::NoShell,
            &["no program sh"],
        ),
    ] {
        fails(&router, target, kind, parts);
    }
    let mut left = podman.containers();
    left.sort();
    assert_eq!(left, ["app", "noshell", "paused"]);
}

#[test]
fn a_container_of_podman_keeps_no_process_of_a_hop() {
    let _leaks = Leaks::begin();
    let podman = Podman::start();
    podman.container("app", podman::IMAGE);
    ends_with_its_link("podman:app", "podman exec", |after| {
        let seen = podman.run("podman", &["top", "app", "pid", "args"]);
        assert_eq!(seen.lines().count(), 2, "after {after}: {seen}");
    });
}

#[test]
fn a_temporary_container_of_podman_is_always_removed() {
    let _leaks = Leaks::begin();
    let podman = Podman::start();
    let target = "podman,image=[localhost/offshoot-busybox:1],arg=--network=none";
    ends_with_its_link(target, "podman run", |after| {
        let gone = offshoot_tests::process::eventually(offshoot_tests::run::LIMIT, || {
            podman.containers().is_empty()
        });
        assert!(gone, "after {after}: {:?}", podman.containers());
    });
    is_removed_however_early(target, || podman.containers());
}

#[test]
fn buildah_reaches_a_container_with_the_options_of_its_own_tool() {
    let _leaks = Leaks::begin();
    let podman = Podman::start();
    podman.build_container("work", podman::IMAGE);
    let router = router();
    let target = "local/buildah:work,user=app,env=A=b c,dir=[/tmp],arg=--network=none/local";
    let all = up(&router, target);
    assert_eq!(facts(&all).uid, APP.1);
    assert_eq!(said(&all, &["sh", "-c", "echo $A.$PWD"]), "b c./tmp");
    assert_eq!(said(&all, &["cat", "/etc/os-release"]), "ID=busybox");
}

#[test]
fn buildah_names_each_reason_of_a_failure() {
    let _leaks = Leaks::begin();
    let podman = Podman::start();
    podman.build_container("work", podman::IMAGE);
    podman.build_container("noshell", podman::NO_SHELL);
    let router = router();
    for (hop, kind, parts) in [
        (
            "buildah:missing",
            Kind::NotFound,
            &["there is no such container: missing", "buildah containers"][..],
        ),
        (
            "buildah:noshell",
            Kind::NoShell,
            &["cannot start sh", "POSIX shell"],
        ),
        (
            "buildah:work,user=ghost",
            Kind::NoSuchUser,
            &["no such user: ghost"],
        ),
        (
            "buildah:work,program=no-such-buildah",
            Kind::Start,
            &["is no-such-buildah installed there?"],
        ),
    ] {
        fails(&router, &format!("{hop},arg=--network=none"), kind, parts);
    }
}

#[test]
fn a_container_of_buildah_keeps_no_process_of_a_hop() {
    let _leaks = Leaks::begin();
    let podman = Podman::start();
    podman.build_container("work", podman::IMAGE);
    ends_with_its_link("buildah:work,arg=--network=none", "buildah run", |_| {});
}
