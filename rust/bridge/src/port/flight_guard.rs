//! Where a cached call's flight ends: its task says how, its loop when it is closed, or whoever drops it.

use std::sync::Arc;

use mountain_core::effect::{self, Abort, Abortable, Flight, Landed, PermitContext};
use mountain_core::sync::Mutex;
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::context::PyPermitContext;
use crate::policy::cache::{share, share_error};
use crate::port::{Message, Port, Shared};
use crate::python::pyref::PyRef;

#[pyclass(frozen, weakref, module = "mountain_runtime._native")]
pub(crate) struct Landing {
    right: Mutex<Option<effect::Landing>>,
    flight: Arc<Flight>,
    /// The permits of who began it, and waits.
    held: Option<Arc<PermitContext>>,
    /// From `flies` on.
    task: Mutex<Option<(Py<PyAny>, Py<Port>)>>,
}

impl Landing {
    pub(crate) fn new(landing: effect::Landing, held: Option<Arc<PermitContext>>) -> Self {
        let flight = landing.flight().clone();
        Landing { held, right: Mutex::new(Some(landing)), flight, task: Mutex::new(None) }
    }

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

    pub(crate) fn forget(&self) {
        self.flight.forget();
    }

    /// Its loop is closed: whoever waits elsewhere begins another.
    pub(crate) fn lost(slf: &Bound<'_, Self>) {
        Self::end(slf, Landed::Lost);
    }
}

#[pymethods]
impl Landing {
    /// The task is under way.
    #[pyo3(signature = (task, /))]
    fn flies(slf: &Bound<'_, Self>, task: Bound<'_, PyAny>) -> PyResult<()> {
        let me = slf.get();
        let port = Port::current(slf.py())?;
        let landing = me.right.lock();
        // An eager task may have ended already.
        let Some(landing) = &*landing else { return Ok(()) };
        port.get().flies(slf.as_any());
        let abort = Arc::new(Ask { port: port.get().shared.clone(), task: Mutex::new(Some(PyRef::new(task.clone().unbind()))) });
        *me.task.lock() = Some((task.unbind(), port.unbind()));
        landing.begun(Abort::Shared(abort));
        Ok(())
    }

    /// For the context variable of its task.
    fn within(&self, py: Python<'_>) -> PyResult<PyPermitContext> {
        PyPermitContext::new(py, self.held.clone(), Some(self.flight.clone()))
    }

    #[pyo3(signature = (value, /))]
    fn succeed(slf: &Bound<'_, Self>, value: Py<PyAny>) {
        Self::end(slf, Landed::Value(share(value)));
    }

    #[pyo3(signature = (exc, /))]
    fn fail(slf: &Bound<'_, Self>, exc: Bound<'_, PyBaseException>) {
        Self::end(slf, Landed::Failed(share_error(exc)));
    }

    /// Nobody knows; unless it was said how it ended.
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

/// The last caller has left. A task that is being cancelled already, as its loop ends, is not disturbed in its cleanup.
pub(crate) fn cancel(task: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = task.py();
    if task.call_method0(intern!(py, "cancelling"))?.extract::<i64>()? == 0 {
        task.call_method0(intern!(py, "cancel"))?;
    }
    Ok(())
}

/// Nobody waits any more: the task's own loop cancels it.
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
