//! A path beneath a root, which the functions of files take in place of a path.

use std::path::PathBuf;
use std::sync::Arc;

use mountain_providers::fs::{Place, Root};
use pyo3::prelude::*;

use crate::providers::path::path;

/// No `os.PathLike`: what knows nothing of roots must not take it for a path.
#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct Beneath {
    root: Arc<Root>,
    path: PathBuf,
    object: Py<PyAny>,
}

impl Beneath {
    /// The place, and the object that named its path.
    pub(super) fn given(&self, py: Python<'_>) -> (Place, Py<PyAny>) {
        (Place::beneath(self.root.clone(), self.path.clone()), self.object.clone_ref(py))
    }
}

#[pymethods]
impl Beneath {
    /// With `by_steps`, paths are gone through name by name, also where the system could resolve them.
    #[new]
    #[pyo3(signature = (root, path, by_steps, /))]
    fn new(root: PathBuf, path: &Bound<'_, PyAny>, by_steps: bool) -> PyResult<Self> {
        let below = self::path(path)?;
        Ok(Beneath { root: Arc::new(Root { path: root, by_steps }), path: below, object: path.clone().unbind() })
    }

    /// The path as its caller wrote it.
    #[getter]
    fn path(&self, py: Python<'_>) -> Py<PyAny> {
        self.object.clone_ref(py)
    }
}
