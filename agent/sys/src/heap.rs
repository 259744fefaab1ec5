//! The allocator of the stock agent. Replaces the C library's, which adds 4,700 bytes to the image.
//!
//! Small pieces are cut from chunks and kept in free lists by size. Pieces from `LARGE` on are
//! mappings of their own. Up to `KEPT` bytes of these are kept as well, because frames come and
//! go in that size; the rest returns to the system at once. An agent that was busy therefore keeps
//! the peak of its small pieces, and `KEPT`.

use std::alloc::GlobalAlloc;
use std::alloc::Layout;
use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::ptr::null_mut;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

/// Granularity of pieces in bytes. With less, an atomic counter could span two cache lines, and
/// processors that trap split locks stop the process for milliseconds each time.
const GRAIN: usize = 16;

/// Length in bytes from which on a piece is a mapping of its own.
const LARGE: usize = 32 << 10;

/// Length in bytes of a chunk for small pieces.
const CHUNK: usize = 64 << 10;

/// Maximum number of bytes in kept large pieces.
const KEPT: usize = 1 << 20;

/// Maximum length in bytes of a large piece that is kept.
const KEPT_EACH: usize = 128 << 10;

/// Number of size classes from one grain to `KEPT_EACH`, four for each doubling.
const SIZES: usize = 48;

/// An allocator.
pub struct Heap {
    busy: AtomicBool,
    pieces: UnsafeCell<Pieces>,
}

// SAFETY: `pieces` is accessed only by the thread that has set `busy`.
unsafe impl Sync for Heap {}

struct Piece {
    next: *mut Self,
}

struct Pieces {
    free: [*mut Piece; SIZES],
    next: usize,
    end: usize,
    kept: usize,
}

/// Returns the size class of a length and the length of its pieces: the next of four steps between
/// powers of two.
const fn size_of(length: usize) -> (usize, usize) {
    let grains = if length == 0 { 0 } else { (length - 1) / GRAIN };
    if grains < 4 {
        return (grains, (grains + 1) * GRAIN);
    }
    let doubling = grains.ilog2() as usize - 2;
    let step = grains >> doubling;
    (doubling * 4 + step, ((step + 1) << doubling) * GRAIN)
}

fn mapped(length: usize) -> *mut u8 {
    let (access, kind) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new mapping at an address of the kernel's choice.
    let place = unsafe { libc::mmap(null_mut(), length, access, kind, -1, 0) };
    if place == libc::MAP_FAILED {
        null_mut()
    } else {
        place.cast()
    }
}

impl Pieces {
    fn take(&mut self, length: usize) -> *mut u8 {
        let (size, length) = size_of(length);
        if let Some(slot) = self.free.get_mut(size)
            && let Some(piece) = NonNull::new(*slot)
        {
            // SAFETY: a piece in the list is unused and begins with the pointer to the next one.
            *slot = unsafe { piece.as_ref().next };
            if length >= LARGE {
                self.kept -= length;
            }
            return piece.as_ptr().cast();
        }
        if length >= LARGE {
            return mapped(length);
        }
        if self.end - self.next < length {
            let chunk = mapped(CHUNK) as usize;
            if chunk == 0 {
                return null_mut();
            }
            // The rest of the previous chunk, shorter than one piece, stays unused.
            (self.next, self.end) = (chunk, chunk + CHUNK);
        }
        let piece = self.next;
        self.next += length;
        piece as *mut u8
    }

    /// Puts a piece into its free list, or unmaps it.
    ///
    /// # Safety
    /// The piece was taken with this length and is not used any more.
    unsafe fn give(&mut self, piece: *mut u8, length: usize) {
        let (size, length) = size_of(length);
        if length >= LARGE {
            if length > KEPT_EACH || self.kept + length > KEPT {
                // SAFETY: a mapping of its own with that length.
                unsafe { libc::munmap(piece.cast(), length) };
                return;
            }
            self.kept += length;
        }
        if let Some(slot) = self.free.get_mut(size) {
            let piece: *mut Piece = piece.cast();
            // SAFETY: the piece is unused, at least one grain long, and aligned to a grain.
            unsafe { (*piece).next = *slot };
            *slot = piece;
        }
    }
}

