//! Exit codes of the stages, with explanations.
//!
//! The numbers are repeated in `bootstrap/native/`. They are above those of shells and common
//! tools, and below 125, where those of shells, containers and signals begin.

/// The loader was probed and can be executed in its place. Stage 0 never ends with this code.
pub const PROBE: i32 = 42;
/// A shell has read [`crate::OTHER_SHELL_EXITS`] as its first command.
pub const OTHER_SHELL: i32 = 88;
/// The agent was started and cannot go on.
pub const UNFIT: i32 = 89;
/// Stage 0 found neither a place for the loader nor an interpreter.
pub const NO_PLACE: i32 = 90;
/// The machine has another platform than the image.
pub const PLATFORM: i32 = 91;
/// An interpreter was found but could not execute the loader from memory.
pub const INTERPRETER: i32 = 92;
/// No byte arrived on stdin in time.
pub const NO_IMAGE: i32 = 93;
/// Stdin ended inside the image.
pub const SHORT: i32 = 94;
/// The bytes on stdin are not the image.
pub const CORRUPT: i32 = 95;
/// The loader found neither memory nor a file for the image.
pub const NO_FILE: i32 = 96;
/// The kernel refused to execute the image.
pub const REFUSED: i32 = 97;
/// The payload of the image is damaged.
pub const DAMAGED: i32 = 98;
/// The unpacker found neither memory nor a file for the agent, or the kernel refused to execute it.
pub const NO_MEMORY: i32 = 99;

/// Returns the meaning of a bootstrap's exit code with advice, as the end of a sentence; `None` for
/// other codes.
pub fn explain(code: i32) -> Option<&'static str> {
    Some(match code {
        OTHER_SHELL => {
            "a start-up file there starts another shell, in which nothing was executed (look for `exec` in it); let it do \
             so at a terminal only, behind `[ -t 0 ] &&`"
        }
        UNFIT => {
            "the agent was started and could not go on: its stdout is closed, or its limit of open files or memory is too \
             low; raise the limit there (ulimit -n, ulimit -v)"
        }
        NO_PLACE => {
            "no directory there is both writable and executable (tried $TMPDIR, /dev/shm, /tmp, /run, /var/tmp, the home \
             directory, /dev and the working directory, with mkdir, chmod and rm) and neither perl nor python3 is installed; make one of the \
             directories executable or set TMPDIR to one of the user's own that is"
        }
        PLATFORM => {
            "the machine is of another platform than the agent that was chosen; name its platform, or build an agent for it"
        }
        INTERPRETER => {
            "every directory tried is read-only or mounted noexec, and the kernel would not execute from memory either \
             (sysctl vm.memfd_noexec, a seccomp filter, a security module or a limit of file sizes, ulimit -f); set TMPDIR to a \
             directory that is writable and executable, or raise the limit"
        }
        NO_IMAGE => {
            "the agent did not arrive within the time allowed; something on the way holds stdin back, or the link is too \
             slow for waiting less"
        }
        SHORT => {
            "stdin ended before the whole agent had arrived; something on the way closed it or cut it short"
        }
        CORRUPT => {
            "the image arrived damaged; a start-up file there may read stdin (look for `read` in it), or the \
             transport may change bytes (a terminal that is not in raw mode)"
        }
        NO_FILE => {
            "there is neither memory for the agent nor a directory to put it in; free some memory, raise a limit of file \
             sizes (ulimit -f), or set TMPDIR to a directory that is writable and executable"
        }
        REFUSED => {
            "the kernel refused to execute the agent (a noexec mount, a seccomp filter or a security module); set TMPDIR \
             to a directory from which programs may be executed"
        }
        DAMAGED => {
            "the agent in the image does not match its checksum; rebuild the image with `cargo xtask build-agent`"
        }
        NO_MEMORY => {
            "the unpacked agent could not be stored or executed; free some memory, raise a limit of file sizes (ulimit \
             -f), or set TMPDIR to a directory that is writable and executable"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_exit_codes_of_the_stages_are_explained() {
        for code in 0..=255 {
            assert_eq!(
                explain(code).is_some(),
                (OTHER_SHELL..=NO_MEMORY).contains(&code),
                "exit code {code}"
            );
        }
    }

    #[test]
    fn explanations_finish_a_sentence() {
        for code in OTHER_SHELL..=NO_MEMORY {
            let text = explain(code).unwrap_or_default();
            assert!(
                text.starts_with(char::is_lowercase) && !text.ends_with('.'),
                "{text}"
            );
            assert!(!text.contains('\n') && !text.contains("  "), "{text}");
        }
    }
}
