//! The stages of the other platform, under qemu, which is registered in a user namespace so that
//! the machine is unchanged. Cases in which perl or python3 start the loader are left out, because
//! these would use this machine's system call numbers.
//!
//! Skips without qemu-user-static, and on kernels before 6.7.

mod machine;

use std::{path::Path, process::Command};

use machine::{assert_up, image_and_rest_of, image_for, nonce, start};
use offshoot_bootstrap::{Mode, Platform, Stage0};

/// Path of the interpreter in Debian, with the name that its `P` flag requires.
const QEMU: &str = "/usr/libexec/qemu-binfmt/aarch64-binfmt-P";

/// Registers the interpreter for aarch64 programs, then runs its argument.
const REGISTER: &str = r#"mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || exit 77
printf ":qemu-aarch64:M::\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00:\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff:$2:POCF" >/proc/sys/fs/binfmt_misc/register || exit 77
exec sh -c "$1""#;

#[test]
fn the_stages_for_aarch64_start_an_agent() {
    if !Path::new(QEMU).exists() {
        eprintln!("skipped: this needs qemu-user-static and binfmt-support");
        return;
    }
    let image = image_for(Platform::Aarch64);
    let (input, rest) = image_and_rest_of(image);
    // The shell is this machine's, so `uname` prints this machine's name.
    let script = Stage0::new(image, &nonce(), Mode::Optimistic, "offshoot: web1").script();
    let script = format!("uname(){{ echo aarch64;}};{script}");
    let mut unshare = Command::new("unshare");
    unshare.args([
        "-U",
        "-r",
        "-m",
        "-p",
        "-f",
        "--mount-proc",
        "sh",
        "-c",
        REGISTER,
        "sh",
        &script,
        QEMU,
    ]);
    let result = start(
        unshare.env("HOME", "/nonexistent").env_remove("TMPDIR"),
        &input,
    );
    if result.code == Some(77) {
        eprintln!("skipped: binfmt_misc cannot be mounted here");
        return;
    }
    assert_up(&result, &rest, "aarch64");
}