impl Heap {
    /// Creates an allocator without memory.
    #[must_use]
    pub const fn empty() -> Self {
        let pieces = Pieces {
            free: [null_mut(); SIZES],
            next: 0,
            end: 0,
            kept: 0,
        };
        Self {
            busy: AtomicBool::new(false),
            pieces: UnsafeCell::new(pieces),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Pieces) -> T) -> T {
        while self.busy.swap(true, Ordering::Acquire) {
            std::hint::spin_loop();
        }
        // SAFETY: `busy` excludes other threads.
        let done = work(unsafe { &mut *self.pieces.get() });
        self.busy.store(false, Ordering::Release);
        done
    }
}

/// Returns the length of a piece for a layout. Alignments above a grain get whole pages.
fn length_of(layout: Layout) -> usize {
    if layout.align() <= GRAIN {
        layout.size()
    } else {
        layout.size().max(LARGE)
    }
}

// SAFETY: pieces have the requested length, do not overlap, and are aligned to a grain, large ones
// to a page.
unsafe impl GlobalAlloc for Heap {
    // SAFETY: takes no pointer; any layout will do.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.with(|pieces| pieces.take(length_of(layout)))
    }

    // SAFETY: as the trait demands, `piece` is one of this heap with that layout.
    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        // SAFETY: the caller guarantees it.
        self.with(|pieces| unsafe { pieces.give(piece, length_of(layout)) });
    }

    // SAFETY: as the trait demands, `piece` is one of this heap with that layout.
    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, length: usize) -> *mut u8 {
        let (_, had) = size_of(length_of(layout));
        let (_, gets) = size_of(length);
        if had == gets {
            return piece;
        }
        if had >= LARGE && gets >= LARGE && layout.align() <= GRAIN {
            // SAFETY: a mapping of its own with that length. The kernel moves its pages without
            // copying.
            let moved = unsafe { libc::mremap(piece.cast(), had, gets, libc::MREMAP_MAYMOVE) };
            return if moved == libc::MAP_FAILED {
                null_mut()
            } else {
                moved.cast()
            };
        }
        // SAFETY: the caller guarantees that the layout is the piece's and the new length is in
        // bounds.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(length, layout.align()));
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(piece, new, layout.size().min(length));
                self.dealloc(piece, layout);
            }
            new
        }
    }
}

/// Length in bytes of the header in front of each piece of the C functions: its size.
const HEAD: usize = GRAIN;

fn with_head(length: usize) -> Option<Layout> {
    Layout::from_size_align(length.checked_add(HEAD)?, GRAIN).ok()
}

/// The C library's functions, for [`stock_program`](crate::stock_program); the C library and std
/// allocate through them as well.
impl Heap {
    /// Returns `length` bytes, or null.
    pub fn c_malloc(&self, length: usize) -> *mut u8 {
        let Some(layout) = with_head(length) else {
            return null_mut();
        };
        // SAFETY: the layout is never empty and includes the header.
        unsafe {
            let piece = self.alloc(layout);
            if piece.is_null() {
                return piece;
            }
            piece.cast::<usize>().write(length);
            piece.add(HEAD)
        }
    }

    /// Frees a piece; null is allowed.
    ///
    /// # Safety
    /// `given` is null, or was returned by one of these functions and not freed.
    pub unsafe fn c_free(&self, given: *mut u8) {
        if !given.is_null() {
            // SAFETY: the caller got the piece from `c_malloc`.
            unsafe {
                let piece = given.sub(HEAD);
                self.dealloc(
                    piece,
                    Layout::from_size_align_unchecked(piece.cast::<usize>().read() + HEAD, GRAIN),
                );
            }
        }
    }

    /// Returns `count` times `each` zero bytes, or null.
    pub fn c_calloc(&self, count: usize, each: usize) -> *mut u8 {
        let Some(length) = count.checked_mul(each) else {
            return null_mut();
        };
        let given = self.c_malloc(length);
        if !given.is_null() {
            // SAFETY: the piece has that length.
            unsafe { given.write_bytes(0, length) };
        }
        given
    }

    /// Returns a piece of another length with the same bytes and frees the old one, or returns
    /// null.
    ///
    /// # Safety
    /// As for [`c_free`](Heap::c_free).
    pub unsafe fn c_realloc(&self, given: *mut u8, length: usize) -> *mut u8 {
        let new = self.c_malloc(length);
        if !given.is_null() && !new.is_null() {
            // SAFETY: the caller got the piece from `c_malloc`, with its length in front.
            unsafe {
                let had = given.sub(HEAD).cast::<usize>().read();
                new.copy_from_nonoverlapping(given, had.min(length));
                self.c_free(given);
            }
        }
        new
    }

    /// Returns `length` bytes aligned to `align`, or null if `align` is more than 16.
    pub fn c_aligned_alloc(&self, align: usize, length: usize) -> *mut u8 {
        if align <= GRAIN {
            self.c_malloc(length)
        } else {
            null_mut()
        }
    }

