//! The list of the types that providers convert, and what concerns all providers.

use mountain_core::policy::limit::Permit;
#[cfg(feature = "http")]
use mountain_providers::http;
#[cfg(feature = "search")]
use mountain_providers::search;
use mountain_providers::{all, fs, process, watch};
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

use crate::convert::provided::Conversions;

/// The conversions installed when the module starts: a line for each type that an operation yields, or fails with, as
/// `Other`.
pub(crate) fn conversions() -> Conversions {
    let these = Conversions::default()
        .value::<fs::Entry>()
        .value::<Vec<fs::Entry>>()
        .value::<fs::Locked>()
        .value::<fs::OpenFile>()
        .value::<Vec<watch::Batch>>()
        .value::<process::Completed>()
        .value::<process::Live>()
        .value::<Permit>()
        .failure::<process::Failed>()
        .failure::<process::OneText>();
    #[cfg(feature = "http")]
    let these = these.value::<http::Response>().value::<http::Opened>().value::<http::Piece>().failure::<http::Failed>();
    #[cfg(feature = "search")]
    let these = these.value::<Vec<search::Match>>();
    these
}

/// Closes what providers keep open and do not use.
#[pyfunction]
pub(crate) fn close_idle() {
    all::close_idle();
}

/// Raises ImportError where this build has no such provider, with the way to one that has.
#[pyfunction]
#[pyo3(signature = (feature, /))]
pub(crate) fn needs(feature: &str) -> PyResult<()> {
    if all::FEATURES.contains(&feature) {
        return Ok(());
    }
    Err(PyImportError::new_err(format!(
        "this build of mountain-runtime has no {feature}: it was made with --no-default-features, \
         and without --features {feature}"
    )))
}
