//! The system calls and the entry point that the native stages share.
//!
//! For programs without a C library. Must never allocate, keep state or decide anything: what a call's failure means
//! is the stage's business. Results are the kernel's own, with errors as small negative numbers.

use core::arch::{asm, global_asm};

// The kernel starts a program with argc at the stack pointer, argv behind it and the environment behind that.
#[cfg(target_arch = "x86_64")]
global_asm!(".section .text._start,\"ax\"", ".globl _start", "_start:", "mov rdi, rsp", "call {}", sym crate::entry);
#[cfg(target_arch = "aarch64")]
global_asm!(".section .text._start,\"ax\"", ".globl _start", "_start:", "mov x0, sp", "bl {}", sym crate::entry);

#[cfg(target_arch = "x86_64")]
mod number {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const MMAP: usize = 9;
    pub const RT_SIGACTION: usize = 13;
    pub const EXECVE: usize = 59;
    pub const FCNTL: usize = 72;
    pub const CHDIR: usize = 80;
    pub const EXIT: usize = 231;
    pub const OPENAT: usize = 257;
    pub const UNLINKAT: usize = 263;
    pub const PPOLL: usize = 271;
    pub const MEMFD_CREATE: usize = 319;
    pub const EXECVEAT: usize = 322;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub const FCNTL: usize = 25;
    pub const UNLINKAT: usize = 35;
    pub const CHDIR: usize = 49;
    pub const OPENAT: usize = 56;
    pub const CLOSE: usize = 57;
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const PPOLL: usize = 73;
    pub const EXIT: usize = 94;
    pub const RT_SIGACTION: usize = 134;
    pub const EXECVE: usize = 221;
    pub const MMAP: usize = 222;
    pub const MEMFD_CREATE: usize = 279;
    pub const EXECVEAT: usize = 281;
}

/// Interrupted by a signal: try again.
pub const EINTR: isize = -4;
/// Nothing there yet on a descriptor that does not block.
pub const EAGAIN: isize = -11;
/// An argument the kernel does not know.
pub const EINVAL: isize = -22;
/// A system call the kernel (or qemu-user) does not know.
pub const ENOSYS: isize = -38;

/// "Relative to the working directory".
pub const AT_FDCWD: isize = -100;
/// Remove a directory.
pub const AT_REMOVEDIR: usize = 0x200;
const AT_EMPTY_PATH: usize = 0x1000;
const O_CLOEXEC: usize = 0o2_000_000;
/// The flags that name `open`'s modes; the two architectures differ in none of these.
pub const O_RDONLY: usize = 0;
/// Create a file that nobody else has, for writing.
pub const O_NEW: usize = 0o301;
/// A place to name files in (`O_PATH`), gone at exec.
pub const O_FOLDER: usize = 0o10_000_000 | O_CLOEXEC;
/// A memfd that can be sealed.
pub const MFD_SEALABLE: usize = 2;
/// A memfd that can be executed, said explicitly (Linux 6.3 and later).
pub const MFD_EXEC: usize = 16;

/// Performs a system call; registers of arguments that are not given are left as they are, which is shorter.
///
/// Unsafe: pointers among the arguments must be valid for what the call does with them.
#[cfg(target_arch = "x86_64")]
macro_rules! call {
    ($n:expr $(, $a:expr $(, $b:expr $(, $c:expr $(, $d:expr $(, $e:expr $(, $f:expr)?)?)?)?)?)?) => {{
        let result: isize;
        asm!("syscall", inlateout("rax") $n as isize => result $(, in("rdi") $a $(, in("rsi") $b $(, in("rdx") $c
             $(, in("r10") $d $(, in("r8") $e $(, in("r9") $f)?)?)?)?)?)?, lateout("rcx") _, lateout("r11") _,
             options(nostack));
        result
    }};
}

/// Performs a system call, as above.
#[cfg(target_arch = "aarch64")]
macro_rules! call {
    ($n:expr $(, $a:expr $(, $b:expr $(, $c:expr $(, $d:expr $(, $e:expr $(, $f:expr)?)?)?)?)?)?) => {{
        let result: isize;
        asm!("svc 0", in("x8") $n, inlateout("x0") first!($($a)?) => result $($(, in("x1") $b $(, in("x2") $c
             $(, in("x3") $d $(, in("x4") $e $(, in("x5") $f)?)?)?)?)?)?, options(nostack));
        result
    }};
}

#[cfg(target_arch = "aarch64")]
macro_rules! first {
    ($a:expr) => {
        $a as isize
    };
}

/// Ends the process.
pub fn exit(code: usize) -> ! {
    // SAFETY: takes no pointer and does not return.
    unsafe { call!(number::EXIT, code) };
    loop {}
}

