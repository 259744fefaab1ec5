//! `own-image HOST...`: the listening TCP ports of each host.
//!
//! One static file: it sends itself to the hosts, so its function is available there.

use offshoot::Router;
use std::collections::BTreeSet;
use std::io;

/// The ports, from the kernel's own tables.
#[offshoot::remote]
fn listening() -> io::Result<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        // `N: ADDRESS:PORT ADDRESS:PORT STATE ...` in hexadecimal; state A is listening.
        for line in std::fs::read_to_string(table)?.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let port = fields.get(1).and_then(|local| local.rsplit(':').next());
            let port = port.and_then(|port| u16::from_str_radix(port, 16).ok());
            ports.extend(port.filter(|_| fields.get(3) == Some(&"0A")));
        }
    }
    Ok(ports)
}

fn main() -> Result<(), offshoot::Report> {
    // On a host this program becomes the agent here, and never returns.
    offshoot::init();
    let router = Router::builder().own_image().start()?;
    let hosts: Vec<String> = std::env::args().skip(1).collect();
    let hops: Vec<_> = hosts.iter().map(|host| router.ssh(host).start()).collect();
    let calls: Vec<_> = hops
        .into_iter()
        .map(|hop| Ok(hop?.context().start(listening {})))
        .collect::<offshoot::Result<_>>()?;
    for (host, call) in hosts.iter().zip(calls) {
        println!("{host}: {:?}", call.wait()?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_opened_is_found_by_an_agent() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let number = port.local_addr().expect("it is bound").port();
        let router = Router::builder().own_image().start().expect("it is static");
        let agent = router.local().connect().expect("agents start here");
        let ports = agent.call(listening {}).expect("the tables can be read");
        assert!(ports.contains(&number), "{ports:?}");
    }
}
