//! The entry point of the stock agent. Replaces std's, which does much that an agent does not need.

use std::ffi::{CStr, c_char, c_int};

/// Prepares the process as std would, as far as an agent relies on it, and runs `start` with the
/// arguments. Descriptors 0 to 2 are open, and writing to a closed pipe is an error instead of a
/// signal.
///
/// # Safety
/// `count` and `arguments` are those that the C library passes to `main`.
pub unsafe fn run(
    count: c_int,
    arguments: *const *const c_char,
    start: fn(Vec<Vec<u8>>) -> !,
) -> c_int {
    let null = c"/dev/null".as_ptr();
    for fd in 0..3 {
        // SAFETY: plain numbers, and a string with the lifetime of the program. `open` takes the
        // lowest free number, which is this one.
        unsafe {
            if libc::fcntl(fd, libc::F_GETFD) < 0 && libc::open(null, libc::O_RDWR) < 0 {
                return 1;
            }
        }
    }
    // SAFETY: ignoring a signal runs nothing.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let mut all = Vec::new();
    for at in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: the C library passes `count` strings, each ending in NUL.
        let argument = unsafe { CStr::from_ptr(*arguments.add(at)) };
        all.push(argument.to_bytes().to_vec());
    }
    start(all)
}

/// Defines the entry point of the stock agent, which runs `start` on the allocator of this crate.
///
/// Other agents use the allocator and the entry point that their authors choose.
#[macro_export]
macro_rules! stock_program {
    ($start:path) => {
        #[global_allocator]
        static HEAP: $crate::heap::Heap = $crate::heap::Heap::empty();

        #[unsafe(no_mangle)]
        extern "C" fn main(count: i32, arguments: *const *const std::ffi::c_char) -> i32 {
            // SAFETY: the C library passes the arguments of `main`.
            unsafe { $crate::entry::run(count, arguments, $start) }
        }

        #[unsafe(no_mangle)]
        extern "C" fn malloc(length: usize) -> *mut u8 {
            HEAP.c_malloc(length)
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn free(given: *mut u8) {
            // SAFETY: the caller's promise.
            unsafe { HEAP.c_free(given) }
        }

        #[unsafe(no_mangle)]
        extern "C" fn calloc(count: usize, each: usize) -> *mut u8 {
            HEAP.c_calloc(count, each)
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn realloc(given: *mut u8, length: usize) -> *mut u8 {
            // SAFETY: the caller's promise.
            unsafe { HEAP.c_realloc(given, length) }
        }

        // The C library's would flush streams that an agent does not have, and close them.
        #[unsafe(no_mangle)]
        extern "C" fn exit(status: i32) -> ! {
            $crate::exit(status)
        }

        // Agent code calls neither of the next two. Without them the linker would pull in the whole
        // allocator of the C library.
        #[unsafe(no_mangle)]
        extern "C" fn aligned_alloc(align: usize, length: usize) -> *mut u8 {
            HEAP.c_aligned_alloc(align, length)
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn posix_memalign(
            place: *mut *mut u8,
            align: usize,
            length: usize,
        ) -> i32 {
            // SAFETY: the caller's promise.
            unsafe { HEAP.c_posix_memalign(place, align, length) }
        }
    };
}

/// Makes a function run before `main`, and before std opens standard streams that are missing.
/// The function can use the C library alone: it must not panic, start threads or rely on std's own
/// start.
#[macro_export]
macro_rules! before_main {
    ($run:path) => {
        // SAFETY: the section holds pointers to functions that the C library calls once each before
        // `main`, after its own initialization. The function keeps what is asked of it above.
        #[used]
        #[unsafe(link_section = ".init_array")]
        static BEFORE_MAIN: extern "C" fn() = {
            extern "C" fn run() {
                $run()
            }
            run
        };
    };
}

/// Declares a slice whose elements are collected from all crates of a program by its linker.
#[macro_export]
macro_rules! distributed_slice {
    ($(#[$doc:meta])* $vis:vis static $name:ident: [$element:ty]) => {
        $(#[$doc])*
        #[$crate::linkme::distributed_slice]
        #[linkme(crate = $crate::linkme)]
        $vis static $name: [$element];
    };
}
