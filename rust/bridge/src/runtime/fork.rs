//! What a fork leaves behind.

use pyo3::prelude::*;

use crate::globals;
use crate::observe::dashboard;
use crate::observe::log;
use crate::port::flight_guard::Landing;
use crate::port::registry;

/// In the child of a fork: let go of everything without reading, closing or waiting for it. What it holds is the parent's.
#[pyfunction]
pub(crate) fn after_fork(py: Python<'_>) {
    globals::forget();
    dashboard::forget_parent();
    log::forget_parent();
    mountain_providers::fork::forget_after_fork();
    registry::forget_all(py, |landing| {
        // Whoever asks for the same here begins another flight.
        if let Ok(landing) = landing.bind(py).cast::<Landing>() {
            landing.get().forget();
        }
    });
}

/// No program is started from now on until `after_fork_in_parent`.
#[pyfunction]
pub(crate) fn before_fork(py: Python<'_>) {
    py.detach(mountain_providers::fork::before_fork);
}

#[pyfunction]
pub(crate) fn after_fork_in_parent() {
    mountain_providers::fork::after_fork_in_parent();
}
