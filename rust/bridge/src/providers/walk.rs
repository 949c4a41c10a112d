//! A walk: each batch of entries is an effect of its own.

use std::sync::Arc;

use mountain_providers::fs;
use pyo3::prelude::*;

use crate::effect::{Effect, Work};
use crate::plan::Plan;
use crate::providers::fs::path;

/// `await walk.batch()` is the next list of entries, or None at the end. It begins with the first, and stops when it is
/// closed or dropped.
#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct Walk(Arc<fs::Walk>);

#[pymethods]
impl Walk {
    #[new]
    #[pyo3(signature = (root, ignore_files, follow_symlinks, /))]
    fn new(root: &Bound<'_, PyAny>, ignore_files: bool, follow_symlinks: bool) -> PyResult<Self> {
        Ok(Walk(Arc::new(fs::Walk::new(path(root)?, ignore_files, follow_symlinks))))
    }

    fn batch<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Effect>> {
        static PLAN: pyo3::sync::PyOnceLock<Py<Plan>> = pyo3::sync::PyOnceLock::new();
        let plan = PLAN.get_or_try_init(py, || Plan::bare(py, "fs.walk").map(Bound::unbind))?;
        Effect::of(py, Work::native(fs::NextBatch(self.0.clone())), plan.clone_ref(py))
    }

    /// The entries skipped since the last call, a message each.
    fn take_skipped(&self) -> Vec<String> {
        self.0.take_skipped()
    }

    fn close(&self) {
        self.0.close();
    }
}
