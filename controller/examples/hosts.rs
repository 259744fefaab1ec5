//! `hosts HOST...`: runs as root on every host through ssh and sudo and prints its facts.

use offshoot::stock::facts;

fn main() -> Result<(), offshoot::Report> {
    let hosts: Vec<String> = std::env::args().skip(1).collect();
    offshoot::run(|router| {
        // Start every hop before waiting for the first one.
        let mut roots = Vec::new();
        for host in hosts {
            let user = router.ssh(host).start()?.context();
            roots.push(user.sudo().start()?);
        }
        for root in roots {
            let root = root.wait()?;
            let found = root.call(facts {})?;
            println!("{root}: {} at {}, {}", found.user, found.host, found.kernel);
        }
        Ok(())
    })?;
    Ok(())
}
