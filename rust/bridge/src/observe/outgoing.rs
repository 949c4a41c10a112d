//! The trace of a call that asks a server, for the server to go on with.

use std::sync::Arc;

use mountain_core::effect::Operation;
use pyo3::prelude::*;

use crate::observe::watchers;
use crate::python::api::api;

/// The work with the headers of the current span, where it asks a server and the application traces.
pub(crate) fn traced(py: Python<'_>, operation: &Arc<dyn Operation>) -> Arc<dyn Operation> {
    let traced = if watchers::watchers() & watchers::TRACING == 0 { None } else { operation.traced(&|| current(py)) };
    traced.unwrap_or_else(|| operation.clone())
}

/// The headers by which a server goes on with the current span's trace; none where the application does not trace.
pub(crate) fn current(py: Python<'_>) -> Vec<(String, String)> {
    if watchers::watchers() & watchers::TRACING == 0 {
        return Vec::new();
    }
    let headers = api(py).outgoing.bind(py).call0().and_then(|headers| headers.extract());
    // A fault of a propagator does not fail the effect.
    headers.unwrap_or_else(|e| {
        e.write_unraisable(py, None);
        Vec::new()
    })
}