    /// Stores a piece of `length` bytes aligned to `align` in `place`. Returns 0 or `ENOMEM`.
    ///
    /// # Safety
    /// `place` is valid for writes.
    pub unsafe fn c_posix_memalign(&self, place: *mut *mut u8, align: usize, length: usize) -> i32 {
        let given = self.c_aligned_alloc(align, length);
        if given.is_null() {
            return libc::ENOMEM;
        }
        // SAFETY: the caller guarantees that `place` is valid.
        unsafe { place.write(given) };
        0
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, GRAIN, Heap, KEPT, KEPT_EACH, LARGE, SIZES, size_of};
    use std::alloc::{GlobalAlloc, Layout};

    #[test]
    fn every_size_class_fits_its_lengths_with_bounded_waste() {
        let mut last = (0, GRAIN);
        for length in (0..3 * KEPT_EACH).chain([128 << 20, usize::MAX >> 1]) {
            let (size, piece) = size_of(length);
            assert!(piece >= length && piece % GRAIN == 0, "{length}: {piece}");
            assert!(
                piece <= length.max(1) + length / 4 + GRAIN,
                "{length}: {piece}"
            );
            assert_eq!(
                size_of(piece),
                (size, piece),
                "a piece given back goes where it came from"
            );
            assert!(size == last.0 && piece == last.1 || size > last.0 && piece > last.1);
            assert_eq!(piece <= KEPT_EACH, size < SIZES, "{length}");
            assert!(
                piece < LARGE || piece % 4096 == 0,
                "{length} is not pages: {piece}"
            );
            last = (size, piece);
        }
        const { assert!(CHUNK >= 2 * LARGE) };
    }

    /// Allocates, fills, resizes and frees random pieces. No piece changes the bytes of another.
    #[test]
    fn allocations_do_not_overlap_keep_their_content_and_are_bounded_when_freed() {
        let heap = Heap::empty();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 16) as usize
        };
        let mut held: Vec<(*mut u8, Layout, u8)> = Vec::new();
        let filled = |(place, layout, mark): &(*mut u8, Layout, u8)| {
            // SAFETY: taken from the heap with this layout, and written completely.
            unsafe { std::slice::from_raw_parts(*place, layout.size()) }
                .iter()
                .all(|byte| byte == mark)
        };
        for round in 0..20_000 {
            let length = 1 + random() % [40, 300, 5000, 200_000][random() % 4];
            let mark = round as u8;
            match random() % 3 {
                0 if !held.is_empty() => {
                    let piece = held.swap_remove(random() % held.len());
                    assert!(filled(&piece));
                    // SAFETY: taken with this layout, and not used any more.
                    unsafe { heap.dealloc(piece.0, piece.1) };
                }
                1 if !held.is_empty() => {
                    let at = random() % held.len();
                    let (place, layout, old) = held[at];
                    let kept = layout.size().min(length);
                    // SAFETY: taken with this layout; only bytes that were written before are read.
                    let new = unsafe {
                        let new = heap.realloc(place, layout, length);
                        assert!(
                            std::slice::from_raw_parts(new, kept)
                                .iter()
                                .all(|byte| *byte == old)
                        );
                        new.write_bytes(mark, length);
                        new
                    };
                    held[at] = (
                        new,
                        Layout::from_size_align(length, layout.align()).unwrap(),
                        mark,
                    );
                }
                _ => {
                    let layout = Layout::from_size_align(length, 1 << (random() % 8)).unwrap();
                    // SAFETY: the layout is not empty.
                    let place = unsafe { heap.alloc(layout) };
                    assert!(
                        !place.is_null()
                            && (place as usize).is_multiple_of(layout.align().max(GRAIN))
                    );
                    // SAFETY: the piece has that length.
                    unsafe { place.write_bytes(mark, length) };
                    held.push((place, layout, mark));
                }
            }
        }
        assert!(held.iter().all(filled));
        for (place, layout, _) in held {
            // SAFETY: taken with this layout, and not used any more.
            unsafe { heap.dealloc(place, layout) };
        }
        heap.with(|pieces| assert!(pieces.kept <= KEPT));
    }

    #[test]
    fn an_impossible_allocation_returns_null() {
        // SAFETY: it is not empty.
        let place = unsafe {
            Heap::empty().alloc(Layout::from_size_align(isize::MAX as usize, 1).unwrap())
        };
        assert!(place.is_null());
    }
}
