//! The state of a Hedge.

use std::sync::Arc;
use std::time::Duration;

use mountain_core::effect::{Keys, Use};
use mountain_core::policy::hedge::{After, Hedge, Settings};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};

use crate::globals::telemetry;
use crate::policy::cache::BudgetState;
use crate::policy::keyed;
use crate::python::seconds::to_seconds;

/// The interval at which idle keys are forgotten.
const REST: Duration = Duration::from_mins(1);

#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct HedgeState {
    pub(crate) hedge: Arc<Hedge>,
    pub(crate) keys: Arc<Keys>,
}

#[pymethods]
impl HedgeState {
    /// `after`: fixed seconds; None: the observed percentile.
    #[new]
    #[pyo3(signature = (after, percentile, attempts, budget, name, /))]
    fn new(
        after: Option<Bound<'_, PyAny>>,
        percentile: f64,
        attempts: u32,
        budget: Option<PyRef<'_, BudgetState>>,
        name: Option<&str>,
    ) -> PyResult<Self> {
        let after = match after {
            Some(after) => After::Fixed(to_seconds(&after)?),
            None => After::Percentile(percentile),
        };
        let hedge = Arc::new(Hedge::new(Settings { after, attempts, budget: budget.map(|budget| budget.0.clone()) }));
        if let Some(name) = name {
            telemetry().policies.hedge(&hedge, name);
        }
        let of = hedge.clone();
        Ok(HedgeState { hedge, keys: keyed::keys(REST, move |key, now| of.rest(key, now)) })
    }

    /// The seconds after which another attempt begins; None while they are unknown.
    #[pyo3(signature = (key, /))]
    fn delay(&self, key: Option<Bound<'_, PyAny>>) -> PyResult<Option<f64>> {
        let key = match key {
            Some(key) => match keyed::find(&self.keys, &key)? {
                Some(key) => Some(key),
                // Without a call of the key nothing is known, but what is fixed.
                None => return Ok(self.hedge.delay(u32::MAX).map(seconds)),
            },
            None => None,
        };
        Ok(self.hedge.delay(key.as_ref().map_or(0, Use::number)).map(seconds))
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = self.hedge.counts();
        let d = PyDict::new(py);
        d.set_item("hedged", counts.hedged)?;
        d.set_item("won", counts.won)?;
        d.set_item("refused", counts.refused)?;
        Ok(d)
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

fn seconds(delay: Duration) -> f64 {
    if delay == Duration::MAX { f64::INFINITY } else { delay.as_secs_f64() }
}
