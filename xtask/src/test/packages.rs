//! The system programs that the suites and the bench need, and the Debian packages that have them.

use std::path::{Path, PathBuf};
use std::process::Command;

use offshoot_bootstrap::Platform;

use crate::workspace::{Outcome, target_directory};

/// The program or file by which a package is recognized, and the package.
const NEEDED: [(&str, &str); 27] = [
    ("/usr/sbin/sshd", "openssh-server"),
    ("/usr/bin/ssh", "openssh-client"),
    (
        "/usr/bin/google-authenticator",
        "libpam-google-authenticator",
    ),
    ("/usr/bin/sudo", "sudo"),
    ("/usr/bin/doas", "opendoas"),
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
    ("/usr/sbin/dockerd", "docker.io"),
    ("/usr/bin/podman", "podman"),
    ("/usr/bin/buildah", "buildah"),
    ("/usr/bin/lxc-attach", "lxc"),
    ("/usr/share/lxc/templates/lxc-busybox", "lxc-templates"),
    ("/usr/bin/lxd", "lxd"),
    ("/usr/bin/systemd-nspawn", "systemd-container"),
    ("/usr/bin/bwrap", "bubblewrap"),
    ("/usr/share/i18n/locales/tr_TR", "locales"),
];

/// Installs the packages that are missing.
///
/// # Errors
/// Returns an error that names the missing packages if this is not Debian or the user is not root,
/// or if apt-get fails.
pub(crate) fn require() -> Outcome {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)
}

/// Installs some packages.
///
/// # Errors
/// Returns an error that names the packages if this is not Debian or the user is not root, or if
/// apt-get fails.
pub(crate) fn install(missing: &[&str]) -> Outcome {
    let list = missing.join(" ");
    let apt = Path::new("/usr/bin/apt-get").exists();
    if !apt || !nix::unistd::geteuid().is_root() {
        return Err(format!(
            "missing: {list} (as root: apt-get install --no-install-recommends {list})"
        )
        .into());
    }
    println!("installing {list}");
    apt_get(&["update", "-qq"])?;
    let mut words = vec!["install", "-y", "-qq", "--no-install-recommends"];
    words.extend(missing);
    apt_get(&words)
}

/// Debian's names of the architectures of which suites make hosts of other processors.
pub(crate) const BUSYBOXES: [&str; 4] = ["arm64", "armhf", "i386", "riscv64"];

/// Fetches a static busybox for another architecture. The package system of this machine must not
/// learn of it.
///
/// # Errors
/// Returns an error if the package cannot be fetched; suites then skip the tests that need it.
pub(crate) fn busybox(architecture: &str) -> Outcome {
    let folder = busyboxes_folder().join(architecture);
    let busybox = folder.join("bin/busybox");
    if busybox.exists() {
        return Ok(());
    }
    fetch(&folder, architecture, "busybox-static")?;
    // Newer packages have the program below /usr.
    let merged = folder.join("usr/bin/busybox");
    if !busybox.exists() && merged.exists() {
        std::fs::create_dir_all(folder.join("bin"))?;
        std::fs::copy(merged, &busybox)?;
    }
    Ok(())
}

/// Returns the path of a kubectl that executes programs over WebSockets, which is younger than that
/// of older releases of Debian.
///
/// # Errors
/// Returns an error if the package cannot be fetched; suites then use the kubectl of this machine.
pub(crate) fn kubectl() -> Result<PathBuf, Box<dyn std::error::Error>> {
    let folder = kubectl_folder();
    let kubectl = folder.join("usr/bin/kubectl");
    if !kubectl.exists() {
        let architecture = if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "amd64"
        };
        fetch(&folder, architecture, "kubectl")?;
    }
    Ok(kubectl)
}

/// Returns a folder of C libraries that has that of `platform`, whose target rustup cannot add.
///
/// # Errors
/// Returns an error if the package cannot be fetched.
pub(crate) fn musl(platform: Platform) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let (architecture, system) = match platform {
        Platform::X86_64 => ("amd64", "x86_64-linux-musl"),
        Platform::Aarch64 => ("arm64", "aarch64-linux-musl"),
        Platform::I686 => ("i386", "i386-linux-musl"),
        Platform::Armv7 => ("armhf", "arm-linux-musleabihf"),
        Platform::Riscv64 => ("riscv64", "riscv64-linux-musl"),
    };
    let folder = target_directory().join("musl");
    let library = folder.join(platform.rust_target());
    if !library.join("libc.a").exists() {
        fetch(&library, architecture, "musl-dev")?;
        let unpacked = library.join("usr/lib").join(system);
        for entry in std::fs::read_dir(unpacked)? {
            let entry = entry?;
            std::fs::copy(entry.path(), library.join(entry.file_name()))?;
        }
    }
    Ok(folder)
}

/// Fetches a package of Debian's stable release and unpacks it into a folder, with lists and caches
/// of its own.
fn fetch(folder: &Path, architecture: &str, package: &str) -> Outcome {
    println!("fetching {package}:{architecture}");
    std::fs::create_dir_all(folder.join("lists/partial"))?;
    std::fs::create_dir_all(folder.join("archives/partial"))?;
    let source = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian stable main\n";
    std::fs::write(folder.join("sources.list"), source)?;
    let own = |option: &str, name: &str| format!("-o{option}={}", folder.join(name).display());
    let options = [
        own("Dir::State::Lists", "lists"),
        own("Dir::Cache", ""),
        own("Dir::Etc::SourceList", "sources.list"),
        "-oDir::Etc::SourceParts=/nonexistent".into(),
        "-oDir::State::status=/dev/null".into(),
        format!("-oAPT::Architecture={architecture}"),
        format!("-oAPT::Architectures::={architecture}"),
        "-oAPT::Sandbox::User=root".into(),
        "-oAcquire::Languages=none".into(),
    ];
    for words in [["update", "-qq"], ["download", package]] {
        run(Command::new("apt-get")
            .args(&options)
            .args(words)
            .current_dir(folder))?;
    }
    let archive = std::fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or("apt-get downloaded no package")?;
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .arg(archive)
        .arg(folder))
}

/// Returns the folder of [`kubectl`].
pub(crate) fn kubectl_folder() -> PathBuf {
    target_directory().join("kubectl")
}

/// Returns the folder with a folder for each [`busybox`].
pub(crate) fn busyboxes_folder() -> PathBuf {
    target_directory().join("busyboxes")
}

fn missing() -> Vec<&'static str> {
    let absent = |probe: &str| !Path::new(probe).exists();
    NEEDED
        .iter()
        .filter(|(probe, _)| absent(probe))
        .map(|(_, package)| *package)
        .collect()
}

fn apt_get(words: &[&str]) -> Outcome {
    run(Command::new("apt-get").args(words))
}

fn run(command: &mut Command) -> Outcome {
    let output = command.env("DEBIAN_FRONTEND", "noninteractive").output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?} failed: {}", said.trim()).into())
}
