//! System calls and entry point of the native stages.
//!
//! For programs without a C library. Must never allocate, keep state or decide anything: stages
//! handle the failures of calls. Results are the kernel's own, with errors as small negative
//! numbers.

use core::arch::{asm, global_asm};

// The kernel starts a program with argc at the stack pointer, followed by argv and the environment.
#[cfg(target_arch = "x86_64")]
global_asm!(".section .text._start,\"ax\"", ".globl _start", "_start:", "mov rdi, rsp", "call {}", sym crate::entry);
#[cfg(target_arch = "aarch64")]
global_asm!(".section .text._start,\"ax\"", ".globl _start", "_start:", "mov x0, sp", "bl {}", sym crate::entry);

// The stack is aligned to sixteen bytes where a function of the C calling convention begins, with
// the return address above.
#[cfg(target_arch = "x86")]
global_asm!(".section .text._start,\"ax\"", ".globl _start", "_start:", "mov eax, esp", "sub esp, 12", "push eax", "call {}", sym crate::entry);
#[cfg(target_arch = "arm")]
global_asm!(".section .text._start,\"ax\"", ".globl _start", ".code 32", "_start:", "mov r0, sp", "bl {}", sym crate::entry);
#[cfg(target_arch = "riscv64")]
global_asm!(".section .text._start,\"ax\"", ".globl _start", "_start:", "mv a0, sp", "call {}", sym crate::entry);

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

#[cfg(target_arch = "x86")]
mod number {
    pub const READ: usize = 3;
    pub const WRITE: usize = 4;
    pub const CLOSE: usize = 6;
    pub const EXECVE: usize = 11;
    pub const CHDIR: usize = 12;
    pub const FCNTL: usize = 55;
    pub const POLL: usize = 168;
    pub const RT_SIGACTION: usize = 174;
    pub const MMAP: usize = 90;
    pub const EXIT: usize = 252;
    pub const OPENAT: usize = 295;
    pub const UNLINKAT: usize = 301;
    pub const MEMFD_CREATE: usize = 356;
    pub const EXECVEAT: usize = 358;
}

#[cfg(target_arch = "arm")]
mod number {
    pub const READ: usize = 3;
    pub const WRITE: usize = 4;
    pub const CLOSE: usize = 6;
    pub const EXECVE: usize = 11;
    pub const CHDIR: usize = 12;
    pub const FCNTL: usize = 55;
    pub const POLL: usize = 168;
    pub const RT_SIGACTION: usize = 174;
    pub const MMAP: usize = 192;
    pub const EXIT: usize = 248;
    pub const OPENAT: usize = 322;
    pub const UNLINKAT: usize = 328;
    pub const MEMFD_CREATE: usize = 385;
    pub const EXECVEAT: usize = 387;
}

// The numbers that all architectures since have.
#[cfg(any(target_arch = "aarch64", target_arch = "riscv64"))]
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

/// Interrupted by a signal; to be repeated.
pub const EINTR: isize = -4;
/// No data yet on a non-blocking descriptor.
pub const EAGAIN: isize = -11;
/// Invalid argument, such as a flag that the kernel does not know.
pub const EINVAL: isize = -22;

/// The working directory, as a directory descriptor.
pub const AT_FDCWD: isize = -100;
/// Flag: remove a directory.
pub const AT_REMOVEDIR: usize = 0x200;
const AT_EMPTY_PATH: usize = 0x1000;
const O_CLOEXEC: usize = 0o2_000_000;
/// Flags of `open`, which are equal on all architectures.
pub const O_RDONLY: usize = 0;
/// Flags: create a new file for writing.
pub const O_NEW: usize = 0o301;
/// Flags: a directory for relative paths (`O_PATH`), closed on exec.
pub const O_FOLDER: usize = 0o10_000_000 | O_CLOEXEC;
/// Flag: a memfd that can be sealed.
pub const MFD_SEALABLE: usize = 2;
/// Flag: a memfd that can be executed (Linux 6.3).
pub const MFD_EXEC: usize = 16;

/// Performs a system call. Registers of omitted arguments keep their values, which saves code.
///
/// Unsafe: pointers among the arguments must be valid for the call.
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

