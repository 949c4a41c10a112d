//! Items that threads find, batch by batch: each batch is an effect of its own.

use std::sync::Arc;

use mountain_providers::feed::{self, NextBatch};
use mountain_providers::fs;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::effect::{Effect, Work};
use crate::plan::{Plan, plan};
use crate::providers::fs::Given;
use crate::providers::path::path;

/// `await batches.next()` is the next list, or None at the end. It begins with the first, and stops when it is closed
/// or dropped.
#[pyclass(frozen, generic, module = "mountain_runtime._native")]
pub(crate) struct Batches {
    pub(super) from: Arc<dyn feed::Batches>,
    pub(super) plan: Py<Plan>,
}

#[pymethods]
impl Batches {
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Effect>> {
        Effect::of(py, Work::native(NextBatch(self.from.clone())), self.plan.clone_ref(py))
    }

    /// The notes since the last call: each with whether it is a warning.
    fn take_notes(&self) -> Vec<(String, bool)> {
        self.from.take_notes().into_iter().map(|note| (note.text, note.warning)).collect()
    }

    fn close(&self) {
        self.from.close();
    }
}

#[pyfunction]
#[pyo3(signature = (root, ignore_files, follow_symlinks, /))]
pub(crate) fn fs_walk(root: &Bound<'_, PyAny>, ignore_files: bool, follow_symlinks: bool) -> PyResult<Batches> {
    let walk = fs::walk(path(root)?, ignore_files, follow_symlinks);
    Ok(Batches { from: Arc::new(walk), plan: plan!(root.py(), "fs.walk")? })
}

/// A glob that cannot be is a ValueError.
#[pyfunction]
#[pyo3(signature = (pattern, root, ignore_files, follow_symlinks, /))]
pub(crate) fn fs_glob(pattern: &str, root: &Bound<'_, PyAny>, ignore_files: bool, follow_symlinks: bool) -> PyResult<Batches> {
    let glob = fs::Glob::new(pattern).map_err(PyValueError::new_err)?;
    let walk = fs::glob(path(root)?, glob, ignore_files, follow_symlinks);
    Ok(Batches { from: Arc::new(walk), plan: plan!(root.py(), "fs.glob")? })
}

/// Below a place beneath a root. A glob that cannot be is a ValueError.
#[pyfunction]
#[pyo3(signature = (place, pattern, /))]
pub(crate) fn fs_walk_beneath(py: Python<'_>, place: Given, pattern: Option<&str>) -> PyResult<Batches> {
    let glob = pattern.map(fs::Glob::new).transpose().map_err(PyValueError::new_err)?;
    let plan = if pattern.is_some() { plan!(py, "fs.glob") } else { plan!(py, "fs.walk") };
    Ok(Batches { from: Arc::new(fs::walk_beneath(place.place, glob)), plan: plan? })
}
