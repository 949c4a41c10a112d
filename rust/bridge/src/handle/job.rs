//! A job: one call of a blocking function, pulled by a Python thread. There is no Rust frame beneath the user's code: a
//! thread that the exiting interpreter unwinds must not unwind ours.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyWeakrefReference};
use pyo3::{PyTraverseError, PyVisit, ffi};

use crate::context::permit_context::PyPermitContext;
use crate::context::permit_context_of_job;
use crate::handle::Handle;
use crate::handle::backing::Backing;
use crate::handle::job_state::JobState;
use crate::plan::Plan;
use crate::port::Port;
use crate::port::queue::{Message, Shared};
use crate::python::pyref::PyRef;

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
    state: Arc<JobState>,
    /// The permits and the flight that wait for the job, set in its context.
    permit_context: Option<Py<PyPermitContext>>,
}

#[pymethods]
impl Job {
    #[new]
    /// Of a call of another process, which no thread here begins, `ask` is called with nothing when the call is to end.
    /// It answers in any case, and its caller waits for that.
    #[pyo3(signature = (r#fn, args, kwargs, name, ask = None, /))]
    fn new(
        py: Python<'_>,
        r#fn: Py<PyAny>,
        args: Py<PyTuple>,
        kwargs: Py<PyDict>,
        name: String,
        ask: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'_, Self>> {
        let port = Port::current(py)?;
        let plan = Plan::bare(py, &name)?.unbind();
        let state = Arc::new(JobState::queued());
        let backing = ask.map_or_else(|| Backing::Job(state.clone()), Backing::Elsewhere);
        let handle = Handle::new(py, &port.get().event_loop, Some(plan), backing)?;
        // SAFETY: makes a new reference to a copy of the current context.
        let context = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent())? };
        let shared = port.get().shared.clone();
        let permit_context = permit_context_of_job(&context)?;
        let (context, handle) = (context.unbind(), handle.unbind());
        Bound::new(py, Job { r#fn, args, kwargs, name, context, handle, port: shared, state, permit_context })
    }

    #[getter]
    fn handle(&self, py: Python<'_>) -> Py<Handle> {
        self.handle.clone_ref(py)
    }

    /// Called on the thread before the call. False: the job was cancelled, and the thread skips it.
    fn begin(&self) -> bool {
        self.state.begin()
    }

    #[pyo3(signature = (value, /))]
    fn succeed(&self, py: Python<'_>, value: Py<PyAny>) {
        self.end(py, Ok(PyRef::new(value)));
    }

    #[pyo3(signature = (exc, /))]
    fn fail(&self, py: Python<'_>, exc: Py<PyAny>) {
        self.end(py, Err(PyRef::new(exc)));
    }

    /// The caller was cancelled while the call ran.
    #[getter]
    fn abandoned(&self) -> bool {
        self.state.is_left()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.r#fn)?;
        visit.call(&self.args)?;
        visit.call(&self.kwargs)?;
        visit.call(&self.context)?;
        visit.call(&self.permit_context)?;
        visit.call(&self.handle)
    }
}

impl Job {
    fn end(&self, py: Python<'_>, result: Result<PyRef, PyRef>) {
        if let Some(permit_context) = &self.permit_context {
            permit_context.get().over();
        }
        let handle = PyWeakrefReference::new(self.handle.bind(py)).map(|handle| PyRef::new(handle.unbind()));
        // A job that was left needs no handle.
        self.state.end(|| {
            if let Ok(handle) = handle {
                self.port.mailbox.post(Message::Object(handle, result));
            }
        });
    }
}
