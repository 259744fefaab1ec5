//! `stock HOST...`: how full the root file system of each host is, the fullest first.
//!
//! It runs the hosts' own `df`, so only the stock agent is sent.

fn main() -> Result<(), offshoot::Report> {
    let hosts: Vec<String> = std::env::args().skip(1).collect();
    offshoot::run(|router| {
        // Start every host before waiting for the first one.
        let hops = hosts
            .iter()
            .map(|host| router.ssh(host).start())
            .collect::<Vec<_>>();
        let mut rows = Vec::new();
        for hop in hops {
            let host = hop?.wait()?;
            let output = host.command("df").args(["-P", "/"]).output()?;
            rows.push((capacity(&String::from_utf8_lossy(&output.stdout)), host));
        }
        rows.sort_by_key(|(capacity, _)| std::cmp::Reverse(*capacity));
        for (capacity, host) in rows {
            match capacity {
                Some(percent) => println!("{percent:>3} % {host}"),
                None => println!("    ? {host}"),
            }
        }
        Ok(())
    })?;
    Ok(())
}

/// The percentage that `df -P` prints for one file system.
fn capacity(printed: &str) -> Option<u8> {
    printed
        .lines()
        .nth(1)?
        .split_whitespace()
        .nth(4)?
        .strip_suffix('%')?
        .parse()
        .ok()
}
