//! The package's context variables, and the value of one in the current context.

use std::ffi::CStr;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::{PyTypeInfo, ffi};

static DEADLINE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static SCOPE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static PRIORITY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static PERMIT_CONTEXT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static PARENT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static ACCEPTED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static SERVING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

fn var<'py>(py: Python<'py>, cell: &'static PyOnceLock<Py<PyAny>>, name: &CStr) -> PyResult<&'py Bound<'py, PyAny>> {
    let made = cell.get_or_try_init(py, || {
        // SAFETY: makes a new context variable without a default.
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContextVar_New(name.as_ptr(), std::ptr::null_mut())).map(Bound::unbind) }
    })?;
    Ok(made.bind(py))
}

/// The deadline that the current code carries with it: an `InheritedDeadline`.
pub(crate) fn deadline_var(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    var(py, &DEADLINE, c"mountain_runtime.deadline")
}

/// The current code's runtime.
pub(crate) fn scope_var(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    var(py, &SCOPE, c"mountain_runtime.scope")
}

/// The runtime that has accepted the work from which the current code descends.
pub(crate) fn accepted_var(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    var(py, &ACCEPTED, c"mountain_runtime.accepted")
}

/// The runtime of which the current code is a service: while the runtime drains, the service may await effects and
/// submit none.
pub(crate) fn serving_var(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    var(py, &SERVING, c"mountain_runtime.serving")
}

/// The priority of the current code.
pub(crate) fn priority_var(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    var(py, &PRIORITY, c"mountain_runtime.priority")
}

/// The variable of the permits and the flight that wait for the current task, a `PyPermitContext`.
pub(crate) fn permit_context_var(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    var(py, &PERMIT_CONTEXT, c"mountain_runtime.permit_context")
}

/// The number of the entry inside which the current code runs, while entries are listed.
pub(crate) fn parent_var(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    var(py, &PARENT, c"mountain_runtime.parent")
}

/// The variable's value in the current context, if it is a `T`.
pub(crate) fn get<'py, T: PyTypeInfo>(var: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, T>>> {
    let mut value = std::ptr::null_mut();
    // SAFETY: `var` is a context variable; a value comes back as an owned reference or null.
    let value = unsafe {
        if ffi::PyContextVar_Get(var.as_ptr(), std::ptr::null_mut(), &raw mut value) < 0 {
            return Err(PyErr::fetch(var.py()));
        }
        Bound::from_owned_ptr_or_opt(var.py(), value)
    };
    Ok(value.and_then(|v| v.cast_into::<T>().ok()))
}
