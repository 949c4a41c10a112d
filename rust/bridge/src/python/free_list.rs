//! A free list for the objects that come and go with each call: a new one takes the memory of one that is gone.
//!
//! pyo3's own free list takes a lock and checks the type twice, 100 instructions an object more. It stays in use on
//! free-threaded builds, where the GIL does not protect this one.

use std::cell::UnsafeCell;
use std::ffi::c_void;

use pyo3::prelude::*;
use pyo3::{PyTypeInfo, ffi};

const GUARDED: bool = cfg!(not(Py_GIL_DISABLED));

/// A final class with pyo3's free list, whose instances the collector traverses.
pub(crate) trait Reused: PyTypeInfo {
    const MOST: usize;
    fn idle() -> &'static Idle;
}

/// Blocks that hold no object.
pub(crate) struct Idle(UnsafeCell<Vec<*mut ffi::PyObject>>);

// SAFETY: used in `alloc` and `free` only, under the GIL, and no Python code runs there.
unsafe impl Sync for Idle {}

impl Idle {
    pub(crate) const fn new() -> Self {
        Idle(UnsafeCell::new(Vec::new()))
    }
}

/// # Safety
/// Called by the interpreter for the class `T`, on a thread that holds its lock.
unsafe extern "C" fn alloc<T: Reused>(class: *mut ffi::PyTypeObject, items: ffi::Py_ssize_t) -> *mut ffi::PyObject {
    // SAFETY: see `Idle`. An idle block was an object of this class.
    unsafe {
        match (*T::idle().0.get()).pop() {
            Some(block) => ffi::PyObject_Init(block, class),
            None => ffi::PyType_GenericAlloc(class, items),
        }
    }
}

/// # Safety
/// As `alloc`, for the memory of an object that is gone.
unsafe extern "C" fn free<T: Reused>(block: *mut c_void) {
    // SAFETY: see `Idle`.
    unsafe {
        let idle = &mut *T::idle().0.get();
        if idle.len() < T::MOST {
            idle.push(block.cast());
        } else {
            ffi::PyObject_GC_Del(block);
        }
    }
}

pub(crate) fn install<T: Reused>(py: Python<'_>) {
    if !GUARDED {
        return;
    }
    let class = T::type_object_raw(py);
    // SAFETY: a heap type of ours, which has no subclasses, changed before any instance exists.
    unsafe {
        (*class).tp_alloc = Some(alloc::<T>);
        (*class).tp_free = Some(free::<T>);
        ffi::PyType_Modified(class);
    }
}
