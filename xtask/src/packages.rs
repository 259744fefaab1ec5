//! The programs of the system that the suites and the bench drive, and the Debian packages that bring them.

use std::path::Path;
use std::process::Command;

use crate::Outcome;

/// A program that tells whether the package is there, and the package.
const NEEDED: [(&str, &str); 16] = [
    ("/usr/sbin/sshd", "openssh-server"),
    ("/usr/bin/ssh", "openssh-client"),
    ("/usr/bin/sudo", "sudo"),
    ("/usr/bin/busybox", "busybox-static"),
    ("/usr/bin/mksh", "mksh"),
    ("/usr/bin/zsh", "zsh"),
    ("/usr/bin/fish", "fish"),
    ("/usr/bin/tcsh", "tcsh"),
    ("/usr/bin/ksh93", "ksh"),
    ("/usr/bin/rc", "rc"),
    ("/usr/bin/perl", "perl"),
    ("/usr/bin/python3", "python3"),
    ("/usr/bin/qemu-aarch64-static", "qemu-user-static"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/bin/unshare", "util-linux"),
    ("/usr/sbin/useradd", "passwd"),
];

/// Installs what is missing when run as root on Debian.
///
/// # Errors
/// One line that names what is missing, when it cannot be installed from here.
pub fn require() -> Outcome {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)
}

/// Installs these packages when run as root on Debian.
///
/// # Errors
/// One line that names them, when they cannot be installed from here.
pub fn install(missing: &[&str]) -> Outcome {
    let list = missing.join(" ");
    let apt = Path::new("/usr/bin/apt-get").exists();
    if !apt || !nix::unistd::geteuid().is_root() {
        return Err(
            format!("missing: {list} (as root: apt-get install --no-install-recommends {list})").into()
        );
    }
    println!("installing {list}");
    apt_get(&["update", "-qq"])?;
    let mut words = vec!["install", "-y", "-qq", "--no-install-recommends"];
    words.extend(missing);
    apt_get(&words)
}

fn missing() -> Vec<&'static str> {
    let absent = |probe: &str| !Path::new(probe).exists();
    NEEDED.iter().filter(|(probe, _)| absent(probe)).map(|(_, package)| *package).collect()
}

fn apt_get(words: &[&str]) -> Outcome {
    let output = Command::new("apt-get").args(words).env("DEBIAN_FRONTEND", "noninteractive").output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("apt-get {} failed: {}", words.join(" "), said.trim()).into())
}
