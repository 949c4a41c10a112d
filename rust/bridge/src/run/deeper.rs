//! The depth to which calls go into one another.

use std::cell::Cell;
use std::marker::PhantomData;

use pyo3::exceptions::PyRecursionError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Calls within one another. From CPython 3.12 on Python's own limit does not count the frames of an engine, of which a
/// thousand may be more than the stack has room for.
const DEEPEST: u32 = if cfg!(Py_3_12) { 400 } else { 1_000_000 };

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// One level of recursion more, as long as it lives: a panic leaves it too.
pub(super) struct Deeper<'py>(PhantomData<Python<'py>>);

impl<'py> Deeper<'py> {
    pub(super) fn new(py: Python<'py>) -> PyResult<Self> {
        let depth = DEPTH.get();
        if depth >= DEEPEST {
            return Err(PyRecursionError::new_err("maximum recursion depth exceeded while running an effect"));
        }
        // SAFETY: paired with the leave below; it sets RecursionError when it fails.
        if unsafe { ffi::Py_EnterRecursiveCall(c" while running an effect".as_ptr()) } == 0 {
            DEPTH.set(depth + 1);
            Ok(Deeper(PhantomData))
        } else {
            Err(PyErr::fetch(py))
        }
    }
}

impl Drop for Deeper<'_> {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        // SAFETY: paired with the enter above, on the same thread, which `Python` does not leave.
        unsafe { ffi::Py_LeaveRecursiveCall() };
    }
}
