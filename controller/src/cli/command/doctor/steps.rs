//! The steps of a hop, by one more run of its program; those of ssh by its debug messages.

use super::advice::Advice;
use super::context::Row;
use super::run::{self, LIMIT};
use super::units::{ms, readable};
use crate::cli::connect::Paths;
use offshoot::{Context, Plan, harmless, stock};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A step that takes longer has advice.
const SLOW: Duration = Duration::from_secs(1);

/// The steps: the name, the beginning of the message that ends it, and advice if it is slow.
const STEPS: [(&str, &str, &str); 4] = [
    (
        "connect",
        "debug1: Connection established",
        "the name or the network is slow: time getent hosts HOST; option=[AddressFamily=inet] if IPv6 is not routed",
    ),
    (
        "key exchange",
        "debug1: SSH2_MSG_NEWKEYS received",
        "look at the load of the server; option=[KexAlgorithms=curve25519-sha256] is the cheapest",
    ),
    (
        "authentication",
        "Authenticated to ",
        "option=[GSSAPIAuthentication=no] here; UseDNS no in sshd_config there, and its PAM modules",
    ),
    (
        "session",
        "debug1: Sending command",
        "the session modules of PAM there are slow: look for pam_motd and pam_systemd in /etc/pam.d/sshd",
    ),
];

/// Advice if the last step is slow.
const IMAGE: &str = "the image is sent and unpacked in it: look at the rate and the round trip of the path, and at the \
                     load and the processor there";

/// The steps of a hop.
#[derive(Default, PartialEq, Debug)]
pub(super) struct Steps {
    /// The key exchange algorithm.
    kex: Option<String>,
    /// The names of steps, the time of each, and advice.
    took: Vec<(&'static str, Duration, &'static str)>,
    /// The reason why there are no more.
    trouble: Option<String>,
}

impl Steps {
    /// Takes the hop of a plan from a context, which took the time `connected`, once more with
    /// `true` in place of the bootstrap. Returns `None` if it has no program, or one that may ask.
    pub(super) fn of(from: &Context, plan: &Plan, connected: Duration) -> Option<Self> {
        let (_, words) = plan.words.as_ref()?.split_last()?;
        let (program, arguments) = words.split_first()?;
        if plan.recipe.terminal || plan.recipe.asks_on_pipes {
            return None;
        }
        // The words of ssh read a line before they connect.
        let ran = run::run(from, b"\n", |context| {
            context.command(program).args(arguments).arg("true")
        });
        let mut steps = Self::read(&ran.stderr, ran.took);
        if steps.took.is_empty() {
            steps.took.push(("program and shell", ran.took, ""));
        }
        let rest = connected.saturating_sub(ran.took);
        steps.took.push(("image and agent", rest, IMAGE));
        if ran.status.is_none_or(|status| !status.success()) {
            let text = ran.stderr();
            let mut said = text.lines().filter(|line| !line.starts_with("debug"));
            let last = said.next_back().unwrap_or("it did not end in time");
            steps.trouble = Some(harmless(last).chars().take(200).collect());
        }
        Some(steps)
    }

    fn read(stderr: &[(Duration, Vec<u8>)], end: Duration) -> Self {
        let mut steps = Self::default();
        let (mut line, mut since) = (Vec::new(), Duration::ZERO);
        for (at, bytes) in stderr {
            for byte in bytes {
                if *byte != b'\n' {
                    line.push(*byte);
                    continue;
                }
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                if let Some(name) = text.strip_prefix("debug1: kex: algorithm: ") {
                    steps.kex = Some(harmless(name).chars().take(100).collect());
                }
                let next = STEPS[steps.took.len().min(STEPS.len())..]
                    .iter()
                    .find(|(_, message, _)| text.starts_with(message));
                if let Some((name, _, advice)) = next {
                    steps.took.push((name, at.saturating_sub(since), advice));
                    since = *at;
                }
            }
        }
        if steps
            .took
            .last()
            .is_some_and(|(name, ..)| *name == "session")
        {
            let advice = "see the start-up files of the login shell there";
            steps
                .took
                .push(("command", end.saturating_sub(since), advice));
        }
        steps
    }

