//! The hosts of the bench: sshd processes and a delayed path, run by the program `bench-host`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::programs::Programs;

/// The round trip of the delayed path, in milliseconds.
pub(super) const ROUND_TRIP_MS: u32 = 250;

/// The rate of the delayed path, in megabits per second each way.
const RATE_MBIT: u32 = 1000;

/// Running hosts; [`Hosts::stop`] or the end of the sandbox stops them.
pub(super) struct Hosts {
    child: Child,
    /// The client configuration of the host on loopback, alias `near`.
    pub near: String,
    /// The client configuration of the host behind the delayed path, alias `far`.
    pub far: String,
    /// The network namespace from which `far` is reached.
    pub far_namespace: String,
}

impl Hosts {
    /// Starts the hosts and waits until they accept connections.
    ///
    /// # Errors
    /// Returns an error if `bench-host` fails to start.
    pub(super) fn start(programs: &Programs) -> Result<Self, Box<dyn std::error::Error>> {
        let mut child = Command::new(programs.built("bench-host"))
            .arg(programs.built("delay-link"))
            .args([ROUND_TRIP_MS.to_string(), RATE_MBIT.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("stdout is piped")?).read_line(&mut line)?;
        let about: Value = serde_json::from_str(&line).map_err(|_| "bench-host did not start")?;
        let field = |name: &str| about[name].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            near: field("near"),
            far: field("far"),
            far_namespace: field("far_namespace"),
            child,
        })
    }

    /// Stops the hosts.
    ///
    /// # Errors
    /// Returns an error if `bench-host` cannot be waited for.
    pub(super) fn stop(mut self) -> Result<(), Box<dyn std::error::Error>> {
        drop(self.child.stdin.take());
        self.child.wait()?;
        Ok(())
    }
}
