//! A job: one call of a blocking function, pulled by a Python thread. There is no Rust frame beneath the user's code: a thread that the exiting
//! interpreter unwinds must not unwind ours.
//!
//! queued -> running -> ended; a cancel makes it ended from queued (the thread skips it), or abandoned from running: its caller is let go,
//! the thread goes on, and counts as abandoned until it comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit, ffi};

use crate::handle::{Backing, Handle};
use crate::plan::Plan;
use crate::port::{Letter, Port, Shared};
use crate::process::ABANDONED;
use crate::pyref::PyRef;

const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const ENDED: u8 = 2;
const LEFT: u8 = 3;

#[pyclass(frozen, weakref, module = "mountain_runtime._native")]
pub(crate) struct Job {
    #[pyo3(get)]
    r#fn: Py<PyAny>,
    #[pyo3(get)]
    args: Py<PyTuple>,
    #[pyo3(get)]
    kwargs: Py<PyDict>,
    #[pyo3(get)]
    name: String,
    #[pyo3(get)]
    context: Py<PyAny>,
    handle: Py<Handle>,
    port: Arc<Shared>,
    state: AtomicU8,
}

#[pymethods]
impl Job {
    #[new]
    #[pyo3(signature = (r#fn, args, kwargs, name, /))]
    fn new(py: Python<'_>, r#fn: Py<PyAny>, args: Py<PyTuple>, kwargs: Py<PyDict>, name: String) -> PyResult<Bound<'_, Self>> {
        let port = Port::current(py)?;
        let plan = Plan::bare(py, &name)?.unbind();
        let handle = Handle::new(&port, Some(plan), Backing::Parked)?;
        // SAFETY: makes a new reference to a copy of the current context.
        let context = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent())? };
        let shared = port.get().shared.clone();
        let job = Job {
            r#fn,
            args,
            kwargs,
            name,
            context: context.unbind(),
            handle: handle.clone().unbind(),
            port: shared,
            state: AtomicU8::new(QUEUED),
        };
        let job = Bound::new(py, job)?;
        handle.get().set_backing(Backing::Job(job.clone().unbind()));
        Ok(job)
    }

    #[getter]
    fn handle(&self, py: Python<'_>) -> Py<Handle> {
        self.handle.clone_ref(py)
    }

    /// On the thread, before the call. False: it was cancelled, skip it.
    fn begin(&self) -> bool {
        self.state.compare_exchange(QUEUED, RUNNING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    #[pyo3(signature = (value, /))]
    fn succeed(&self, py: Python<'_>, value: Py<PyAny>) {
        self.end(py, Ok(PyRef::new(value)));
    }

    #[pyo3(signature = (exc, /))]
    fn fail(&self, py: Python<'_>, exc: Py<PyAny>) {
        self.end(py, Err(PyRef::new(exc)));
    }

    /// The caller was let go while the call went on.
    #[getter]
    fn abandoned(&self) -> bool {
        self.state.load(Ordering::Acquire) == LEFT
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.r#fn)?;
        visit.call(&self.args)?;
        visit.call(&self.kwargs)?;
        visit.call(&self.context)?;
        visit.call(&self.handle)
    }
}

impl Job {
    fn end(&self, py: Python<'_>, result: Result<PyRef, PyRef>) {
        if self.state.swap(ENDED, Ordering::AcqRel) == LEFT {
            ABANDONED.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.port.mailbox.post(Letter::Object(PyRef::new(self.handle.clone_ref(py)), result));
    }

    /// Its caller goes. A queued job is skipped, a running one left to itself.
    pub(crate) fn abandon(&self) {
        if self.state.compare_exchange(QUEUED, ENDED, Ordering::AcqRel, Ordering::Acquire).is_err()
            && self.state.compare_exchange(RUNNING, LEFT, Ordering::AcqRel, Ordering::Acquire).is_ok()
        {
            ABANDONED.fetch_add(1, Ordering::Relaxed);
        }
    }
}
