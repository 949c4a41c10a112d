//! The state of a RateLimit.

use std::sync::Arc;
use std::time::Duration;

use mountain_core::effect::{Keys, Use};
use mountain_core::policy::rate::{Rate, Settings};
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::globals::{clock, telemetry};
use crate::policy::keyed;
use crate::python::seconds::to_seconds;

#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct RateState {
    pub(crate) rate: Arc<Rate>,
    pub(crate) keys: Arc<Keys>,
}

impl RateState {
    fn number(&self, key: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Use>> {
        key.map(|key| keyed::intern(&self.keys, key)).transpose()
    }
}

#[pymethods]
impl RateState {
    #[new]
    #[pyo3(signature = (n, per, burst, max_wait, name, /))]
    fn new(
        n: f64,
        #[pyo3(from_py_with = to_seconds)] per: Duration,
        burst: Option<f64>,
        max_wait: Option<f64>,
        name: Option<&str>,
    ) -> Self {
        let max_wait = max_wait.and_then(mountain_core::time::seconds);
        let rate = Rate::new(&Settings { n, per, burst, max_wait });
        let of = rate.clone();
        let keys = keyed::keys(per, move |key, now| of.rest(key, now));
        if let Some(name) = name {
            telemetry().policies.rate(&rate, Some(&keys), name);
        }
        RateState { rate, keys }
    }

    #[pyo3(signature = (cost, key, /))]
    fn charge(&self, cost: f64, key: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let key = self.number(key.as_ref())?;
        self.rate.charge(clock(), key.as_ref().map_or(0, Use::number), cost);
        Ok(())
    }

    #[pyo3(signature = (seconds, key, /))]
    fn pause(&self, #[pyo3(from_py_with = to_seconds)] seconds: Duration, key: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let key = self.number(key.as_ref())?;
        self.rate.pause(clock(), key.as_ref().map_or(0, Use::number), seconds);
        Ok(())
    }

    #[pyo3(signature = (n, per, /))]
    fn change(&self, n: f64, #[pyo3(from_py_with = to_seconds)] per: Duration) {
        self.rate.set(clock(), n, per);
    }

    /// The number of callers that wait for a turn.
    #[getter]
    fn waiting(&self) -> usize {
        self.rate.waiting()
    }

    /// In the child of a fork: forgets the parent's calls.
    fn after_fork(&self) {
        self.rate.forget_parent();
    }

    /// The number of keys that have a state.
    #[getter]
    fn keys(&self) -> usize {
        self.keys.len()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        keyed::traverse(&self.keys, &visit)
    }
}
