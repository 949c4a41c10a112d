//! The failure of a Python leaf: the exception raised, or a policy's decision, with the facts that the policies may ask
//! of it.

use mountain_core::effect::{Class, Fault, Verdict};
use mountain_core::error::{Refused, TimedOut};
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::exceptions::{
    PyBaseException, PyException, PyGeneratorExit, PyOverflowError, PyRuntimeError, PyStopIteration, PyTypeError,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBool;

use crate::convert::error;
use crate::convert::not_accepted::NotAccepted;
use crate::plan::Plan;
use crate::python::api::api;

/// How a Python leaf fails.
pub(crate) enum Fail {
    /// Our own cancel, come back.
    Stopped,
    /// The consumer of a stream has left it before its end, and it was closed: no failure.
    Left,
    Raised(PyErr, Class),
    TimedOut(Box<TimedOut<Fail>>),
    Refused(Refused),
    NotAccepted(Box<NotAccepted>),
}

impl Fail {
    pub(crate) fn raised(py: Python<'_>, e: PyErr) -> Self {
        let class = if !e.is_instance_of::<PyException>(py) {
            Class::Passes
        } else if e.is_instance(py, api(py).rejected.bind(py)) {
            Class::Refused(None)
        } else {
            Class::Failure
        };
        Fail::Raised(e, class)
    }

    /// `inherited` writes out the deadline that its run inherited.
    pub(crate) fn into_error(self, py: Python<'_>, plan: &Plan, inherited: &dyn Fn() -> Option<String>) -> PyErr {
        match self {
            Fail::Stopped => CancelledError::new_err(()),
            Fail::Left => PyGeneratorExit::new_err(()),
            Fail::Raised(e, _) => e,
            Fail::TimedOut(t) => {
                let cause = t.cause.map(|c| c.into_error(py, plan, inherited));
                error::timed_out(py, plan, t.owner, t.attempts, cause, inherited)
            }
            Fail::Refused(r) => error::refused(py, plan, r),
            Fail::NotAccepted(what) => what.into_error(py, plan),
        }
    }

    /// As the exception that the caller would see; to the policies it stays what it was.
    pub(crate) fn raise(&mut self, py: Python<'_>, plan: &Plan, inherited: &dyn Fn() -> Option<String>) -> Option<&PyErr> {
        if !matches!(self, Fail::Raised(..)) {
            let class = self.class();
            let e = std::mem::replace(self, Fail::Stopped).into_error(py, plan, inherited);
            *self = Fail::Raised(e, class);
        }
        match self {
            Fail::Raised(e, _) => Some(e),
            _ => None,
        }
    }
}

impl Fault for Fail {
    fn timed_out(t: TimedOut<Self>) -> Self {
        Fail::TimedOut(Box::new(t))
    }

    fn refused(r: Refused) -> Self {
        Fail::Refused(r)
    }

    fn stopped() -> Self {
        Fail::Stopped
    }

    fn class(&self) -> Class {
        match self {
            Fail::Stopped => Class::Stopped,
            Fail::Left => Class::Passes,
            Fail::Raised(_, class) => *class,
            Fail::TimedOut(t) => Class::TimedOut(t.owner),
            Fail::Refused(r) => Class::Refused(Some(r.layer)),
            Fail::NotAccepted(_) => Class::Failure,
        }
    }
}

/// An exception with its traceback, which CPython 3.11 gives to it only when it is caught.
pub(crate) fn with_frames<'py>(py: Python<'py>, e: &PyErr) -> Bound<'py, PyBaseException> {
    e.clone_ref(py).into_value(py).into_bound(py)
}

/// `e` was raised while `error` was handled, as in an `except` block: the first of what led to it has that as its
/// context. As the interpreter does it, so that a frozen exception has one too.
pub(crate) fn while_handling(e: &PyErr, error: &Bound<'_, PyAny>) {
    let py = error.py();
    let mut first = e.clone_ref(py);
    // A chain may be a ring, made by hand.
    for _ in 0..1000 {
        if first.value(py).is(error) {
            return;
        }
        match first.context(py) {
            Some(before) => first = before,
            None => break,
        }
    }
    first.set_context(py, Some(PyErr::from_value(error.clone())));
}

/// The message of the RuntimeError that an effect's StopIteration becomes, from any of the user's code.
pub(crate) const RAISED_STOP: &str = "an effect raised StopIteration";

/// StopIteration would look like the end of an await: it becomes a RuntimeError, as in PEP 479.
pub(crate) fn no_stop(py: Python<'_>, e: PyErr, message: &'static str) -> PyErr {
    if !e.is_instance_of::<PyStopIteration>(py) {
        return e;
    }
    let ours = PyRuntimeError::new_err(message);
    ours.set_cause(py, Some(e));
    ours
}

/// Reads the answer of an `on` function: a bool, a number of seconds, or a timedelta.
pub(crate) fn answer(said: &Bound<'_, PyAny>) -> PyResult<Verdict> {
    let py = said.py();
    if said.is_none() {
        return Ok(Verdict::No);
    }
    if let Ok(yes) = said.cast::<PyBool>() {
        return Ok(if yes.is_true() { Verdict::Yes } else { Verdict::No });
    }
    if let Some(total) = said.getattr_opt(intern!(py, "total_seconds"))? {
        return Ok(Verdict::After(total.call0()?.extract()?));
    }
    match said.extract::<f64>() {
        Ok(delay) => Ok(Verdict::After(delay)),
        // A whole number beyond what a float holds.
        Err(e) if e.is_instance_of::<PyOverflowError>(py) => {
            Ok(Verdict::After(if said.gt(0)? { f64::INFINITY } else { f64::NEG_INFINITY }))
        }
        Err(_) => {
            Err(PyTypeError::new_err(format!("a retry's on= must return a bool or a delay, not {}", said.get_type().name()?)))
        }
    }
}
