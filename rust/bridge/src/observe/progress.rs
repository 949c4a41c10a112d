//! The progress of a named `Work`, for metrics and the live page.

use std::sync::Arc;

use mountain_core::observe::Progress;
use pyo3::prelude::*;

use crate::globals::telemetry;

#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct WorkProgress(Arc<Progress>);

#[pymethods]
impl WorkProgress {
    #[new]
    #[pyo3(signature = (name, /))]
    fn new(name: &str) -> Self {
        let progress = Arc::new(Progress::default());
        telemetry().policies.work(&progress, name);
        WorkProgress(progress)
    }

    /// An item was added.
    fn add(&self) {
        self.0.add();
    }

    /// An item's result was taken.
    fn take(&self) {
        self.0.take();
    }
}
