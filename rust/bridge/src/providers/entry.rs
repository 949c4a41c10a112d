//! An entry of a folder as a Python object.

use mountain_providers::fs;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::convert::provided::Provided;

/// One file, folder or link, as it was when the system was asked. `size` in bytes, `modified` in seconds since 1970.
#[pyclass(frozen, eq, hash, module = "mountain_runtime.fs")]
#[derive(PartialEq)]
pub(crate) struct Entry(fs::Entry);

impl std::hash::Hash for Entry {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.path.hash(state);
    }
}

#[pymethods]
impl Entry {
    #[getter]
    fn path(&self) -> &std::ffi::OsStr {
        self.0.path.as_os_str()
    }
    #[getter]
    fn size(&self) -> u64 {
        self.0.size
    }
    #[getter]
    fn is_file(&self) -> bool {
        self.0.is_file
    }
    #[getter]
    fn is_dir(&self) -> bool {
        self.0.is_dir
    }
    #[getter]
    fn is_symlink(&self) -> bool {
        self.0.is_symlink
    }
    #[getter]
    fn modified(&self) -> f64 {
        self.0.modified
    }
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let kind = if self.0.is_symlink {
            "link"
        } else if self.0.is_dir {
            "folder"
        } else {
            "file"
        };
        let path = self.path().into_pyobject(py)?.repr()?;
        Ok(format!("<Entry {kind} {path} size={}>", self.0.size))
    }
}

impl Provided for fs::Entry {
    fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok(Bound::new(py, Entry(self))?.into_any())
    }
}

/// A batch of a walk.
impl Provided for Vec<fs::Entry> {
    fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let entries = self.into_iter().map(|e| Bound::new(py, Entry(e))).collect::<PyResult<Vec<_>>>()?;
        Ok(PyList::new(py, entries)?.into_any())
    }
}
