//! Native work before and after a fork.

use pyo3::prelude::*;

use crate::globals;
use crate::observe::dashboard;
use crate::observe::log;
use crate::port::flight_guard::Landing;
use crate::port::registry;

/// In the child of a fork: drops the parent's state without reading, closing or waiting for it.
#[pyfunction]
pub(crate) fn after_fork(py: Python<'_>) {
    globals::forget();
    dashboard::forget_parent();
    log::forget_parent();
    mountain_providers::fork::forget_after_fork();
    registry::forget_all(py, |landing| {
        // The next caller with the same key begins another flight.
        if let Ok(landing) = landing.bind(py).cast::<Landing>() {
            landing.get().forget();
        }
    });
}

/// Keeps programs from being started until `after_fork_in_parent`.
#[pyfunction]
pub(crate) fn before_fork(py: Python<'_>) {
    py.detach(mountain_providers::fork::before_fork);
}

#[pyfunction]
pub(crate) fn after_fork_in_parent() {
    mountain_providers::fork::after_fork_in_parent();
}
