//! A weak reference by which a waker finds its run. Any thread may drop it.
//!
//! Under the GIL it is an address, which costs one store. A reader holds the GIL, and an object that ends clears the
//! address in its drop, before it first releases the GIL. On a free-threaded build the object may end on another thread
//! between reading the address and using it, so it is a weak reference of Python's.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

#[cfg(Py_GIL_DISABLED)]
use {
    crate::python::pyref::PyRef,
    pyo3::types::{PyWeakrefMethods, PyWeakrefReference},
    std::sync::OnceLock,
};

#[derive(Default)]
pub(crate) struct Weak {
    /// The object's address while it can be found, 0 otherwise.
    at: AtomicUsize,
    #[cfg(Py_GIL_DISABLED)]
    weak: OnceLock<PyRef>,
}

impl Weak {
    /// Makes `object` findable. One `Weak` is for one object.
    ///
    /// # Safety
    /// The object calls `clear` in its drop.
    #[cfg_attr(not(Py_GIL_DISABLED), expect(clippy::unnecessary_wraps, reason = "a weak reference may fail to be made"))]
    pub(crate) unsafe fn point(&self, object: &Bound<'_, PyAny>) -> PyResult<()> {
        #[cfg(Py_GIL_DISABLED)]
        if self.weak.get().is_none() {
            let _ = self.weak.set(PyRef::new(PyWeakrefReference::new(object)?.unbind()));
        }
        self.at.store(object.as_ptr() as usize, Ordering::Release);
        Ok(())
    }

    /// Ends that: `upgrade` gives None.
    pub(crate) fn clear(&self) {
        self.at.store(0, Ordering::Release);
    }

    /// The object, unless it has ended or `clear` was called.
    #[cfg(not(Py_GIL_DISABLED))]
    pub(crate) fn upgrade<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let at = self.at.load(Ordering::Acquire) as *mut ffi::PyObject;
        // SAFETY: we hold the GIL, and an object whose memory may be reused has cleared its address under it. An object
        // that CPython is about to end later, because it is nested too deep, has a count of 0 and gets no reference.
        (!at.is_null() && unsafe { ffi::Py_REFCNT(at) } > 0).then(|| unsafe { Bound::from_borrowed_ptr(py, at) })
    }

    /// The object, unless it has ended or `clear` was called.
    #[cfg(Py_GIL_DISABLED)]
    pub(crate) fn upgrade<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        if self.at.load(Ordering::Acquire) == 0 {
            return None;
        }
        // SAFETY: made from a weak reference.
        unsafe { self.weak.get()?.clone_as::<PyWeakrefReference>(py) }.upgrade()
    }
}
