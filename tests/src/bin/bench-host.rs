//! `bench-host DELAY_LINK ROUND_TRIP_MS MBIT`: runs the hosts of the bench until stdin is closed.
//!
//! One sshd on loopback (`near`) and one behind a delayed path (`far`), both for the user with
//! passwordless sudo. Prints one JSON object that says how to reach them.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use offshoot_tests::Sshd;
use offshoot_tests::delay::DelayedPath;
use offshoot_tests::users::NOPASS;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    offshoot_tests::require_sandbox();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [link, round_trip, rate] = words.as_slice() else {
        return Err("usage: bench-host DELAY_LINK ROUND_TRIP_MS MBIT".into());
    };
    let user = format!("User {}", NOPASS.name);
    // Thirty handshakes at once, of which the default would drop most.
    let near = Sshd::named("near")
        .client_line(&user)
        .line("MaxStartups 200")
        .start();
    let round_trip = Duration::from_millis(round_trip.parse()?);
    let path = DelayedPath::with_rate(Path::new(link), round_trip, Some(rate.parse()?));
    let far = Sshd::named("far")
        .client_line(&user)
        .inside(&path.far, DelayedPath::FAR)
        .start();
    let about = serde_json::json!({
        "near": near.config(),
        "far": far.config(),
        "far_namespace": path.near.path(),
    });
    println!("{about}");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
