//! The platforms that have images.

use std::fmt;

use crate::branch_filter::Filter;

/// Prefix of the line that stage 0 prints on both streams if the machine has another platform than
/// expected: this, the machine's name, `:`.
pub const PLATFORM_NOTICE: &str = "offshoot:platform:";

/// A kind of machine that agents are built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Platform {
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit x86 with SSE2.
    I686,
    /// 32-bit ARM, version 7 with floating point.
    Armv7,
    /// 64-bit RISC-V with the extensions GC.
    Riscv64,
}

impl Platform {
    /// Every platform, the most common first.
    pub const ALL: [Self; 5] = [
        Self::X86_64,
        Self::Aarch64,
        Self::I686,
        Self::Armv7,
        Self::Riscv64,
    ];

    /// The platforms whose stock images are in packages and in the distributed command line.
    /// Images for the others are built by whoever needs them.
    pub const STOCK: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// Returns the platform that `uname -m` calls `machine`.
    pub fn from_machine(machine: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|platform| platform.machines().contains(&machine))
    }

    /// Returns the name of the platform in Linux's `uname -m`.
    pub fn machine(self) -> &'static str {
        self.machines()[0]
    }

    /// Returns all names of the platform in `uname -m`, Linux's own first.
    pub(crate) fn machines(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &["x86_64", "amd64"],
            Self::Aarch64 => &["aarch64", "arm64"],
            Self::I686 => &["i686", "i386", "i486", "i586"],
            // The second is the name for 32-bit programs on a 64-bit kernel.
            Self::Armv7 => &["armv7l", "armv8l"],
            Self::Riscv64 => &["riscv64"],
        }
    }

    /// Returns the platform of 64-bit kernels that run the programs of this one as well, and tell
    /// them its name.
    pub fn wider(self) -> Option<Self> {
        match self {
            Self::I686 => Some(Self::X86_64),
            Self::Armv7 => Some(Self::Aarch64),
            Self::X86_64 | Self::Aarch64 | Self::Riscv64 => None,
        }
    }

    /// Returns the Rust target of the platform's agents.
    pub fn rust_target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-musl",
            Self::Aarch64 => "aarch64-unknown-linux-musl",
            Self::I686 => "i686-unknown-linux-musl",
            Self::Armv7 => "armv7-unknown-linux-musleabihf",
            Self::Riscv64 => "riscv64gc-unknown-linux-musl",
        }
    }

    /// Returns the Rust target of the platform with the C library of GNU, for programs that need
    /// core alone.
    pub fn gnu_target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
            Self::I686 => "i686-unknown-linux-gnu",
            Self::Armv7 => "armv7-unknown-linux-gnueabihf",
            Self::Riscv64 => "riscv64gc-unknown-linux-gnu",
        }
    }

    /// Returns the platform that this program was compiled for, if it has agents.
    pub fn host() -> Option<Self> {
        if cfg!(not(target_os = "linux")) {
            return None;
        }
        Self::of_arch(std::env::consts::ARCH)
    }

    /// Returns the platform that Rust calls `arch`, as in `CARGO_CFG_TARGET_ARCH`.
    pub fn of_arch(arch: &str) -> Option<Self> {
        match arch {
            "x86" => Some(Self::I686),
            "arm" => Some(Self::Armv7),
            other => Self::from_machine(other),
        }
    }

    /// Returns the number of the platform in an image's trailer.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::X86_64 => 1,
            Self::Aarch64 => 2,
            Self::I686 => 3,
            Self::Armv7 => 4,
            Self::Riscv64 => 5,
        }
    }

    /// Returns the number of the platform in an ELF header.
    pub(crate) fn elf_machine(self) -> u16 {
        match self {
            Self::X86_64 => 62,
            Self::Aarch64 => 183,
            Self::I686 => 3,
            Self::Armv7 => 40,
            Self::Riscv64 => 243,
        }
    }

    /// Returns the width of the platform's addresses in bits.
    pub fn pointer_width(self) -> usize {
        match self {
            Self::X86_64 | Self::Aarch64 | Self::Riscv64 => 64,
            Self::I686 | Self::Armv7 => 32,
        }
    }

    /// Returns the number of the platform's system call `memfd_create`.
    pub(crate) fn memfd_create(self) -> u16 {
        match self {
            Self::X86_64 => 319,
            Self::Aarch64 | Self::Riscv64 => 279,
            Self::I686 => 356,
            Self::Armv7 => 385,
        }
    }

    /// Returns the filter of the platform's agents.
    pub(crate) fn filter(self) -> Filter {
        match self {
            Self::X86_64 => Filter::X86,
            Self::Aarch64 => Filter::Arm64,
            Self::I686 => Filter::I686,
            Self::Armv7 => Filter::Arm,
            Self::Riscv64 => Filter::Riscv,
        }
    }
}

/// Returns the names of some platforms as words of a sentence: `x86_64, aarch64 and i686`.
pub fn names(platforms: &[Platform]) -> String {
    let mut text = String::new();
    for (at, platform) in platforms.iter().enumerate() {
        text.push_str(match platforms.len() - at {
            _ if at == 0 => "",
            1 => " and ",
            _ => ", ",
        });
        text.push_str(platform.machine());
    }
    text
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.machine())
    }
}

/// Returns the machine's name in a line that stage 0 has printed on another platform. It may be any
/// text, even empty.
pub fn platform_notice(line: &str) -> Option<&str> {
    // std's text search would take a hundredth of an agent.
    let at = line
        .as_bytes()
        .windows(PLATFORM_NOTICE.len())
        .position(|window| window == PLATFORM_NOTICE.as_bytes())?;
    let (machine, _) = line.get(at + PLATFORM_NOTICE.len()..)?.split_once(':')?;
    Some(machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_names_map_to_platforms() {
        assert_eq!(Platform::from_machine("amd64"), Some(Platform::X86_64));
        assert_eq!(Platform::from_machine("arm64"), Some(Platform::Aarch64));
        assert_eq!(Platform::from_machine("armv8l"), Some(Platform::Armv7));
        assert_eq!(Platform::from_machine("i386"), Some(Platform::I686));
        for unknown in ["armv6l", "armv7b", "i286", "riscv32", "vax", ""] {
            assert_eq!(Platform::from_machine(unknown), None);
        }
        for platform in Platform::ALL {
            assert_eq!(Platform::from_machine(platform.machine()), Some(platform));
        }
    }

    #[test]
    fn no_name_belongs_to_two_platforms() {
        let mut all: Vec<_> = Platform::ALL
            .iter()
            .flat_map(|platform| platform.machines())
            .collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn names_of_platforms_are_words_of_a_sentence() {
        assert_eq!(names(&[]), "");
        assert_eq!(names(&[Platform::I686]), "i686");
        assert_eq!(names(&Platform::STOCK), "x86_64 and aarch64");
        assert_eq!(
            names(&Platform::ALL),
            "x86_64, aarch64, i686, armv7l and riscv64"
        );
    }

    #[test]
    fn the_platform_notice_is_found_after_other_text_on_its_line() {
        assert_eq!(
            platform_notice("motd offshoot:platform:riscv64:"),
            Some("riscv64")
        );
        assert_eq!(platform_notice("offshoot:platform:"), None);
        assert_eq!(platform_notice("offshoot: web1"), None);
    }
}
