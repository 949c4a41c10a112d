//! The effect of `fs.watch`, and a change as a Python object.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mountain_providers::watch::{self, Kind};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::convert::provided::Provided;
use crate::plan::{Plan, plan};
use crate::providers::batches::Batches;
use crate::providers::path::path;

/// A difference of a tree that is watched, at a path. `kind` is "made", "changed" or "removed"; or "overflow": changes
/// at this path, or below it, were lost or cannot be seen, so look at it again.
#[pyclass(frozen, eq, hash, module = "mountain_runtime.fs")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Change(watch::Change);

#[pymethods]
impl Change {
    #[new]
    fn new(path: &Bound<'_, PyAny>, kind: &str) -> PyResult<Self> {
        let kind = match kind {
            "made" => Kind::Made,
            "changed" => Kind::Changed,
            "removed" => Kind::Removed,
            "overflow" => Kind::Overflow,
            other => {
                let why = format!("Change(kind={other:?}): must be 'made', 'changed', 'removed' or 'overflow'");
                return Err(PyValueError::new_err(why));
            }
        };
        Ok(Change(watch::Change { path: path.extract::<PathBuf>()?, kind }))
    }

    #[classattr]
    fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
        PyTuple::new(py, ["path", "kind"])
    }

    #[getter]
    fn path(&self) -> &OsStr {
        self.0.path.as_os_str()
    }
    #[getter]
    fn kind(&self) -> &'static str {
        match self.0.kind {
            Kind::Made => "made",
            Kind::Changed => "changed",
            Kind::Removed => "removed",
            Kind::Overflow => "overflow",
        }
    }
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("Change({}, '{}')", self.path().into_pyobject(py)?.repr()?, self.kind()))
    }
}

/// Batches of a watch, each a tuple.
impl Provided for Vec<watch::Batch> {
    fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let tuple = |batch: watch::Batch| {
            let changes = batch.into_iter().map(|change| Bound::new(py, Change(change))).collect::<PyResult<Vec<_>>>()?;
            PyTuple::new(py, changes)
        };
        let batches = self.into_iter().map(tuple).collect::<PyResult<Vec<_>>>()?;
        Ok(PyList::new(py, batches)?.into_any())
    }
}

#[pyfunction]
#[pyo3(signature = (root, settle, ignore_files, existing, /))]
pub(crate) fn fs_watch(root: &Bound<'_, PyAny>, settle: f64, ignore_files: bool, existing: bool) -> PyResult<Batches> {
    let settle = Duration::try_from_secs_f64(settle).map_err(|e| PyValueError::new_err(e.to_string()))?;
    let watch = watch::watch(path(root)?, settle, ignore_files, existing);
    Ok(Batches { from: Arc::new(watch), plan: plan!(root.py(), "fs.watch.batch")? })
}