/// Performs a system call, as on x86_64.
#[cfg(target_arch = "aarch64")]
macro_rules! call {
    ($n:expr $(, $a:expr $(, $b:expr $(, $c:expr $(, $d:expr $(, $e:expr $(, $f:expr)?)?)?)?)?)?) => {{
        let result: isize;
        asm!("svc 0", in("x8") $n, inlateout("x0") first!($($a)?) => result $($(, in("x1") $b $(, in("x2") $c
             $(, in("x3") $d $(, in("x4") $e $(, in("x5") $f)?)?)?)?)?)?, options(nostack));
        result
    }};
}

/// Performs a system call, as on x86_64.
#[cfg(target_arch = "riscv64")]
macro_rules! call {
    ($n:expr $(, $a:expr $(, $b:expr $(, $c:expr $(, $d:expr $(, $e:expr $(, $f:expr)?)?)?)?)?)?) => {{
        let result: isize;
        asm!("ecall", in("a7") $n, inlateout("a0") first!($($a)?) => result $($(, in("a1") $b $(, in("a2") $c
             $(, in("a3") $d $(, in("a4") $e $(, in("a5") $f)?)?)?)?)?)?, options(nostack));
        result
    }};
}

/// Performs a system call, as on x86_64. The compiler does not give the register of the number
/// away: in the short form of instructions it can be the frame pointer.
#[cfg(target_arch = "arm")]
macro_rules! call {
    ($n:expr $(, $a:expr $(, $b:expr $(, $c:expr $(, $d:expr $(, $e:expr $(, $f:expr)?)?)?)?)?)?) => {{
        let result: isize;
        asm!("mov {kept}, r7", "mov r7, {number}", "svc 0", "mov r7, {kept}", kept = out(reg) _, number = in(reg) $n, inlateout("r0") first!($($a)?) => result $($(, in("r1") $b $(, in("r2") $c
             $(, in("r3") $d $(, in("r4") $e $(, in("r5") $f)?)?)?)?)?)?, options(nostack));
        result
    }};
}

/// Performs a system call, as on x86_64, with at most five arguments. The compiler does not give
/// the register of the fourth away.
#[cfg(target_arch = "x86")]
macro_rules! call {
    ($n:expr $(, $a:expr $(, $b:expr $(, $c:expr)?)?)?) => {{
        let result: isize;
        asm!("int 0x80", inlateout("eax") $n as isize => result $(, in("ebx") $a $(, in("ecx") $b $(, in("edx") $c)?)?)?,
             options(nostack));
        result
    }};
    ($n:expr, $a:expr, $b:expr, $c:expr, $d:expr $(, $e:expr)?) => {{
        let result: isize;
        asm!("xchg esi, {fourth}", "int 0x80", "xchg esi, {fourth}", fourth = inout(reg) $d => _,
             inout("eax") $n as isize => result, in("ebx") $a, in("ecx") $b, in("edx") $c $(, in("edi") $e)?,
             options(nostack));
        result
    }};
}

#[cfg(any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "arm"))]
macro_rules! first {
    ($a:expr) => {
        $a as isize
    };
}

/// Returns true if a call that returns an address has failed. With 32 bits, addresses can be
/// negative as well.
#[inline(always)]
pub fn is_error(result: isize) -> bool {
    if cfg!(target_pointer_width = "64") { result < 0 } else { result as usize > -4096_isize as usize }
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
    // SAFETY: as promised by the caller.
    unsafe { call!(number::READ, fd, to, length) }
}

/// Writes at most `length` bytes.
///
/// # Safety
/// `from` must be readable for `length` bytes.
#[inline(always)]
pub unsafe fn write(fd: isize, from: *const u8, length: usize) -> isize {
    // SAFETY: as promised by the caller.
    unsafe { call!(number::WRITE, fd, from, length) }
}

/// Closes a descriptor of the stage.
#[inline(always)]
pub fn close(fd: isize) {
    // SAFETY: takes no pointer; nothing else in this process uses the descriptor.
    unsafe { call!(number::CLOSE, fd) };
}

/// Opens `path` (a C string) relative to the directory `at`. A new file is executable and
/// accessible by its owner only.
///
/// # Safety
/// `path` must point to a C string.
#[inline(always)]
pub unsafe fn open(at: isize, path: *const u8, flags: usize) -> isize {
    // SAFETY: as promised by the caller.
    unsafe { call!(number::OPENAT, at, path, flags, 0o700usize) }
}

/// Removes `path` (a C string) relative to the directory `at`, if it exists; with [`AT_REMOVEDIR`]
/// an empty directory.
///
/// # Safety
/// `path` must point to a C string.
#[inline(always)]
pub unsafe fn unlink(at: isize, path: *const u8, flags: usize) {
    // SAFETY: as promised by the caller.
    unsafe { call!(number::UNLINKAT, at, path, flags) };
}

