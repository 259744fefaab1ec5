//! The stages of other platforms: those of 32-bit x86 on an x86_64 kernel as they are, the others
//! under qemu, which is registered in a user namespace so that the machine is unchanged. Cases in
//! which perl or python3 start the loader are left out, because these would use this machine's
//! system call numbers.
//!
//! Skips platforms whose Rust target is not installed, or that qemu-user-static is missing for, and
//! those under qemu on kernels before 6.7.

mod machine;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use machine::{assert_up, image_and_rest_of, image_for, nonce, shell, start};
use offshoot_bootstrap::{Mode, Platform, Stage0};

/// Registers the interpreter `$2` for the programs with these two bytes in their header, then runs
/// `$1`.
const REGISTER: &str = r#"mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || exit 77
printf ":qemu:M::\\x7fELF\\x0$3\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\x$4\\x00:\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff:$2:POCF" >/proc/sys/fs/binfmt_misc/register || exit 77
exec sh -c "$1""#;

/// Starts an agent of `platform`, whose machine calls itself by each of `names`. `qemu` has the
/// name of the interpreter, and the class and machine in a program's header.
fn start_agent_of(platform: Platform, names: &[&str], qemu: Option<(&str, &str, &str)>) {
    let target = platform.rust_target();
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = String::from_utf8(sysroot.unwrap().stdout).unwrap();
    let library = Path::new(sysroot.trim()).join(format!("lib/rustlib/{target}/lib"));
    if !library.exists() {
        return eprintln!("skipped: rustup target add {target}");
    }
    // Debian's path, with the name that the flag `P` requires.
    let interpreter = qemu.map(|(name, class, number)| {
        let path = PathBuf::from(format!("/usr/libexec/qemu-binfmt/{name}-binfmt-P"));
        (path, class, number)
    });
    if interpreter
        .as_ref()
        .is_some_and(|(path, ..)| !path.exists())
    {
        return eprintln!("skipped: this needs qemu-user-static");
    }
    let image = image_for(platform);
    let (input, rest) = image_and_rest_of(image);
    for name in names {
        // The shell is this machine's, so `uname` prints this machine's name.
        let script = Stage0::new(image, &nonce(), Mode::Optimistic, "offshoot: web1").script();
        let script = format!("uname(){{ echo {name};}};{script}");
        let mut command = match &interpreter {
            None => {
                let mut shell = shell(&machine::path_of(&["sh=/bin/dash", "mkdir", "chmod", "rm"]));
                shell.arg("-c").arg(&script);
                shell
            }
            Some((path, class, number)) => {
                let mut unshare = Command::new("unshare");
                unshare.args(["-U", "-r", "-m", "-p", "-f", "--mount-proc"]);
                unshare.args(["sh", "-c", REGISTER, "sh", &script]);
                unshare.arg(path).args([class, number]);
                unshare.env("HOME", "/nonexistent").env_remove("TMPDIR");
                unshare
            }
        };
        let result = start(&mut command, &input);
        if qemu.is_some() && result.code == Some(77) {
            return eprintln!("skipped: binfmt_misc cannot be mounted here");
        }
        assert_up(&result, &rest, &format!("{platform} as {name}"));
    }
}

#[test]
fn the_stages_for_aarch64_start_an_agent() {
    let qemu = ("aarch64", "2", "b7");
    start_agent_of(Platform::Aarch64, &["aarch64", "arm64"], Some(qemu));
}

#[test]
fn the_stages_for_armv7_start_an_agent() {
    let qemu = ("arm", "1", "28");
    start_agent_of(Platform::Armv7, &["armv7l", "armv8l"], Some(qemu));
}

#[test]
fn the_stages_for_riscv64_start_an_agent() {
    let qemu = ("riscv64", "2", "f3");
    start_agent_of(Platform::Riscv64, &["riscv64"], Some(qemu));
}

#[test]
fn the_stages_for_i686_start_an_agent() {
    if !cfg!(target_arch = "x86_64") {
        return eprintln!("skipped: only x86_64 runs programs of 32-bit x86");
    }
    let names = ["i386", "i486", "i586", "i686"];
    start_agent_of(Platform::I686, &names, None);
}
