//! Ends a flight: with the outcome of its task, or as lost if the task is dropped or its loop is closed.

use std::sync::Arc;

use mountain_core::effect::{self, Abort, Abortable, Flight, Landed, PermitContext};
use mountain_core::sync::Mutex;
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::context::permit_context::PyPermitContext;
use crate::policy::cache::{share, share_error};
use crate::port::Port;
use crate::port::queue::{Message, Shared};
use crate::python::pyref::PyRef;

#[pyclass(frozen, weakref, module = "mountain_runtime._native")]
pub(crate) struct Landing {
    right: Mutex<Option<effect::Landing>>,
    flight: Arc<Flight>,
    /// Those of the calls that wait for the flight, as one.
    held: Option<Arc<PermitContext>>,
    /// The flight's task and its loop's port, from `flies` until the end.
    task: Mutex<Option<(Py<PyAny>, Py<Port>)>>,
}

impl Landing {
    pub(crate) fn new(landing: effect::Landing, held: Option<Arc<PermitContext>>) -> Self {
        let flight = landing.flight().clone();
        Landing { held, right: Mutex::new(Some(landing)), flight, task: Mutex::new(None) }
    }

    /// Lands the flight, once, and lets go of its task.
    fn end(slf: &Bound<'_, Self>, landed: Landed) {
        let landing = slf.get().right.lock().take();
        if let Some(landing) = landing {
            landing.land(landed);
        }
        let task = slf.get().task.lock().take();
        if let Some((_, port)) = &task {
            port.get().landed(slf.as_any());
        }
        drop(task);
    }

    /// Whether its task is that one.
    pub(crate) fn is_of(&self, task: &Bound<'_, PyAny>) -> bool {
        self.task.lock().as_ref().is_some_and(|(of, _)| of.is(task))
    }

    pub(crate) fn forget(&self) {
        self.flight.forget();
    }

    /// Its loop is closed: a caller that waits on another loop begins a new flight.
    pub(crate) fn lost(slf: &Bound<'_, Self>) {
        Self::end(slf, Landed::Lost);
    }
}

#[pymethods]
impl Landing {
    /// Notes the task, which has started.
    #[pyo3(signature = (task, /))]
    fn flies(slf: &Bound<'_, Self>, task: Bound<'_, PyAny>) -> PyResult<()> {
        let me = slf.get();
        let port = Port::current(slf.py())?;
        let landing = me.right.lock();
        // An eager task may have ended already.
        let Some(landing) = &*landing else { return Ok(()) };
        if me.task.lock().is_some() {
            return Ok(()); // it said so itself
        }
        port.get().flies(slf.as_any());
        let known = PyRef::new(PyWeakrefReference::new(&task)?.unbind());
        let abort = Arc::new(Ask { port: port.get().shared.clone(), task: Mutex::new(Some(known)) });
        *me.task.lock() = Some((task.unbind(), port.unbind()));
        landing.begun(Abort::Shared(abort));
        Ok(())
    }

    /// Whether the flight was asked to end.
    #[getter]
    fn asked(&self) -> bool {
        self.flight.is_over()
    }

    /// The permits and the flight that wait for the flight's task: the value of the task's context variable.
    fn permit_context(&self, py: Python<'_>) -> PyResult<PyPermitContext> {
        PyPermitContext::new(py, self.held.clone(), Some(self.flight.clone()))
    }

    /// Gives something to the caller before the end: the items of a stream.
    #[pyo3(signature = (given, /))]
    fn gives(&self, given: Py<PyAny>) {
        if let Some(landing) = &*self.right.lock() {
            landing.gives(share(given));
        }
    }

    #[pyo3(signature = (value, /))]
    fn succeed(slf: &Bound<'_, Self>, value: Py<PyAny>) {
        Self::end(slf, Landed::Value(share(value)));
    }

    #[pyo3(signature = (exc, /))]
    fn fail(slf: &Bound<'_, Self>, exc: Bound<'_, PyBaseException>) {
        Self::end(slf, Landed::Failed(share_error(exc)));
    }

    /// Marks the flight as lost, unless it has landed already.
    #[pyo3(signature = (_task = None, /))]
    fn lose(slf: &Bound<'_, Self>, _task: Option<&Bound<'_, PyAny>>) {
        Self::end(slf, Landed::Lost);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(task) = self.task.try_lock()
            && let Some((task, port)) = &*task
        {
            visit.call(task)?;
            visit.call(port)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let gone = (self.task.lock().take(), self.right.lock().take());
        drop(gone);
    }
}

/// Cancels the task of a flight whose last caller has left. A second cancel would disturb the cleanup of a task that is
/// being cancelled already, as its loop ends.
pub(crate) fn cancel(task: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = task.py();
    if task.call_method0(intern!(py, "cancelling"))?.extract::<i64>()? == 0 {
        task.call_method0(intern!(py, "cancel"))?;
    }
    Ok(())
}

/// Has the task's own loop cancel it when the last caller has left. It knows the task by a weak reference, as any
/// flight is known to the engine, which the collector does not look through.
struct Ask {
    port: Arc<Shared>,
    task: Mutex<Option<PyRef>>,
}

impl Abortable for Ask {
    fn abort(&self) {
        let task = self.task.lock().take();
        if let Some(task) = task {
            self.port.mailbox.post(Message::Cancel(task));
        }
    }
}
