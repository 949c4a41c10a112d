//! References that any thread may drop. One dropped on a thread that is not attached goes to the graveyard, which the
//! next drain of a port empties.

use std::ptr::NonNull;
use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::{PyTypeInfo, ffi};

use crate::globals::graveyard;

/// The size of the graveyard at which a loop is woken to empty it. A loop that waits for nothing native would not drain
/// by itself.
const MANY: usize = 1024;

/// Owns one reference. Unlike `Py`, it may be dropped without the interpreter.
pub(crate) struct PyRef(NonNull<ffi::PyObject>);

// SAFETY: only the count is touched through it, by an attached thread; on a free-threaded build the count is atomic.
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
        // SAFETY: the reference owned by this passes to the `Bound`.
        unsafe { Bound::from_owned_ptr(py, ptr) }
    }

    /// # Safety
    /// It was made from a `T`.
    pub(crate) unsafe fn into_cast<T: PyTypeInfo>(self, py: Python<'_>) -> Bound<'_, T> {
        // SAFETY: by the contract.
        unsafe { self.into_bound(py).cast_into_unchecked() }
    }

    /// Another reference to the object.
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

    /// The reference as a number, for the engine to carry. `from_token` is its only way back.
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

/// Wakes a loop that empties the graveyard.
static CALL: OnceLock<fn()> = OnceLock::new();

/// Sets the function that is called, from any thread, when the graveyard is large.
pub(crate) fn when_many(call: fn()) {
    let _ = CALL.set(call);
}

/// Whether this thread is attached: the interpreter's current thread state is this thread's own. The address is
/// compared and never followed, since on CPython 3.11 the current one may be another thread's. `PyGILState_Check`
/// answers yes on every thread once there has been a subinterpreter.
fn is_attached() -> bool {
    // SAFETY: both may be called by any thread at any time; they are null where there is no such state.
    let (current, own) = unsafe { (ffi::compat::PyThreadState_GetUnchecked(), ffi::PyGILState_GetThisThreadState()) };
    !current.is_null() && current == own
}

impl Drop for PyRef {
    fn drop(&mut self) {
        if is_attached() {
            // SAFETY: this owns the reference that it gives back, and the thread may touch its count.
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

/// Gives back a reference to a task from code that the task may run. A collected task whose coroutine is closed may
/// have no other reference left: it ends at the next drain, since its end would close that coroutine in mid-step.
pub(crate) fn drop_outside(task: Py<PyAny>) {
    // SAFETY: a live object, of which the caller holds a reference.
    if unsafe { ffi::Py_REFCNT(task.as_ptr()) } > 1 {
        drop(task);
    } else {
        graveyard().lock().push(task.into_ptr() as usize);
    }
}

/// Drops the references in the graveyard. Those that a finaliser adds meanwhile wait for the next time.
pub(crate) fn empty_graveyard(_py: Python<'_>) {
    let dead = {
        let mut dead = graveyard().lock();
        if dead.is_empty() {
            return;
        }
        std::mem::take(&mut *dead)
    };
    for token in dead {
        // SAFETY: the drop that put it there gave up its reference.
        drop(unsafe { PyRef::from_token(token) });
    }
}
