//! A stream to a remote host, with offshoot and with plain ssh. Both are timed alike: from the
//! first byte, with the program known to run, to the end.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use offshoot::Router;

use crate::flow::feed;
use crate::{Numbers, Outcome};

/// Prints when it runs, so that the time of connecting is not measured.
const SINK: &str = "echo ready; exec cat >/dev/null";

/// The longest that a slow reader is written to.
const FEEDING: Duration = Duration::from_secs(30);

/// The bytes that are written between two looks at the clock.
const PART: u64 = 256 << 10;

/// Returns the bytes per second through a context over ssh.
pub(crate) fn ours(config: &str, alias: &str, bytes: u64) -> Numbers {
    let router = Router::new()?;
    let host = router.ssh(alias).config(config).connect()?;
    let limits = host.command("cat").args(LIMITS).output()?;
    report_limits(&String::from_utf8_lossy(&limits.stdout))?;
    let mut program = host.command("sh").args(["-c", SINK]).spawn()?;
    let stdin = program.stdin.take().ok_or("stdin is there")?;
    let stdout = program.stdout.take().ok_or("stdout is there")?;
    timed(stdin, stdout, bytes, || Ok(program.wait()?.success()))
}

/// Returns the bytes per second through ssh alone.
pub(crate) fn plain(config: &str, alias: &str, bytes: u64) -> Numbers {
    let mut ssh = Command::new("ssh");
    ssh.args(["-F", config, "-T", "-o", "BatchMode=yes", alias, SINK]);
    let mut ssh = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let stdin = ssh.stdin.take().ok_or("stdin is piped")?;
    let stdout = ssh.stdout.take().ok_or("stdout is piped")?;
    timed(stdin, stdout, bytes, || Ok(ssh.wait()?.success()))
}

fn timed(
    mut stdin: impl Write,
    stdout: impl Read,
    bytes: u64,
    end: impl FnOnce() -> Outcome<bool>,
) -> Numbers {
    let mut stdout = BufReader::new(stdout);
    stdout.read_line(&mut String::new())?;
    let begun = Instant::now();
    let mut fed = 0;
    while fed < bytes && begun.elapsed() < FEEDING {
        feed(&mut stdin, PART)?;
        fed += PART;
    }
    drop(stdin);
    if !end()? {
        return Err("the program at the far end failed".into());
    }
    Ok(vec![fed as f64 / begun.elapsed().as_secs_f64()])
}

/// The other limits of a TCP connection: printed with the figure, and not changed.
const LIMITS: [&str; 2] = [
    "/proc/sys/net/ipv4/tcp_rmem",
    "/proc/sys/net/ipv4/tcp_congestion_control",
];

fn report_limits(far: &str) -> Outcome<()> {
    let near = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem")?;
    let words = |text: &str| text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    eprintln!(
        "  tcp_wmem here {}; tcp_rmem and congestion control there {}",
        words(&near),
        words(far)
    );
    Ok(())
}
