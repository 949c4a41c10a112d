//! A Python number of seconds as a duration.

use std::time::Duration;

use mountain_core::time::seconds;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// A number of seconds as a duration, infinity as the longest. ValueError: it is negative or NaN. TypeError: no number.
pub(crate) fn to_seconds(v: &Bound<'_, PyAny>) -> PyResult<Duration> {
    duration(v.extract()?)
}

/// The same of a float.
pub(crate) fn duration(s: f64) -> PyResult<Duration> {
    seconds(s).ok_or_else(|| PyValueError::new_err(format!("seconds must be 0 or more, not {s}")))
}
