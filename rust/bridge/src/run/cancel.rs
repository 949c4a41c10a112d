//! The cancels of one task: which are ours, and which come from outside. The rule is the core's ([`Received`]).

use std::sync::atomic::{AtomicBool, Ordering};

use mountain_core::effect::{Asked, Received};
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::python::api::api;

/// A task in which code runs that we may cancel, and the cancels that the task had received before.
pub(crate) struct Cancels {
    task: Py<PyAny>,
    received: Received,
}

impl Cancels {
    /// From within the task, as the code begins.
    pub(crate) fn of(task: &Bound<'_, PyAny>) -> PyResult<Self> {
        let counted = api(task.py()).cancelling(task)?;
        let undelivered = counted > 0 && is_undelivered(task)?;
        Ok(Cancels { task: task.clone().unbind(), received: Received::new(counted, undelivered) })
    }

    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        Cancels { task: self.task.clone_ref(py), received: self.received }
    }

    /// Our cancel. One from outside that is on its way keeps its message: the task would throw the last one's.
    pub(crate) fn send(&self, py: Python<'_>) -> PyResult<()> {
        let task = self.task.bind(py);
        let message =
            if self.has_more(py)? && is_undelivered(task)? { task.getattr_opt(intern!(py, "_cancel_message"))? } else { None };
        match message {
            Some(message) => task.call_method1(intern!(py, "cancel"), (message,)),
            None => task.call_method0(intern!(py, "cancel")),
        }
        .map(drop)
    }

    /// A cancel from outside has come and was not taken back. Called while no cancel of ours is sent.
    pub(crate) fn has_more(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.received.has_more(api(py).cancelling(self.task.bind(py))?))
    }

    /// The code has ended: with that error, or well. Our cancel is taken back, if it was `sent`.
    pub(crate) fn settle(&self, py: Python<'_>, sent: bool, error: Option<&Bound<'_, PyAny>>) -> PyResult<Asked> {
        let task = self.task.bind(py);
        let counted = if sent { task.call_method0(intern!(py, "uncancel"))?.extract()? } else { api(py).cancelling(task)? };
        let cancelled = error.filter(|e| sent && e.is_instance_of::<CancelledError>());
        let asked = self.received.asked(counted, sent, cancelled.is_some());
        if let (Asked::Outside, Some(error)) = (asked, cancelled) {
            Self::keep_message(error)?;
        }
        Ok(asked)
    }

    /// Of several cancels the first that has a message is raised: ours, which has none, may have cut short the cleanup
    /// that the other began.
    fn keep_message(error: &Bound<'_, PyAny>) -> PyResult<()> {
        let (py, args) = (error.py(), intern!(error.py(), "args"));
        let mut next = Some(error.clone());
        // A chain may be a ring, made by hand.
        for _ in 0..1000 {
            let Some(cancel) = next.filter(PyAnyMethods::is_instance_of::<CancelledError>) else { break };
            let said = cancel.getattr(args)?;
            if said.len()? > 0 {
                return if cancel.is(error) { Ok(()) } else { error.setattr(args, said) };
            }
            next = cancel.getattr_opt(intern!(py, "__context__"))?;
        }
        Ok(())
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.task)
    }
}

/// The last cancel of the task is thrown in with its next step.
fn is_undelivered(task: &Bound<'_, PyAny>) -> PyResult<bool> {
    let must = task.getattr_opt(intern!(task.py(), "_must_cancel"))?;
    Ok(must.is_some_and(|must| must.is_truthy().unwrap_or(false)))
}

/// For a block of Python code that a deadline ends: it may cancel the block's task once.
#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct OwnCancel {
    cancels: Cancels,
    sent: AtomicBool,
}

#[pymethods]
impl OwnCancel {
    /// From within the task, as the block begins.
    #[new]
    #[pyo3(signature = (task, /))]
    fn new(task: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(OwnCancel { cancels: Cancels::of(task)?, sent: AtomicBool::new(false) })
    }

    /// Cancels the task.
    fn send(&self, py: Python<'_>) -> PyResult<()> {
        self.sent.store(true, Ordering::Relaxed);
        self.cancels.send(py)
    }

    /// The block has ended, with `error` or well: takes back the cancel, if it was sent. True: `error` is the answer to
    /// it.
    #[pyo3(signature = (error, /))]
    fn settle(&self, py: Python<'_>, error: Option<Bound<'_, PyAny>>) -> PyResult<bool> {
        Ok(self.sent.load(Ordering::Relaxed) && self.cancels.settle(py, true, error.as_ref())? == Asked::Ours)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.cancels.traverse(&visit)
    }
}
