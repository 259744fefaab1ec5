//! Hosts of processors whose images are built by whoever needs them: i686, armv7 and riscv64; and
//! 32-bit systems on 64-bit kernels.
//!
//! i686 runs on x86_64 by itself, the others under qemu, as in `boot_platform`. Not shown: a kernel
//! that is itself 32-bit, and a real processor of these kinds. Each test is skipped if its image
//! could not be built, because rustup has no target for it and Debian's C library could not be
//! fetched, or if this machine cannot run its programs.

use std::path::{Path, PathBuf};

use offshoot::ConnectErrorKind as Kind;
use offshoot::stock::echo;
use offshoot::{Context, Router};
use offshoot_tests::hop::{assert_says, facts_of, reached, refused, runs_a_program};
use offshoot_tests::qemu::{ARMV7, I686, Processor, RISCV64, Renamed, Whole};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::{Leaks, require_sandbox, skip};

/// Returns a folder with the images of all five platforms, as far as they could be built.
fn all_images() -> PathBuf {
    PathBuf::from(std::env::var_os("OFFSHOOT_PROCESSORS").expect("`cargo xtask test` sets it"))
}

/// Makes a folder with the images that packages have, and no others.
fn stock_images() -> ScratchDir {
    let folder = ScratchDir::new("stock");
    for target in ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"] {
        let image = Path::new(target).join("offshoot-agent.image");
        std::fs::create_dir(folder.path().join(target)).expect("it is new");
        std::fs::copy(all_images().join(&image), folder.path().join(&image)).expect("it was built");
    }
    folder
}

fn router(folder: PathBuf) -> Router {
    require_sandbox();
    Router::builder()
        .agents(folder)
        .start()
        .expect("a broker's thread and descriptors are to be had")
}

/// Returns true if there is an image for this processor, and this machine runs it; notes a skip
/// otherwise.
fn is_able(processor: Processor, target: &str) -> bool {
    let image = all_images().join(target).join("offshoot-agent.image");
    if !image.exists() {
        skip(&format!(
            "a host of {}: no image was built",
            processor.machine
        ));
        return false;
    }
    processor.runs_here()
}

const I686_TARGET: &str = "i686-unknown-linux-musl";
const ARMV7_TARGET: &str = "armv7-unknown-linux-musleabihf";
const RISCV64_TARGET: &str = "riscv64gc-unknown-linux-musl";

/// Uses what depends on the width of numbers and addresses: long messages, programs with their
/// streams, exit codes and environment, children, limits of time.
fn work_out(context: &Context, machine: &str) {
    assert_eq!(facts_of(context).platform, machine);
    let text = "over the other platform ".repeat(100_000);
    let echoed = context.call(echo { text: text.clone() });
    assert!(echoed.expect("a long message") == text);

    let script = "printf '%s %s' \"$KEY\" \"$PWD\"; echo said >&2; exit 7";
    let output = context
        .command("sh")
        .args(["-c", script])
        .env("KEY", "value")
        .current_dir("/")
        .output()
        .expect("a program runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "value /");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "said\n");
    assert_eq!(output.status.code, Some(7));

    let child = context.local().connect().expect("a child of its own image");
    assert_eq!(facts_of(&child).platform, machine);
    assert!(child.call(echo { text: text.clone() }).expect("two hops") == text);
}

/// Connects to this machine under another name, and uses the agent there.
fn a_renamed_host(processor: Processor, target: &str, name: &str) {
    let _leaks = Leaks::begin();
    if !is_able(processor, target) {
        return;
    }
    let router = router(all_images());
    let host = Renamed::called(name);
    let words = host.words(&processor.words());
    let context = router
        .local()
        .shell_words(words.clone())
        .connect()
        .expect("the other image is sent");
    assert_eq!(
        host.counter.starts(),
        2,
        "for this platform, then for its own"
    );
    work_out(&context, processor.machine);
    let again = router.local().shell_words(words).connect();
    assert_eq!(facts_of(&again.expect("again")).platform, processor.machine);
    assert_eq!(host.counter.starts(), 3, "at the first attempt now");
}

/// Connects to a host all of whose programs are of the processor.
fn a_whole_host(processor: Processor, target: &str) {
    let _leaks = Leaks::begin();
    if !is_able(processor, target) {
        return;
    }
    let Some(busybox) = processor.busybox() else {
        return;
    };
    let router = router(all_images());
    let host = Whole::with(&busybox);
    let context = reached(&router, host.words(&in_namespace(processor)));
    let facts = facts_of(&context);
    assert_eq!(facts.platform, processor.machine);
    assert_eq!(
        host.counter.starts(),
        2,
        "for this platform, then for its own"
    );
    let output = context
        .command("/bin/busybox")
        .args(["uname", "-m"])
        .output()
        .expect("its programs run");
    let machine = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        facts.kernel.ends_with(&format!(" {}", machine.trim())),
        "{facts:?} {machine}"
    );
    assert_eq!(machine.trim(), processor.machine);
}

/// Returns the words before a program that runs it with programs of the processor, in a mount
/// namespace of its own.
fn in_namespace(processor: Processor) -> Vec<String> {
    match processor {
        I686 => ["unshare", "-m", "setarch", "i686"]
            .map(str::to_owned)
            .into(),
        other => other.words(),
    }
}

#[test]
fn an_i686_host_gets_its_image_on_the_second_attempt_and_is_remembered() {
    a_renamed_host(I686, I686_TARGET, "i586");
}

#[test]
fn an_armv7_host_gets_its_image_on_the_second_attempt_and_is_remembered() {
    a_renamed_host(ARMV7, ARMV7_TARGET, "armv7l");
}

