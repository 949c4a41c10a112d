//! The allocator of this module (docs/decisions/0008-allocator.md).

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys::{mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned};

/// mimalloc. Blocks that need no more than its own alignment are taken from its plain functions: the aligned ones cost
/// 50 instructions more a block.
pub(crate) struct Allocator;

/// mimalloc aligns every block of 16 bytes or more to 16, and smaller ones to 8.
const fn as_it_comes(layout: Layout) -> bool {
    layout.align() <= 8 || (layout.align() <= 16 && layout.size() >= 16)
}

// SAFETY: mimalloc's functions keep the contract of each method; an alignment beyond their own is passed to the aligned
// ones.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size is allowed; the alignment is a power of two.
        let block = unsafe {
            if as_it_comes(layout) { mi_malloc(layout.size()) } else { mi_malloc_aligned(layout.size(), layout.align()) }
        };
        block.cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let block = unsafe {
            if as_it_comes(layout) { mi_zalloc(layout.size()) } else { mi_zalloc_aligned(layout.size(), layout.align()) }
        };
        block.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: a block of this allocator.
        unsafe { mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let plain = as_it_comes(layout) && (layout.align() <= 8 || size >= 16);
        // SAFETY: as above.
        let block = unsafe {
            if plain { mi_realloc(block.cast(), size) } else { mi_realloc_aligned(block.cast(), size, layout.align()) }
        };
        block.cast()
    }
}
