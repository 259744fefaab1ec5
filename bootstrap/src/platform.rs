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
}

impl Platform {
    /// Every platform, the most common first.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

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
    pub(crate) fn machines(self) -> [&'static str; 2] {
        match self {
            Self::X86_64 => ["x86_64", "amd64"],
            Self::Aarch64 => ["aarch64", "arm64"],
        }
    }

    /// Returns the Rust target of the platform's agents.
    pub fn rust_target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-musl",
            Self::Aarch64 => "aarch64-unknown-linux-musl",
        }
    }

    /// Returns the platform that this program was compiled for, if it has agents.
    pub fn host() -> Option<Self> {
        if cfg!(target_os = "linux") {
            Self::from_machine(std::env::consts::ARCH)
        } else {
            None
        }
    }

    /// Returns the number of the platform in an image's trailer.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::X86_64 => 1,
            Self::Aarch64 => 2,
        }
    }

    /// Returns the number of the platform in an ELF header.
    pub(crate) fn elf_machine(self) -> u16 {
        match self {
            Self::X86_64 => 62,
            Self::Aarch64 => 183,
        }
    }

    /// Returns the number of the platform's system call `memfd_create`.
    pub(crate) fn memfd_create(self) -> u16 {
        match self {
            Self::X86_64 => 319,
            Self::Aarch64 => 279,
        }
    }

    /// Returns the filter of the platform's agents.
    pub(crate) fn filter(self) -> Filter {
        match self {
            Self::X86_64 => Filter::X86,
            Self::Aarch64 => Filter::Arm64,
        }
    }
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
        assert_eq!(Platform::from_machine("armv7l"), None);
        for platform in Platform::ALL {
            assert_eq!(Platform::from_machine(platform.machine()), Some(platform));
        }
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
