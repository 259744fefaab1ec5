//! `hosts HOST...`: becomes root at every host by ssh and sudo, and tells what is there.

use offshoot::stock::facts;

fn main() -> offshoot::Result<()> {
    let hosts: Vec<String> = std::env::args().skip(1).collect();
    offshoot::run(|router| {
        // Every hop is under way before the first of them is waited for.
        let mut roots = Vec::new();
        for host in hosts {
            let user = router.ssh(host).open()?.context();
            roots.push(user.sudo().open()?);
        }
        for root in roots {
            let root = root.wait()?;
            let found = root.call(facts {})?;
            println!("{root}: {} at {}, {}", found.user, found.host, found.kernel);
        }
        Ok(())
    })
}
