//! The state of a CircuitBreaker.

use std::sync::Arc;
use std::time::Duration;

use mountain_core::effect::{Keys, Use};
use mountain_core::policy::breaker::{self, Breaker, Change, Ended, Settings};
use mountain_core::policy::retry::Backoff;
use mountain_core::sync::Mutex;
use mountain_core::time::Instant;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::globals::{BREAKERS, clock, telemetry};
use crate::policy::jitter::jitter_of;
use crate::policy::keyed;
use crate::python::os_error::know_classes;
use crate::python::seconds::to_seconds;

#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct BreakerState {
    pub(crate) breaker: Arc<Mutex<Breaker>>,
    pub(crate) keys: Arc<Keys>,
}

impl BreakerState {
    fn change(
        &self,
        key: Option<&Bound<'_, PyAny>>,
        what: impl FnOnce(&mut Breaker, u32, Instant) -> Option<Change>,
    ) -> PyResult<()> {
        let key = key.map(|key| keyed::intern(&self.keys, key)).transpose()?;
        let now = clock().now();
        let changed = what(&mut self.breaker.lock(), key.as_ref().map_or(0, Use::number), now);
        if let Some(change) = changed {
            breaker::tell(&self.breaker, key, change, Ended::Well);
        }
        Ok(())
    }
}

#[pymethods]
impl BreakerState {
    #[new]
    #[pyo3(signature = (*, name, failures, failure_rate, minimum_calls, slow_call, slow_rate, window, cooldown, probes))]
    #[expect(clippy::too_many_arguments, reason = "as many as it has settings, each by its name")]
    fn new(
        py: Python<'_>,
        name: Option<&str>,
        failures: Option<u32>,
        failure_rate: f64,
        minimum_calls: u32,
        slow_call: Option<f64>,
        slow_rate: f64,
        #[pyo3(from_py_with = to_seconds)] window: Duration,
        cooldown: (f64, f64, f64, String),
        probes: u32,
    ) -> PyResult<Self> {
        let (initial, factor, max, kind) = cooldown;
        let cooldown = Backoff { initial, factor, max, jitter: jitter_of(&kind)? };
        let slow_call = slow_call.and_then(mountain_core::time::seconds);
        let settings = Settings { failures, failure_rate, minimum_calls, slow_call, slow_rate, window, cooldown, probes };
        know_classes(py)?;
        let mut breaker = Breaker::new(settings);
        breaker.ear = BREAKERS.get().copied();
        let breaker = Arc::new(Mutex::new(breaker));
        let of = breaker.clone();
        let rest = move |key, now| {
            let mut breaker = of.lock();
            let idle = breaker.is_idle(key, now);
            if idle {
                breaker.forget(key);
            }
            idle
        };
        let keys = keyed::keys(window, rest);
        if let Some(name) = name {
            telemetry().policies.breaker(&breaker, &keys, name);
        }
        Ok(BreakerState { breaker, keys })
    }

    #[pyo3(signature = (key, /))]
    fn state(&self, key: Option<Bound<'_, PyAny>>) -> PyResult<&'static str> {
        let key = key.map(|key| keyed::intern(&self.keys, &key)).transpose()?;
        let now = clock().now();
        Ok(self.breaker.lock().state(key.as_ref().map_or(0, Use::number), now).name())
    }

    #[pyo3(signature = (key, /))]
    fn isolate(&self, key: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        self.change(key.as_ref(), |breaker, key, _| breaker.isolate(key))
    }

    #[pyo3(signature = (key, /))]
    fn reset(&self, key: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        self.change(key.as_ref(), |breaker, key, _| breaker.reset(key))
    }

    /// Opens it, as if it had just failed too often.
    #[pyo3(signature = (key, /))]
    fn open(&self, key: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        self.change(key.as_ref(), |breaker, key, now| breaker.open_now(key, now, 1.0 - f64::EPSILON))
    }

    /// In the child of a fork: forgets the parent's calls.
    fn after_fork(&self) {
        self.breaker.lock().forget_calls();
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
