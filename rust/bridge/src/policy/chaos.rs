//! The state of chaos.

use std::sync::Arc;
use std::time::Duration;

use mountain_core::policy::chaos::{Chaos, Figures, Settings};
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::python::os_error::errnos_of;
use crate::python::seconds::to_seconds;

#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct ChaosState(pub(crate) Arc<Chaos>);

#[pymethods]
impl ChaosState {
    /// `error` is a class; of one that the operating system raises, its failures are native.
    #[new]
    #[pyo3(signature = (*, fail, hang, slow, least, most, seed, error))]
    fn new(
        fail: f64,
        hang: f64,
        slow: f64,
        #[pyo3(from_py_with = to_seconds)] least: Duration,
        #[pyo3(from_py_with = to_seconds)] most: Duration,
        seed: u64,
        error: Option<&Bound<'_, PyType>>,
    ) -> PyResult<Self> {
        let errno = error.map(errnos_of).transpose()?.flatten().and_then(|errnos| errnos.first().copied());
        Ok(ChaosState(Arc::new(Chaos::new(Settings { fail, hang, slow, delay: (least, most), seed, errno }))))
    }

    /// Turns it on. True: it was off.
    fn enter(&self) -> bool {
        self.0.enter()
    }

    /// Turns it off, unless it was entered more often. True: it is off.
    fn leave(&self) -> bool {
        self.0.leave()
    }

    /// The calls since it was turned on; those that failed, were delayed, and hung.
    fn figures(&self) -> (u64, u64, u64, u64) {
        let Figures { calls, failed, delayed, hung } = self.0.figures();
        (calls, failed, delayed, hung)
    }
}
