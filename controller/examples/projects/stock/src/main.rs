//! `stock HOST...`: how full the root file system of each host is, the fullest first.
//!
//! What runs there is the hosts' own `df`, so the stock agent is all that is sent.

fn main() -> offshoot::Result<()> {
    let hosts: Vec<String> = std::env::args().skip(1).collect();
    offshoot::run(|router| {
        // Every host is under way before the first is waited for.
        let hops = hosts.iter().map(|host| router.ssh(host).open()).collect::<Vec<_>>();
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
    })
}

/// The per cent in what `df -P` prints for one file system.
fn capacity(printed: &str) -> Option<u8> {
    printed.lines().nth(1)?.split_whitespace().nth(4)?.strip_suffix('%')?.parse().ok()
}
