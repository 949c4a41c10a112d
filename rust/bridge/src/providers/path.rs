//! Paths as Python has them.

use std::path::PathBuf;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

/// A path. The TypeError of another object says how to write one.
pub(crate) fn path(object: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    object.extract().map_err(|error: PyErr| {
        let py = object.py();
        if !error.is_instance_of::<PyTypeError>(py) {
            return error;
        }
        let several = object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>();
        let way = if several { ": write fs.read_many(paths), or a call for each" } else { "" };
        let given = object.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
        PyTypeError::new_err(format!("a path is a str or os.PathLike, not {given}{way}"))
    })
}
