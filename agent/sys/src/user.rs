//! The user of this process, and the machine.

/// Returns the number of the effective user.
#[must_use]
pub fn effective() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Returns the name of the kernel, the host name, the kernel's release and the machine; all empty
/// if the kernel returns an error, which none does.
#[must_use]
pub fn uname() -> [String; 4] {
    let text = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
    nix::sys::utsname::uname()
        .map(|names| {
            [
                names.sysname(),
                names.nodename(),
                names.release(),
                names.machine(),
            ]
            .map(text)
        })
        .unwrap_or_default()
}

/// Returns the number of the effective group.
#[must_use]
pub fn effective_group() -> u32 {
    nix::unistd::getegid().as_raw()
}
