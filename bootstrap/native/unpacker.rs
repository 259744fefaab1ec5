//! Stage 2: the first part of every image. Unpacks the agent in the same file and becomes it.
//!
//! Started with `title`, `param` and `dir`, which it passes on, and if a shell had the loader in a
//! file, with the file's directory and the agent's working directory, because stage 0 may have
//! changed to a directory for files. Everything else is in its own memory, so it needs neither
//! /proc nor its path. It must never touch stdin or stdout.

#![no_std]
#![no_main]

#[path = "../src/branch_filter.rs"]
#[allow(dead_code)]
mod branch_filter;
#[path = "../src/layout.rs"]
#[allow(dead_code)]
mod layout;
#[path = "../src/lzma.rs"]
mod lzma;
mod place;
#[allow(dead_code)]
mod sys;

use core::slice;

/// Exit code: started by hand, without arguments.
const PROBE: usize = 42;
/// Exit code: the payload is damaged.
const DAMAGED: usize = 98;
/// Exit code: no memory, no file for the agent, or the kernel refused to execute it.
const NO_MEMORY: usize = 99;

/// Offsets in `param`.
const AGENT_FD: usize = 1;
const NONCE: usize = 19;

/// Offset of the file's length in the program header.
#[cfg(target_pointer_width = "64")]
const FILE_LENGTH: usize = 64 + 32;
/// Offset of the file's length in the program header.
#[cfg(target_pointer_width = "32")]
const FILE_LENGTH: usize = 52 + 16;

unsafe extern "C" {
    #[link_name = "__base"]
    static BASE: u8;
}

/// Runs the stage; called by `_start` with the initial stack.
///
/// # Safety
/// `stack` must point to argc, argv and the environment in the kernel's layout.
unsafe extern "C" fn entry(stack: *const *const u8) -> ! {
    // SAFETY: the stack has the kernel's layout; the loader passes its arguments on, `param` in
    // writable memory. The segment at BASE is mapped for the length in its header, memory from
    // `map` for the requested length.
    unsafe {
        let argc = (stack as *const usize).read();
        if argc < 3 {
            sys::exit(PROBE);
        }
        let argv = stack.add(1);
        let param = *argv.add(1) as *mut u8;
        let base = &raw const BASE;
        let image = slice::from_raw_parts(base, (base.add(FILE_LENGTH) as *const usize).read());
        let Some(trailer) = layout::Trailer::read(image) else { sys::exit(DAMAGED) };
        let Some(payload) = trailer.payload(image) else { sys::exit(DAMAGED) };

        let work = size_of::<[u16; lzma::PROBABILITIES]>();
        let length = trailer.raw_length as usize;
        let memory = sys::map(work + length);
        if sys::is_error(memory) {
            sys::exit(NO_MEMORY);
        }
        let memory = memory as *mut u8;
        let program = slice::from_raw_parts_mut(memory.add(work), length);
        if lzma::decode(payload, &mut *(memory as *mut [u16; lzma::PROBABILITIES]), program).is_err() {
            sys::exit(DAMAGED);
        }
        #[cfg(target_arch = "x86_64")]
        branch_filter::undo(branch_filter::Filter::X86, program);
        #[cfg(target_arch = "aarch64")]
        branch_filter::undo(branch_filter::Filter::Arm64, program);
        #[cfg(target_arch = "x86")]
        branch_filter::undo(branch_filter::Filter::I686, program);
        #[cfg(target_arch = "riscv64")]
        branch_filter::undo(branch_filter::Filter::Riscv, program);
        #[cfg(target_arch = "arm")]
        branch_filter::undo(branch_filter::Filter::Arm, program);
        if layout::fnv1a(program) != trailer.raw_checksum {
            sys::exit(DAMAGED);
        }
        let fd = place::place(program.as_ptr(), length, *argv, *argv.add(2), param.add(NONCE));
        if fd >= 0 {
            *param.add(AGENT_FD) = b'0'.wrapping_add(fd as u8);
            if argc > 4 {
                sys::change_directory(*argv.add(4));
            }
            *(argv as *mut *const u8).add(3) = core::ptr::null();
            sys::exec(fd, argv, argv.add(argc + 1));
        }
        sys::exit(NO_MEMORY)
    }
}
