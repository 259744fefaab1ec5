//! `largest HOST FOLDER`: the ten largest files below a folder of a host, found by a function that
//! runs there as root.

use offshoot::Router;
use own_agent::largest;

fn main() -> Result<(), offshoot::Report> {
    let mut words = std::env::args().skip(1);
    let (Some(host), Some(folder)) = (words.next(), words.next()) else {
        eprintln!("usage: largest HOST FOLDER");
        std::process::exit(2);
    };
    let router = Router::builder().package("own-agent").start()?;
    let root = router.ssh(host).connect()?.sudo().connect()?;
    for (length, path) in root.call(largest {
        folder: folder.into(),
        count: 10,
    })? {
        println!("{length:>12} {}", path.display());
    }
    Ok(())
}
