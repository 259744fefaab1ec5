//! Stage 1: reads an image of known length and checksum from stdin, exactly, and becomes it.
//!
//! Started by stage 0 as `<file> <title> <param> <dir> <folder> <back>`: files can be created in
//! `dir`, `<file>` is alone in `folder`, and `back` is the agent's working directory, to which the
//! unpacker changes. An interpreter that holds the stage in memory passes an empty `dir` and no
//! more. See `offshoot_bootstrap::Param` for `param`. The stage is sent inside a shell command, so
//! every byte counts. It must never read past the image, because frames follow.

#![no_std]
#![no_main]

mod place;
mod sys;

use place::place;

/// Exit code: probed by stage 0, which shows that the file can be executed here.
const PROBE: usize = 42;
/// Exit code: no byte arrived on stdin.
const NO_IMAGE: usize = 93;
/// Number of seconds for which an image may pause: a slow or sleeping link is no error.
const STALL: usize = 600;
/// Exit code: stdin ended inside the image.
const SHORT: usize = 94;
/// Exit code: the bytes are not the expected image.
const CORRUPT: usize = 95;
/// Exit code: neither memory nor an executable file for the image.
const NO_FILE: usize = 96;
/// Exit code: the kernel refused to execute the image.
const REFUSED: usize = 97;

/// SIGTERM, the last signal to restore. SIGXFSZ stays ignored, so that a file size limit is an
/// error.
const LAST_SIGNAL: usize = 15;

/// Offsets in `param`.
const IMAGE_FD: usize = 0;
const MODE: usize = 2;
const LENGTH: usize = 3;
const NONCE: usize = 19;
const END: usize = 35;

const FNV_START: u32 = 0x811c_9dc5;
const FNV_PRIME: u32 = 0x0100_0193;
/// FNV-1a hash of the first four bytes of every ELF file.
const FNV_OF_ELF: u32 = elf_hash();

/// First byte of every ELF file, and of nothing that is sent before one.
const FIRST_OF_ELF: u8 = 0x7f;

const fn elf_hash() -> u32 {
    let mut hash = FNV_START;
    let mut i = 0;
    while i < 4 {
        hash = (hash ^ b"\x7fELF"[i] as u32).wrapping_mul(FNV_PRIME);
        i += 1;
    }
    hash
}

/// Reads the sixteen hexadecimal digits of length and checksum as one number.
///
/// # Safety
/// `digits` must be readable for sixteen bytes.
#[inline(always)]
unsafe fn hex(mut digits: *const u8) -> u64 {
    let mut value = 0;
    for _ in 0..16 {
        // SAFETY: within the sixteen bytes.
        let digit = unsafe { *digits } as u64;
        digits = digits.wrapping_add(1);
        value = value << 4 | (digit & 15) + 9 * (digit >> 6);
    }
    value
}

/// Runs the stage; called by `_start` with the initial stack.
///
/// # Safety
/// `stack` must point to argc, argv and the environment in the kernel's layout.
unsafe extern "C" fn entry(stack: *const *const u8) -> ! {
    // SAFETY: the stack has the kernel's layout. argv has four entries if argc says so, and a null
    // pointer behind the last. Stage 0 wrote `param` with 35 characters, and its memory is
    // writable. Memory from `map` is accessed below `length` only.
    unsafe {
        if (stack as *const usize).read() < 4 {
            sys::exit(PROBE);
        }
        let argv = stack.add(1);
        sys::unlink(sys::AT_FDCWD, *argv, 0);
        sys::unlink(sys::AT_FDCWD, *argv.add(4), sys::AT_REMOVEDIR);
        // Stage 0 has ignored these signals. From here on nothing can be left behind.
        let mut signal = LAST_SIGNAL;
        while signal > 0 {
            sys::set_default(signal);
            signal -= 1;
        }
        let param = *argv.add(2) as *mut u8;
        let mut seconds = 10;
        if *param.add(MODE) == b'w' {
            *param.add(MODE) = b'R';
            sys::write(1, param.add(MODE), END - MODE);
            *param.add(MODE) = b'w';
            seconds = 60;
        }
        let promised = hex(param.add(LENGTH));
        let length = (promised >> 32) as usize;
        let memory = sys::map(length);
        if sys::is_error(memory) {
            sys::exit(NO_FILE);
        }
        let memory = memory as *mut u8;

        let mut hash = FNV_START;
        let mut at = memory;
        let end = memory.add(length);
        while at < end {
            if sys::wait_for_stdin(seconds) == 0 {
                sys::exit(NO_IMAGE);
            }
            // One byte only: what comes before the image is for another shell, or left over from
            // input for a start-up file.
            let want = if at == memory { 1 } else { end as usize - at as usize };
            let got = sys::read(0, at, want);
            if got <= 0 {
                if got != sys::EAGAIN && got != sys::EINTR {
                    sys::exit(SHORT);
                }
                continue;
            }
            if at == memory && *at != FIRST_OF_ELF {
                continue;
            }
            seconds = STALL;
            let stop = at.add(got as usize);
            while at < stop {
                hash = (hash ^ *at as u32).wrapping_mul(FNV_PRIME);
                at = at.add(1);
                // Detected at once if a start-up file has read the beginning; the missing bytes
                // would never come.
                if at == memory.add(4) && hash != FNV_OF_ELF {
                    sys::exit(CORRUPT);
                }
            }
        }
        if hash != promised as u32 {
            sys::exit(CORRUPT);
        }
        let fd = place(memory, length, *argv.add(1), *argv.add(3), param.add(NONCE));
        if fd < 0 {
            sys::exit(NO_FILE);
        }
        *param.add(IMAGE_FD) = b'0'.wrapping_add(fd as u8);
        sys::exec(fd, argv.add(1), argv.add((stack as *const usize).read() + 1));
        sys::exit(REFUSED)
    }
}
