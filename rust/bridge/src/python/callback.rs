//! Callbacks of asyncio's own, which a drain may call directly.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::{Borrowed, ffi};

use crate::python::api::api;

/// Whether `callback` is the one that `asyncio.gather` leaves on its children. It reads them and resolves a future, so
/// that it needs no context and a drain may call it directly.
pub(crate) fn gathers(callback: &Bound<'_, PyAny>) -> bool {
    // SAFETY: `callback` is a live object. The address of a function's code is compared and never followed, for the
    // code may be replaced.
    unsafe {
        ffi::PyFunction_Check(callback.as_ptr()) != 0
            && ffi::PyFunction_GetCode(callback.as_ptr()) == api(callback.py()).gather_code.as_ptr()
    }
}

/// Whether `callback` is the C method by which a `Task` wakes, which a drain may call directly. The loop calls all
/// others, since it handles what they raise.
pub(crate) fn wakes_a_task(callback: &Bound<'_, PyAny>) -> bool {
    woken_by(callback).is_some()
}

/// The task that such a callback wakes.
pub(crate) fn woken_by<'a, 'py>(callback: &'a Bound<'py, PyAny>) -> Option<Borrowed<'a, 'py, PyAny>> {
    // SAFETY: `callback` is a live object; a C function's self is borrowed from it, and stays the same.
    unsafe {
        if ffi::PyCFunction_CheckExact(callback.as_ptr()) == 0 {
            return None;
        }
        let owner = ffi::PyCFunction_GetSelf(callback.as_ptr());
        let is_task = !owner.is_null() && ffi::PyObject_TypeCheck(owner, task_type(callback.py())) != 0;
        is_task.then(|| Borrowed::from_ptr(callback.py(), owner))
    }
}

fn task_type(py: Python<'_>) -> *mut ffi::PyTypeObject {
    static TASK: PyOnceLock<usize> = PyOnceLock::new();
    *TASK.get_or_init(py, || api(py).task_type.as_ptr() as usize) as *mut ffi::PyTypeObject
}

/// Calls `callback(argument)` in `context`.
pub(crate) fn call_in(context: &Bound<'_, PyAny>, callback: &Bound<'_, PyAny>, argument: &Bound<'_, PyAny>) -> PyResult<()> {
    let entered = Entered::new(context)?;
    let result = callback.call1((argument,));
    entered.exit()?;
    result.map(drop)
}

/// A context that this thread has entered; its drop leaves the context, on a panic too.
struct Entered<'a, 'py>(&'a Bound<'py, PyAny>);

impl<'a, 'py> Entered<'a, 'py> {
    fn new(context: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        // SAFETY: `context` is a context object.
        if unsafe { ffi::PyContext_Enter(context.as_ptr()) } == 0 {
            Ok(Entered(context))
        } else {
            Err(PyErr::fetch(context.py()))
        }
    }

    fn exit(self) -> PyResult<()> {
        let context = self.0;
        std::mem::forget(self);
        // SAFETY: the context that this thread entered last.
        if unsafe { ffi::PyContext_Exit(context.as_ptr()) } == 0 { Ok(()) } else { Err(PyErr::fetch(context.py())) }
    }
}

impl Drop for Entered<'_, '_> {
    fn drop(&mut self) {
        // SAFETY: as in `exit`.
        if unsafe { ffi::PyContext_Exit(self.0.as_ptr()) } != 0 {
            drop(PyErr::take(self.0.py()));
        }
    }
}
