//! Options of LLVM that make the image of the stock agent smaller.
//!
//! Only the last crate gets the options: with fat LTO, all code is generated there. Each option
//! makes functions more similar, so that they compress better. The bench shows no loss of speed.

use std::path::Path;
use std::process::Command;

use offshoot_bootstrap::Platform;

use crate::run::output_of;

/// An option, and the bytes that an image grows by without the option; none if the platform has no
/// such option, or its image is smaller without. armv7 and riscv64 get the options of aarch64.
struct Code {
    option: &'static str,
    x86_64: Option<u32>,
    i686: Option<u32>,
    aarch64: Option<u32>,
}

/// The options. They are internal to LLVM, so another version may have other names and other gains.
/// Measured with rustc 1.95.0.
const SMALLER: [Code; 9] = [
    // Takes the first free register instead of the best one, so most code uses the same few.
    Code {
        option: "-regalloc=basic",
        x86_64: Some(1694),
        i686: Some(836),
        aarch64: Some(885),
    },
    Code {
        option: "-disable-machine-licm",
        x86_64: Some(560),
        i686: Some(231),
        aarch64: Some(672),
    },
    Code {
        option: "-disable-lsr",
        x86_64: Some(534),
        i686: Some(55),
        aarch64: Some(663),
    },
    Code {
        option: "-disable-machine-cse",
        x86_64: Some(576),
        i686: Some(189),
        aarch64: Some(167),
    },
    Code {
        option: "-enable-gvn-memdep=false",
        x86_64: Some(272),
        i686: Some(209),
        aarch64: Some(145),
    },
    Code {
        option: "-disable-constant-hoisting",
        x86_64: Some(312),
        i686: None,
        aarch64: Some(13),
    },
    // Keeps instructions in the order of the source.
    Code {
        option: "-enable-misched=false",
        x86_64: Some(140),
        i686: None,
        aarch64: Some(1047),
    },
    Code {
        option: "-disable-x86-lea-opt",
        x86_64: Some(691),
        i686: Some(55),
        aarch64: None,
    },
    // Writes arguments into the frame, whose offsets then stay the same within a function.
    Code {
        option: "-no-x86-call-frame-opt",
        x86_64: None,
        i686: Some(450),
        aarch64: None,
    },
];

/// Returns the arguments of rustc for the last crate of an agent, without those that this compiler
/// does not know.
pub(crate) fn arguments(rustc: &Path, platform: Platform) -> Vec<String> {
    let gain = |code: &Code| match platform {
        Platform::X86_64 => code.x86_64,
        Platform::I686 => code.i686,
        Platform::Aarch64 | Platform::Armv7 | Platform::Riscv64 => code.aarch64,
    };
    let options = SMALLER.iter().filter(|code| gain(code).is_some());
    let mut arguments: Vec<_> = options
        .map(|code| format!("-Cllvm-args={}", code.option))
        .collect();
    if !knows(rustc, platform, &arguments) {
        arguments.retain(|argument| {
            let known = knows(rustc, platform, std::slice::from_ref(argument));
            if !known {
                eprintln!(
                    "build-agent: this compiler does not know {argument}; the image will be larger"
                );
            }
            known
        });
    }
    arguments
}

fn knows(rustc: &Path, platform: Platform, arguments: &[String]) -> bool {
    let question = [
        "--print",
        "target-features",
        "--target",
        platform.rust_target(),
    ];
    output_of(Command::new(rustc).args(question).args(arguments)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{arguments, knows};
    use offshoot_bootstrap::Platform;
    use std::path::Path;

    #[test]
    fn the_pinned_compiler_accepts_exactly_the_known_options() {
        let rustc = Path::new("rustc");
        for platform in Platform::ALL {
            let known = arguments(rustc, platform);
            assert!(
                known.len() >= 6 && knows(rustc, platform, &known),
                "{platform}: {known:?}"
            );
            assert!(!knows(
                rustc,
                platform,
                &["-Cllvm-args=-no-such-option".to_owned()]
            ));
        }
    }
}
