//! The TypeError for an argument of the wrong type.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

/// `expected {what}, got {the type of got}`.
pub(crate) fn expected(what: &str, got: &Bound<'_, PyAny>) -> PyErr {
    let name = got.get_type().name().map_or_else(|_| "?".into(), |n| n.to_string());
    PyTypeError::new_err(format!("expected {what}, got {name}"))
}
