//! Cases of connections, calls and the memory of one agent.

use std::process::Command;

use crate::bench::fixture::{Bench, ROUNDS, Result, Samples};
use crate::bench::programs::{in_namespace, numbers, ssh};

pub(super) fn bytes(bench: &mut Bench<'_>) -> Result<Samples> {
    let counting = bench.programs.built("counting-ssh");
    let words = [
        "bytes",
        counting.to_str().ok_or("the path is not UTF-8")?,
        "/tmp/counted",
    ];
    let split = bench.duel(1, &words, |_| Ok(()))?;
    // The remote command and what is written to it; what comes back is not sent by us.
    let sums: Samples = split
        .iter()
        .map(|(who, parts)| (*who, vec![parts[0] + parts[1]]))
        .collect();
    Ok(sums)
}

pub(super) fn local(bench: &mut Bench<'_>) -> Result<Samples> {
    bench.duel(ROUNDS, &["connect-local", "4"], |_| Ok(()))
}

pub(super) fn loopback(bench: &mut Bench<'_>) -> Result<Samples> {
    let config = &bench.hosts.near;
    bench.duel(ROUNDS, &["connect-ssh", config, "near", "2"], |samples| {
        for _ in 0..2 {
            samples
                .entry("ssh")
                .or_default()
                .push(bench.timed(ssh(config, &["near", "true"]), 0)?);
        }
        Ok(())
    })
}

pub(super) fn sudo(bench: &mut Bench<'_>) -> Result<Samples> {
    let config = &bench.hosts.near;
    let master = "ControlPath=/tmp/bench-master";
    let open = [
        "-o",
        "ControlMaster=yes",
        "-o",
        master,
        "-o",
        "ControlPersist=60",
        "near",
        "true",
    ];
    bench.timed(ssh(config, &open), 0)?;
    let samples = bench.duel(ROUNDS, &["sudo", config, "near", "2"], |samples| {
        for _ in 0..2 {
            let plain = ssh(config, &["-o", master, "near", "sudo -n true"]);
            samples
                .entry("ssh")
                .or_default()
                .push(bench.timed(plain, 0)?);
        }
        Ok(())
    })?;
    bench.timed(ssh(config, &["-o", master, "-q", "-O", "exit", "near"]), 0)?;
    Ok(samples)
}

pub(super) fn call_local(bench: &mut Bench<'_>) -> Result<Samples> {
    bench.duel(ROUNDS, &["call-local", "4000"], |samples| {
        let mut floor = Command::new(bench.programs.built("ping-pong"));
        floor.arg("4000");
        samples.entry("pipe").or_default().extend(numbers(floor)?);
        Ok(())
    })
}

pub(super) fn call_ssh(bench: &mut Bench<'_>) -> Result<Samples> {
    bench.duel(
        ROUNDS,
        &["call-ssh", &bench.hosts.near, "near", "2000"],
        |_| Ok(()),
    )
}

pub(super) fn resident(bench: &mut Bench<'_>) -> Result<Samples> {
    memory(bench, 0)
}

pub(super) fn proportional(bench: &mut Bench<'_>) -> Result<Samples> {
    memory(bench, 1)
}

fn memory(bench: &Bench<'_>, which: usize) -> Result<Samples> {
    let both = bench.duel(1, &["memory"], |_| Ok(()))?;
    Ok(both
        .iter()
        .map(|(who, sizes)| (*who, vec![sizes[which]]))
        .collect())
}

pub(super) fn delayed(bench: &mut Bench<'_>) -> Result<Samples> {
    let (config, namespace) = (&bench.hosts.far, &bench.hosts.far_namespace);
    let wrap = |command: Command| in_namespace(namespace, &command);
    bench.duel_through(
        ROUNDS,
        &["connect-ssh", config, "far", "1"],
        wrap,
        |samples| {
            let plain = ssh(config, &["far", "true"]);
            samples
                .entry("ssh")
                .or_default()
                .push(bench.timed(wrap(plain), 0)?);
            Ok(())
        },
    )
}
