//! What a waker knows of what it wakes: a reference that keeps nothing alive, and may be dropped on any thread.
//!
//! With the interpreter's lock it is an address, which costs a store. Who follows it holds the lock, and what goes clears the address, in its
//! drop, before it lets go of the lock for the first time. Without that lock, in a free-threaded interpreter, the object may go on another
//! thread between a look at the address and a step along it: there it is a weak reference of Python's.

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
    /// The object's address while it is to be found, 0 otherwise.
    at: AtomicUsize,
    #[cfg(Py_GIL_DISABLED)]
    weak: OnceLock<PyRef>,
}

impl Weak {
    /// `object` is to be found from now on. One `Weak` is for one object.
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

    /// It is no longer to be found.
    pub(crate) fn clear(&self) {
        self.at.store(0, Ordering::Release);
    }

    /// The object, if it is to be found.
    #[cfg(not(Py_GIL_DISABLED))]
    pub(crate) fn upgrade<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let at = self.at.load(Ordering::Acquire) as *mut ffi::PyObject;
        // SAFETY: we hold the interpreter's lock, and an object whose memory may be another's has cleared its address under it. One that the
        // interpreter is about to end, nested too deep to do so at once, has no reference left and gets none.
        (!at.is_null() && unsafe { ffi::Py_REFCNT(at) } > 0).then(|| unsafe { Bound::from_borrowed_ptr(py, at) })
    }

    /// The object, if it is to be found.
    #[cfg(Py_GIL_DISABLED)]
    pub(crate) fn upgrade<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        if self.at.load(Ordering::Acquire) == 0 {
            return None;
        }
        // SAFETY: made from a weak reference.
        unsafe { self.weak.get()?.clone_as::<PyWeakrefReference>(py) }.upgrade()
    }
}