    /// Returns the row of the table.
    pub(super) fn row(&self) -> Row {
        let mut text: Vec<String> = self
            .took
            .iter()
            .map(|(name, took, _)| format!("{name} {}", readable(*took)))
            .collect();
        text.extend(self.kex.clone());
        text.extend(self.trouble.as_ref().map(|why| format!("then: {why}")));
        let steps: Vec<Value> = self
            .took
            .iter()
            .map(|(name, took, _)| json!({ "step": name, "ms": ms(*took) }))
            .collect();
        let value = json!({ "kex": self.kex, "steps": steps, "trouble": self.trouble });
        Row::new("steps", "steps", text.join(", "), value)
    }

    /// Returns advice for each slow step.
    pub(super) fn advice(&self) -> impl Iterator<Item = Advice> {
        let slow = self
            .took
            .iter()
            .filter(|(_, took, advice)| *took > SLOW && !advice.is_empty());
        slow.map(|(name, took, advice)| {
            let text = format!("its step {name} takes {}: {advice}", readable(*took));
            Advice::new("steps", text)
        })
    }
}

/// The number of logins of which the quickest counts.
const LOGINS: usize = 2;

/// Takes a hop a few times with and without its option `fast`, and returns a row with the times up
/// to the first result. Returns `None` if a login fails, as where a password is needed.
pub(super) fn gain(paths: &Paths, hop: usize, from: &Context) -> Option<Row> {
    let first_result = |fast| {
        let begun = Instant::now();
        let context = paths.take_again(hop, from, ("fast", fast)).ok()?;
        context.within(LIMIT).call(stock::ping {}).ok()?;
        let took = begun.elapsed();
        // It is no matter when it has ended.
        let _ = context.shutdown();
        Some(took)
    };
    let (mut fast, mut plain) = (Duration::MAX, Duration::MAX);
    for _ in 0..LOGINS {
        fast = fast.min(first_result("yes")?);
        plain = plain.min(first_result("no")?);
    }
    let text = format!(
        "first result after {}; with fast=no after {}",
        readable(fast),
        readable(plain)
    );
    let value = json!({ "first_result_ms": ms(fast), "with_fast_no_ms": ms(plain) });
    Some(Row::new("ssh fast", "ssh_fast", text, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_from_the_debug_messages_as_they_arrive() {
        let at = Duration::from_millis;
        let pieces = [
            (at(10), &b"[offshoot 0] way x\ndebug1: Connection esta"[..]),
            (
                at(20),
                b"blished.\r\ndebug1: kex: algorithm: curve\x1b[31m\n",
            ),
            (at(50), b"debug1: SSH2_MSG_NEWKEYS received\n"),
            (
                at(1990),
                b"Authenticated to web1 ([::1]:22) using \"publickey\".\n",
            ),
            (at(2000), b"debug1: Sending command: true\n"),
        ];
        let pieces: Vec<_> = pieces
            .iter()
            .map(|(at, text)| (*at, text.to_vec()))
            .collect();
        let steps = Steps::read(&pieces, at(2100));
        let times: Vec<_> = steps
            .took
            .iter()
            .map(|(name, took, _)| (*name, *took))
            .collect();
        assert_eq!(
            times,
            [
                ("connect", at(20)),
                ("key exchange", at(30)),
                ("authentication", at(1940)),
                ("session", at(10)),
                ("command", at(100)),
            ]
        );
        assert_eq!(steps.kex.as_deref(), Some("curve\u{fffd}[31m"));
        let advice: Vec<_> = steps.advice().collect();
        assert!(
            advice.len() == 1 && advice[0].text.contains("GSSAPIAuthentication=no"),
            "{advice:?}"
        );
    }
}
