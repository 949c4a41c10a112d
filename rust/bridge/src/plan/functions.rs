//! The user's functions that a layer calls in the course of a call: the stand-in for a failure, the judge of a value,
//! the wait before another attempt.

use std::time::Duration;

use mountain_core::telemetry::shortened;
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBool;
use pyo3::{PyTraverseError, PyVisit};

use crate::python::seconds::duration;

/// Those of one layer.
#[derive(Default)]
pub(crate) struct Functions {
    /// Of a fallback.
    pub(crate) to: Option<StandIn>,
    /// Of a retry: whether a value is accepted.
    pub(crate) until: Option<Py<PyAny>>,
    /// Of a retry: the wait after an attempt.
    pub(crate) backoff: Option<Py<PyAny>>,
    /// Of chaos: makes its errors.
    pub(crate) error: Option<Py<PyAny>>,
}

/// The function of a fallback.
pub(crate) struct StandIn {
    pub(super) function: Py<PyAny>,
    /// Its name, by which its answers are counted.
    pub(super) name: String,
    /// It is called with the arguments of the call, and otherwise with the error.
    pub(crate) by_arguments: bool,
}

impl StandIn {
    pub(crate) fn new(function: Py<PyAny>, name: &str, by_arguments: bool) -> Self {
        StandIn { function, name: shortened(name).into_owned(), by_arguments }
    }
}

impl Functions {
    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        Functions {
            to: self.to.as_ref().map(|to| StandIn { function: to.function.clone_ref(py), name: to.name.clone(), ..*to }),
            until: self.until.as_ref().map(|until| until.clone_ref(py)),
            backoff: self.backoff.as_ref().map(|backoff| backoff.clone_ref(py)),
            error: self.error.as_ref().map(|error| error.clone_ref(py)),
        }
    }

    /// Whether `until` accepts a value of the effect of that name.
    pub(crate) fn accepts(&self, py: Python<'_>, effect: &str, value: &Py<PyAny>) -> PyResult<bool> {
        let Some(until) = &self.until else { return Ok(true) };
        let said = until.bind(py).call1((value,))?;
        if let Ok(said) = said.cast::<PyBool>() {
            return Ok(said.is_true());
        }
        if said.hasattr(intern!(py, "__await__"))? {
            if let Some(close) = said.getattr_opt(intern!(py, "close"))? {
                close.call0()?;
            }
            let got = said.get_type().name()?;
            let message = format!("until= of effect '{effect}' gave {got}: it must answer at once, True or False");
            return Err(PyTypeError::new_err(message));
        }
        said.is_truthy()
    }

    /// The wait after that attempt, by the backoff function of `call`.
    pub(crate) fn wait(&self, py: Python<'_>, call: impl Fn() -> String, attempt: u32) -> PyResult<Duration> {
        let Some(backoff) = &self.backoff else { return Ok(Duration::ZERO) };
        let said = backoff.bind(py).call1((attempt,))?;
        let read = seconds_of(&said);
        if let Some(wait) = read.as_ref().ok().and_then(|seconds| duration(*seconds).ok()) {
            return Ok(wait);
        }
        let gave = said.repr().map_or_else(|_| "?".into(), |r| r.to_string());
        let must = "it must be seconds, as a number or a timedelta, 0 or more";
        let message = format!("backoff= of {} gave {gave} for attempt {attempt}: {must}", call());
        Err(if read.is_ok() { PyValueError::new_err(message) } else { PyTypeError::new_err(message) })
    }

    pub(crate) fn any(&self) -> bool {
        self.take_values() || self.error.is_some()
    }

    /// Some of them are asked of a call's values or failures, which must be Python's.
    pub(crate) fn take_values(&self) -> bool {
        self.to.is_some() || self.until.is_some() || self.backoff.is_some()
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(self.to.as_ref().map(|to| &to.function))?;
        visit.call(&self.until)?;
        visit.call(&self.backoff)?;
        visit.call(&self.error)
    }
}

/// A number of seconds, or a timedelta's.
fn seconds_of(said: &Bound<'_, PyAny>) -> PyResult<f64> {
    let py = said.py();
    if said.is_instance_of::<PyBool>() {
        return Err(PyTypeError::new_err("a bool is no number of seconds"));
    }
    if let Some(total) = said.getattr_opt(intern!(py, "total_seconds"))? {
        return total.call0()?.extract();
    }
    match said.extract::<f64>() {
        // A whole number beyond what a float holds.
        Err(e) if e.is_instance_of::<PyOverflowError>(py) => Ok(if said.gt(0)? { f64::INFINITY } else { f64::NEG_INFINITY }),
        read => read,
    }
}
