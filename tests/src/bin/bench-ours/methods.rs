//! Hops by the methods whose counterparts start here, beside the tool's own way to run a program.

use std::process::{Command, Stdio};
use std::time::Instant;

use offshoot::target::TargetExt as _;
use offshoot::{Connecting, Result, Router, stock};
use offshoot_tests::docker::{self, Docker};
use offshoot_tests::kube::{Kube, kubectl};
use offshoot_tests::lxc::Lxc;
use offshoot_tests::podman::{self, Podman};
use offshoot_tests::process;
use offshoot_tests::rootfs::Rootfs;
use offshoot_tests::users::{self, PLAIN};

use crate::{Numbers, Outcome};

/// Returns, alternately, the seconds to connect and make a first call, and those of the tool with
/// the program `true`; nothing if this machine lacks the tool.
pub(crate) fn measure(method: &str, count: usize) -> Numbers {
    let (user, words) = (PLAIN.name, |text: &str| {
        text.split(' ').map(str::to_owned).collect::<Vec<_>>()
    });
    match method {
        "docker" => {
            let docker = Docker::start();
            docker.container("bench", docker::IMAGE);
            pairs("docker:bench", &words("docker exec -i bench true"), count)
        }
        "podman" => {
            let podman = Podman::start();
            podman.container("bench", podman::IMAGE);
            pairs("podman:bench", &words("podman exec -i bench true"), count)
        }
        "lxc" => {
            let mut lxc = Lxc::new();
            lxc.create("bench");
            lxc.run("lxc-start", "bench", &[]);
            let folder = lxc.folder().to_owned();
            let tool = format!("lxc-attach -P {folder} -n bench -- true");
            pairs(&format!("lxc:bench,path=[{folder}]"), &words(&tool), count)
        }
        "kubectl" => {
            let kube = Kube::start();
            let Some(kubectl) = kubectl() else {
                return Ok(Vec::new());
            };
            let (program, config, cache) = (kubectl.display(), kube.config(), kube.cache());
            let tool = format!("{program} --kubeconfig={config} {cache} exec -i app -- true");
            let options = format!("kubeconfig=[{config}],arg=[{cache}],program=[{program}]");
            pairs(&format!("kubectl:app,{options}"), &words(&tool), count)
        }
        "chroot" | "bwrap" | "nspawn" => {
            let root = Rootfs::busybox();
            let text = root.text();
            let tool = match method {
                "chroot" => format!("chroot {text} /bin/true"),
                "bwrap" => format!("bwrap --bind {text} / --dev /dev --proc /proc /bin/true"),
                _ => format!(
                    "systemd-nspawn -q --register=no --keep-unit --pipe -D {text} /bin/true"
                ),
            };
            pairs(&format!("{method}:[{text}]"), &words(&tool), count)
        }
        "unshare" => pairs(
            "unshare:mount+pid",
            &words("unshare --mount --pid --fork true"),
            count,
        ),
        "setns" => {
            let mut sleeper = Command::new("unshare");
            sleeper.args(["--mount", "--uts", "sleep", "100000"]);
            let mut sleeper = process::die_with_parent(&mut sleeper).spawn()?;
            let pid = sleeper.id();
            let tool = format!("nsenter -t {pid} --mount --uts true");
            let measured = pairs(&format!("setns,pid={pid}"), &words(&tool), count);
            sleeper.kill()?;
            sleeper.wait()?;
            measured
        }
        "su" | "runuser" | "sudo" => {
            users::prepare();
            let tool = match method {
                "su" => format!("su {user} -c true"),
                "runuser" => format!("runuser -u {user} -- true"),
                _ => format!("sudo -n -u {user} true"),
            };
            pairs(&format!("{method}:{user}"), &words(&tool), count)
        }
        _ => Err(format!("there is no method {method:?}").into()),
    }
}

fn pairs(target: &str, tool: &[String], count: usize) -> Numbers {
    let router = Router::new()?;
    let path = router.target(target)?;
    let mut seconds = Vec::new();
    // The first of both is not counted: files are not in memory yet.
    for round in 0..=count {
        let begun = Instant::now();
        let context = path.clone().connect()?;
        context.call(stock::ping {})?;
        let ours = begun.elapsed().as_secs_f64();
        context.shutdown()?;
        let theirs = plain(Command::new(&tool[0]).args(&tool[1..]))?;
        if round > 0 {
            seconds.extend([ours, theirs]);
        }
    }
    Ok(seconds)
}

fn plain(command: &mut Command) -> Outcome<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let begun = Instant::now();
    let status = command.status()?;
    let seconds = begun.elapsed().as_secs_f64();
    match status.success() {
        true => Ok(seconds),
        false => Err(format!("{command:?} failed ({status})").into()),
    }
}

/// Returns, alternately, the seconds until `hosts` hops by ssh at once have answered their first
/// call, and those of as many plain `ssh HOST true` at once.
pub(crate) fn at_once(config: &str, alias: &str, hosts: usize, count: usize) -> Numbers {
    let router = Router::new()?;
    let mut seconds = Vec::new();
    for round in 0..=count {
        let begun = Instant::now();
        let opened: Vec<Connecting> = (0..hosts)
            .map(|_| {
                let hop = router.ssh(alias).config(config);
                // All are one host here, whose limit is another matter.
                hop.handshakes(hosts as u32).start()
            })
            .collect::<Result<_>>()?;
        let replies: Vec<_> = opened
            .iter()
            .map(|connecting| connecting.context().start(stock::ping {}))
            .collect();
        for reply in replies {
            reply.wait()?;
        }
        let ours = begun.elapsed().as_secs_f64();
        for connecting in opened {
            connecting.wait()?.shutdown()?;
        }
        let begun = Instant::now();
        let mut plain = (0..hosts)
            .map(|_| {
                let mut ssh = Command::new("ssh");
                ssh.args(["-F", config, "-T", "-o", "BatchMode=yes", alias, "true"]);
                ssh.stdin(Stdio::null()).stdout(Stdio::null()).spawn()
            })
            .collect::<std::io::Result<Vec<_>>>()?;
        for ssh in &mut plain {
            if !ssh.wait()?.success() {
                return Err("a plain ssh failed".into());
            }
        }
        if round > 0 {
            seconds.extend([ours, begun.elapsed().as_secs_f64()]);
        }
    }
    Ok(seconds)
}
