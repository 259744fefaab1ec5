//! `delay-link NS_A IP_A NS_B IP_B ONE_WAY_MS [MBIT [LOST]]`: joins two network namespaces by a
//! path with a delay, with a rate if one is given, in megabits per second each way (0 for none),
//! and without each packet whose number is a multiple of LOST.
//!
//! A namespace is a path such as `/run/netns/a` or `/proc/PID/fd/N`. Prints `ready` when both ends
//! have their addresses, then carries packets until it is killed; the devices vanish with it.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use offshoot_tests::delay::{interface, link};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [
        namespace_a,
        address_a,
        namespace_b,
        address_b,
        one_way,
        rest @ ..,
    ] = words.as_slice()
    else {
        return Err("usage: delay-link NS_A IP_A NS_B IP_B ONE_WAY_MS [MBIT [LOST]]".into());
    };
    let rate = rest
        .first()
        .map(|megabits| megabits.parse::<f64>())
        .transpose()?
        .filter(|megabits| *megabits > 0.0);
    let lost = rest.get(1).map_or(Ok(0), |number| number.parse())?;
    let one_way = Duration::from_secs_f64(one_way.parse::<f64>()? / 1000.0);
    let ends = [
        end(namespace_a, address_a.parse()?)?,
        end(namespace_b, address_b.parse()?)?,
    ];
    println!("ready");
    io::stdout().flush()?;
    Ok(link::carry(
        ends,
        one_way,
        rate.map(|megabits| megabits * 125_000.0),
        lost,
    )?)
}

fn end(namespace: &str, address: Ipv4Addr) -> io::Result<File> {
    setns(File::open(namespace)?, CloneFlags::CLONE_NEWNET)?;
    interface::open_tun("delayed", address)
}