/// Makes `path` (a C string) the working directory, if possible.
///
/// # Safety
/// `path` must point to a C string.
#[inline(always)]
pub unsafe fn change_directory(path: *const u8) {
    // SAFETY: as promised by the caller.
    unsafe { call!(number::CHDIR, path) };
}

/// Resets a signal to its default action.
#[inline(always)]
pub fn set_default(signal: usize) {
    // The kernel's struct sigaction: SIG_DFL, no flags, no signals blocked meanwhile. The mask has
    // eight bytes everywhere.
    const WORDS: usize = 3 + 8 / size_of::<usize>();
    #[cfg(not(target_arch = "arm"))]
    let action = [0usize; WORDS];
    // The compiler would call a function to fill memory on the stack.
    #[cfg(target_arch = "arm")]
    #[allow(non_upper_case_globals)]
    static action: [usize; WORDS] = [0; WORDS];
    // SAFETY: the structure outlives the call; the previous action is not requested.
    unsafe { call!(number::RT_SIGACTION, signal, &raw const action, 0usize, 8usize) };
}

/// Waits at most `seconds` until stdin is readable or has ended. Returns 0 if the time is up.
#[inline(always)]
pub fn wait_for_stdin(seconds: usize) -> isize {
    let mut poll: u64 = 1 << 32; // struct pollfd { fd: 0, events: POLLIN, revents: 0 }
    // Kernels can be built without the calls that take a time of 32 bits.
    #[cfg(target_pointer_width = "32")]
    // SAFETY: the structure outlives the call.
    return unsafe { call!(number::POLL, &raw mut poll, 1usize, seconds * 1000) };
    #[cfg(target_pointer_width = "64")]
    {
        let mut time = [seconds, 0];
        // SAFETY: both structures outlive the call; the size of a null signal mask is ignored.
        unsafe { call!(number::PPOLL, &raw mut poll, 1usize, &raw mut time, 0usize) }
    }
}

/// Maps new zeroed memory. Returns a small negative number if there is none.
#[cfg(not(target_arch = "x86"))]
#[inline(always)]
pub fn map(length: usize) -> isize {
    // SAFETY: the kernel chooses an unused address.
    unsafe { call!(number::MMAP, 0usize, length, 3usize, 0x22usize, -1isize, 0usize) }
}

/// Maps new zeroed memory. Returns a small negative number if there is none.
#[cfg(target_arch = "x86")]
#[inline(always)]
pub fn map(length: usize) -> isize {
    // The old form of the call takes its arguments from memory.
    let arguments = [0, length, 3, 0x22, usize::MAX, 0];
    // SAFETY: the kernel chooses an unused address; the arguments outlive the call.
    unsafe { call!(number::MMAP, &raw const arguments) }
}

/// Creates a memfd with the name that `/proc` shows.
///
/// # Safety
/// `name` must point to a C string.
#[inline(always)]
pub unsafe fn memfd(name: *const u8, flags: usize) -> isize {
    // SAFETY: as promised by the caller.
    unsafe { call!(number::MEMFD_CREATE, name, flags) }
}

/// Seals a memfd: it cannot be written, resized or unsealed.
#[inline(always)]
pub fn seal(fd: isize) {
    // SAFETY: takes no pointer.
    unsafe { call!(number::FCNTL, fd, 1033usize, 15usize) };
}

/// Executes the program in `fd`. Returns only on failure.
///
/// # Safety
/// `argv` and `envp` must be arrays of C strings that end in a null pointer.
#[inline(always)]
pub unsafe fn exec(fd: isize, argv: *const *const u8, envp: *const *const u8) -> isize {
    // SAFETY: as promised by the caller; the empty path is a C string.
    unsafe { call!(number::EXECVEAT, fd, c"".as_ptr(), argv, envp, AT_EMPTY_PATH) };
    // Emulators lack the call, and a filter may refuse it.
    let mut path = *b"/proc/self/fd/\0\0\0";
    let fd = fd as u8;
    if fd < 10 {
        path[14] = b'0' + fd;
    } else {
        path[14] = b'0' + fd / 10;
        path[15] = b'0' + fd % 10;
    }
    // SAFETY: as promised by the caller; the path is a C string.
    unsafe { call!(number::EXECVE, path.as_ptr(), argv, envp) }
}

/// Required by the compiler. No stage panics.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    exit(99)
}