/// Reads at most `length` bytes to `to`.
///
/// # Safety
/// `to` must be writable for `length` bytes.
#[inline(always)]
pub unsafe fn read(fd: isize, to: *mut u8, length: usize) -> isize {
    // SAFETY: the caller's promise.
    unsafe { call!(number::READ, fd, to, length) }
}

/// Writes at most `length` bytes.
///
/// # Safety
/// `from` must be readable for `length` bytes.
#[inline(always)]
pub unsafe fn write(fd: isize, from: *const u8, length: usize) -> isize {
    // SAFETY: the caller's promise.
    unsafe { call!(number::WRITE, fd, from, length) }
}

/// Closes a descriptor of the stage's own.
#[inline(always)]
pub fn close(fd: isize) {
    // SAFETY: takes no pointer; nobody else in this process holds the descriptor.
    unsafe { call!(number::CLOSE, fd) };
}

/// Opens `path` (a C string) below the directory `at`; a new file is for its owner alone, executable.
///
/// # Safety
/// `path` must point to a C string.
#[inline(always)]
pub unsafe fn open(at: isize, path: *const u8, flags: usize) -> isize {
    // SAFETY: the caller's promise.
    unsafe { call!(number::OPENAT, at, path, flags, 0o700usize) }
}

/// Removes `path` (a C string) below the directory `at`, if it is there; with [`AT_REMOVEDIR`] an empty directory.
///
/// # Safety
/// `path` must point to a C string.
#[inline(always)]
pub unsafe fn unlink(at: isize, path: *const u8, flags: usize) {
    // SAFETY: the caller's promise.
    unsafe { call!(number::UNLINKAT, at, path, flags) };
}

/// Makes `path` (a C string) the working directory, if it can be.
///
/// # Safety
/// `path` must point to a C string.
#[inline(always)]
pub unsafe fn change_directory(path: *const u8) {
    // SAFETY: the caller's promise.
    unsafe { call!(number::CHDIR, path) };
}

/// Has the kernel do with a signal what it does when nobody has said anything.
#[inline(always)]
pub fn set_default(signal: usize) {
    let action = [0usize; 4]; // the kernel's struct sigaction: SIG_DFL, no flags, no signals blocked meanwhile
    // SAFETY: the structure lives until the call returns; what was set before is not asked for.
    unsafe { call!(number::RT_SIGACTION, signal, &raw const action, 0usize, 8usize) };
}

/// Waits at most `seconds` until stdin has something to read or has ended. Returns 0 when the time is over.
#[inline(always)]
pub fn wait_for_stdin(seconds: usize) -> isize {
    let mut poll: u64 = 1 << 32; // struct pollfd { fd: 0, events: POLLIN, revents: 0 }
    let mut time = [seconds, 0];
    // SAFETY: both structures live until the call returns; without a signal mask its size is not looked at.
    unsafe { call!(number::PPOLL, &raw mut poll, 1usize, &raw mut time, 0usize) }
}

/// Maps fresh, zeroed memory; a small negative number when there is none.
#[inline(always)]
pub fn map(length: usize) -> isize {
    // SAFETY: the kernel picks an address that nothing uses.
    unsafe { call!(number::MMAP, 0usize, length, 3usize, 0x22usize, -1isize, 0usize) }
}

/// Creates a memfd under the name that `/proc` shows.
///
/// # Safety
/// `name` must point to a C string.
#[inline(always)]
pub unsafe fn memfd(name: *const u8, flags: usize) -> isize {
    // SAFETY: the caller's promise.
    unsafe { call!(number::MEMFD_CREATE, name, flags) }
}

/// Makes a memfd final: not written, grown, shrunk or unsealed again.
#[inline(always)]
pub fn seal(fd: isize) {
    // SAFETY: takes no pointer.
    unsafe { call!(number::FCNTL, fd, 1033usize, 15usize) };
}

/// Becomes the program that `fd` holds. Returns only if that was refused.
///
/// # Safety
/// `argv` and `envp` must be arrays of C strings that end in a null pointer.
#[inline(always)]
pub unsafe fn exec(fd: isize, argv: *const *const u8, envp: *const *const u8) -> isize {
    // SAFETY: the caller's promise, and an empty path that is a C string.
    let refused = unsafe { call!(number::EXECVEAT, fd, c"".as_ptr(), argv, envp, AT_EMPTY_PATH) };
    if refused != ENOSYS {
        return refused;
    }
    let mut path = *b"/proc/self/fd/\0\0\0";
    let fd = fd as u8;
    if fd < 10 {
        path[14] = b'0' + fd;
    } else {
        path[14] = b'0' + fd / 10;
        path[15] = b'0' + fd % 10;
    }
    // SAFETY: the caller's promise, and a path that is a C string.
    unsafe { call!(number::EXECVE, path.as_ptr(), argv, envp) }
}

/// Nothing in a stage may panic; should the compiler see a way, this is what it gets.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    exit(99)
}
