//! Memory of the objects that come and go with each call: what one leaves, the next one takes.
//!
//! pyo3 has a list for that, behind a lock and two looks at the type: 100 instructions an object more. It goes on where no lock of the
//! interpreter's guards ours.

use std::cell::UnsafeCell;
use std::ffi::c_void;

use pyo3::prelude::*;
use pyo3::{PyTypeInfo, ffi};

const GUARDED: bool = cfg!(not(Py_GIL_DISABLED));

/// A final class with pyo3's freelist, whose objects the collector looks at.
pub(crate) trait Reused: PyTypeInfo {
    const MOST: usize;
    fn idle() -> &'static Idle;
}

/// Blocks without an object in them.
pub(crate) struct Idle(UnsafeCell<Vec<*mut ffi::PyObject>>);

// SAFETY: looked at in `alloc` and `free` only, under the interpreter's lock, and no code of Python's runs there meanwhile.
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
