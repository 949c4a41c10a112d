//! References that may be dropped anywhere. Off the interpreter they go to the graveyard, which the next drain of a port empties.

use std::ptr::NonNull;
use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::{PyTypeInfo, ffi};

use crate::globals::graveyard;

/// When so many lie in the graveyard, a loop is woken to drop them: one that has nothing native to wait for would not come by itself.
const MANY: usize = 1024;

/// Owns one reference. Unlike `Py`, dropping it needs no interpreter.
pub(crate) struct PyRef(NonNull<ffi::PyObject>);

// SAFETY: only the count is touched through it, and only by a thread that is attached; without the interpreter's lock the count is atomic.
unsafe impl Send for PyRef {}
// SAFETY: as above.
unsafe impl Sync for PyRef {}

impl PyRef {
    pub(crate) fn new<T>(object: Py<T>) -> Self {
        // SAFETY: a `Py` is never null.
        PyRef(unsafe { NonNull::new_unchecked(object.into_ptr()) })
    }

    pub(crate) fn into_bound(self, py: Python<'_>) -> Bound<'_, PyAny> {
        let ptr = self.0.as_ptr();
        std::mem::forget(self);
        // SAFETY: the reference that was ours passes to the `Bound`.
        unsafe { Bound::from_owned_ptr(py, ptr) }
    }

    /// # Safety
    /// It was made from a `T`.
    pub(crate) unsafe fn into_cast<T: PyTypeInfo>(self, py: Python<'_>) -> Bound<'_, T> {
        // SAFETY: by the contract.
        unsafe { self.into_bound(py).cast_into_unchecked() }
    }

    /// Another reference to it.
    ///
    /// # Safety
    /// It was made from a `T`.
    pub(crate) unsafe fn clone_as<'py, T: PyTypeInfo>(&self, py: Python<'py>) -> Bound<'py, T> {
        // SAFETY: a live object; the type by the contract.
        unsafe { Bound::from_borrowed_ptr(py, self.0.as_ptr()).cast_into_unchecked() }
    }

    /// # Safety
    /// The caller is attached, and makes no reference of its own of it.
    pub(crate) unsafe fn as_unbound(&self) -> std::mem::ManuallyDrop<Py<PyAny>> {
        // SAFETY: the same pointer, whose reference stays this one's.
        std::mem::ManuallyDrop::new(unsafe { std::mem::transmute_copy::<NonNull<ffi::PyObject>, Py<PyAny>>(&self.0) })
    }

    pub(crate) fn as_ptr(&self) -> *mut ffi::PyObject {
        self.0.as_ptr()
    }

    /// As a number, for the engine to carry. `from_token` is its only way back.
    pub(crate) fn into_token(self) -> usize {
        let ptr = self.0.as_ptr() as usize;
        std::mem::forget(self);
        ptr
    }

    /// # Safety
    /// `token` came from `into_token`, and was not taken back before.
    pub(crate) unsafe fn from_token(token: usize) -> Self {
        // SAFETY: by the contract.
        PyRef(unsafe { NonNull::new_unchecked(token as *mut ffi::PyObject) })
    }
}

/// Calls whoever empties the graveyard.
static CALL: OnceLock<fn()> = OnceLock::new();

/// When much has gathered, `call` is to be called, from any thread.
pub(crate) fn when_many(call: fn()) {
    let _ = CALL.set(call);
}

/// Whether this thread is attached: the interpreter's current thread state is this thread's own. An address is compared and never followed, since
/// on CPython 3.11 the current one may be another thread's. `PyGILState_Check` answers yes on every thread once there has been a subinterpreter.
fn is_attached() -> bool {
    // SAFETY: both may be called by any thread at any time; they are null where there is no such state.
    let (current, own) = unsafe { (ffi::compat::PyThreadState_GetUnchecked(), ffi::PyGILState_GetThisThreadState()) };
    !current.is_null() && current == own
}

impl Drop for PyRef {
    fn drop(&mut self) {
        if is_attached() {
            // SAFETY: the reference is this one's to give back, and the thread may touch its count.
            unsafe { ffi::Py_DECREF(self.0.as_ptr()) };
            return;
        }
        let mut dead = graveyard().lock();
        dead.push(self.0.as_ptr() as usize);
        let many = dead.len().is_multiple_of(MANY);
        drop(dead);
        if many && let Some(call) = CALL.get() {
            call();
        }
    }
}

/// Drop what has gathered. What a finaliser does may fill the graveyard again: the rest waits for the next time.
pub(crate) fn empty_graveyard(_py: Python<'_>) {
    let dead = {
        let mut dead = graveyard().lock();
        if dead.is_empty() {
            return;
        }
        std::mem::take(&mut *dead)
    };
    for token in dead {
        // SAFETY: the drop that put it there gave its reference away.
        drop(unsafe { PyRef::from_token(token) });
    }
}
