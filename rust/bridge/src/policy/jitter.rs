//! Parses a jitter's name.

use mountain_core::policy::retry::Jitter;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

pub(crate) fn jitter_of(name: &str) -> PyResult<Jitter> {
    match name {
        "full" => Ok(Jitter::Full),
        "equal" => Ok(Jitter::Equal),
        "none" => Ok(Jitter::None),
        other => Err(PyValueError::new_err(format!("jitter is 'full', 'equal' or 'none', not {other:?}"))),
    }
}