#[test]
fn a_riscv64_host_gets_its_image_on_the_second_attempt_and_is_remembered() {
    a_renamed_host(RISCV64, RISCV64_TARGET, "riscv64");
}

#[test]
fn a_host_with_an_i686_userland_is_detected_and_connected() {
    a_whole_host(I686, I686_TARGET);
}

#[test]
fn a_host_with_an_armv7_userland_is_detected_and_connected() {
    a_whole_host(ARMV7, ARMV7_TARGET);
}

#[test]
fn a_host_with_a_riscv64_userland_is_detected_and_connected() {
    a_whole_host(RISCV64, RISCV64_TARGET);
}

#[test]
fn an_agent_of_32_bits_ends_with_its_tree() {
    let leaks = Leaks::begin();
    if !is_able(I686, I686_TARGET) {
        return;
    }
    let router = router(all_images());
    let host = Renamed::called("i686");
    let context = reached(&router, host.words(&I686.words()));
    runs_a_program(&context);
    drop((context, router, host));
    leaks.check().expect("all of it is gone");
}

#[test]
fn agents_of_32_and_64_bits_are_each_others_children() {
    let _leaks = Leaks::begin();
    if !is_able(I686, I686_TARGET) {
        return;
    }
    let router = router(all_images());
    let parent = router.local().connect().expect("a child of this program");
    let host = Renamed::called("i686");
    let narrow = parent
        .local()
        .shell_words(host.words(&I686.words()))
        .connect()
        .expect("the image is fetched from the root");
    work_out(&narrow, "i686");
    // The real `uname` of this machine.
    let wide = [
        "/usr/bin/setarch",
        "x86_64",
        "/usr/bin/env",
        "PATH=/usr/bin:/bin",
        "/bin/sh",
    ];
    let wide = narrow
        .local()
        .shell_words(wide.map(str::to_owned).into())
        .connect()
        .expect("the image is fetched from the root");
    work_out(&wide, "x86_64");
}

#[test]
fn a_32_bit_userland_on_a_64_bit_kernel_gets_the_image_of_the_kernel() {
    let _leaks = Leaks::begin();
    if !I686.runs_here() {
        return;
    }
    let Some(busybox) = I686.busybox() else {
        return;
    };
    let stock = stock_images();
    let router = router(stock.path().to_owned());
    let host = Whole::with(&busybox);
    let unshare = ["unshare", "-m"].map(str::to_owned);
    // Its shell has 32 bits, and `uname` tells the truth about the kernel.
    let context = router
        .local()
        .shell_words(host.words(&unshare))
        .connect()
        .expect("the image of the kernel runs");
    assert_eq!(facts_of(&context).platform, "x86_64");
    assert_eq!(host.counter.starts(), 1);
    // Its kernel says what programs of 32 bits expect, as in many containers.
    let context = router
        .local()
        .shell_words(host.words(&in_namespace(I686)))
        .connect()
        .expect("the image of the kernel runs");
    assert_eq!(facts_of(&context).platform, "x86_64");
    assert_eq!(host.counter.starts(), 3, "for its own name the second time");
    // The same through an agent, which asks the root for the image.
    let parent = router.local().connect().expect("a child of this program");
    let context = parent
        .local()
        .shell_words(host.words(&in_namespace(I686)))
        .connect()
        .expect("the image of the kernel runs");
    assert_eq!(facts_of(&context).platform, "x86_64");
    assert_eq!(host.counter.starts(), 5);
}

#[test]
fn a_32_bit_machine_without_an_image_is_named_after_the_image_of_64_bits_has_failed() {
    let _leaks = Leaks::begin();
    require_sandbox();
    let stock = stock_images();
    let router = router(stock.path().to_owned());
    // No qemu: its loader cannot be executed anywhere.
    let host = Renamed::called("armv7l");
    let error = refused(
        router.local().shell_words(host.words(&[])).connect(),
        Kind::Platform,
    );
    assert_says(
        &error,
        &[
            "its machine is armv7l, for which there is no image, and that for aarch64 does not start there",
            "x86_64, aarch64, i686, armv7l and riscv64",
            "build-agent --target",
        ],
    );
    assert_eq!(host.counter.starts(), 2);
}

#[test]
fn a_missing_image_is_named_with_those_there_are_and_the_way_to_build_it() {
    let _leaks = Leaks::begin();
    let stock = stock_images();
    let router = router(stock.path().to_owned());
    let host = Renamed::called("riscv64");
    let error = refused(
        router.local().shell_words(host.words(&[])).connect(),
        Kind::Platform,
    );
    assert_says(
        &error,
        &[
            "no agent offshoot-agent for riscv64",
            "there are images for x86_64 and aarch64",
            "build-agent --target riscv64",
        ],
    );
    assert_eq!(host.counter.starts(), 1, "no second attempt can help");
}

#[test]
fn a_program_carries_images_of_any_platform() {
    let _leaks = Leaks::begin();
    if !is_able(I686, I686_TARGET) {
        return;
    }
    let read = |target: &str| {
        let image = Path::new(target).join("offshoot-agent.image");
        std::fs::read(all_images().join(image)).expect("it was built")
    };
    let router = Router::builder()
        .image(read("x86_64-unknown-linux-musl"))
        .image(read(I686_TARGET))
        .start()
        .expect("both are images");
    let host = Renamed::called("i686");
    let context = router
        .local()
        .shell_words(host.words(&I686.words()))
        .connect()
        .expect("the program has its image");
    assert_eq!(facts_of(&context).platform, "i686");
    let host = Renamed::called("riscv64");
    let error = refused(
        router.local().shell_words(host.words(&[])).connect(),
        Kind::Platform,
    );
    assert_says(
        &error,
        &["no agent for riscv64: this program has one of its own for x86_64 and i686 only"],
    );
}
