//! Options of LLVM that make a stock agent smaller on the wire.
//!
//! They are given to the last crate alone, which with fat LTO is where all code is generated. What they have in common: the
//! code is more alike, so the compressor finds more of it again. Speed they cost none that a bench shows.

use std::path::Path;
use std::process::Command;

use offshoot_bootstrap::Platform;

use crate::workspace::output_of;

/// One option, and how many bytes of the image are lost without it: on x86_64 and on aarch64. None where there is no such option.
struct Code {
    option: &'static str,
    x86_64: Option<u32>,
    aarch64: Option<u32>,
}

/// They are internal to LLVM: another version may have other names, or another gain. Measured with rustc 1.95.0.
const SMALLER: [Code; 8] = [
    // The first register that is free instead of the best one, so it is the same few again and again.
    Code { option: "-regalloc=basic", x86_64: Some(1694), aarch64: Some(885) },
    Code { option: "-disable-machine-licm", x86_64: Some(560), aarch64: Some(672) },
    Code { option: "-disable-lsr", x86_64: Some(534), aarch64: Some(663) },
    Code { option: "-disable-machine-cse", x86_64: Some(576), aarch64: Some(167) },
    Code { option: "-enable-gvn-memdep=false", x86_64: Some(272), aarch64: Some(145) },
    Code { option: "-disable-constant-hoisting", x86_64: Some(312), aarch64: Some(13) },
    // Instructions stay in the order in which they were written.
    Code { option: "-enable-misched=false", x86_64: Some(140), aarch64: Some(1047) },
    Code { option: "-disable-x86-lea-opt", x86_64: Some(691), aarch64: None },
];

/// The arguments of `rustc` for the last crate of an agent for `platform`, as far as this compiler knows them.
pub fn arguments(rustc: &Path, platform: Platform) -> Vec<String> {
    let gain = |code: &Code| match platform {
        Platform::X86_64 => code.x86_64,
        Platform::Aarch64 => code.aarch64,
    };
    let options = SMALLER.iter().filter(|code| gain(code).is_some());
    let mut arguments: Vec<_> = options.map(|code| format!("-Cllvm-args={}", code.option)).collect();
    if !knows(rustc, platform, &arguments) {
        arguments.retain(|argument| {
            let known = knows(rustc, platform, std::slice::from_ref(argument));
            if !known {
                eprintln!("build-agent: this compiler does not know {argument}; the image becomes larger");
            }
            known
        });
    }
    arguments
}

fn knows(rustc: &Path, platform: Platform, arguments: &[String]) -> bool {
    let question = ["--print", "target-features", "--target", platform.rust_target()];
    output_of(Command::new(rustc).args(question).args(arguments)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{arguments, knows};
    use offshoot_bootstrap::Platform;
    use std::path::Path;

    #[test]
    fn the_pinned_compiler_knows_every_option_and_no_other() {
        let rustc = Path::new("rustc");
        for platform in Platform::ALL {
            let known = arguments(rustc, platform);
            assert!(known.len() >= 7 && knows(rustc, platform, &known), "{platform}: {known:?}");
            assert!(!knows(rustc, platform, &["-Cllvm-args=-no-such-option".to_owned()]));
        }
    }
}
