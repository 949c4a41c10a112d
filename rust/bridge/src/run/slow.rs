//! Steps that hold a loop up: code of a run that goes on for long without a suspension is reported, with the effect's
//! name.

use std::cell::Cell;

use mountain_core::time::Ticks;
use pyo3::prelude::*;

use crate::globals::clock;
use crate::python::api::api;

/// Steps that took longer are shown to Python, which knows what the loop calls slow: nanoseconds.
pub(crate) const NOTICED: u64 = 10_000_000;

thread_local! {
    /// When this thread last showed one.
    static TOLD: Cell<Option<Ticks>> = const { Cell::new(None) };
}

/// A step of that effect took so many nanoseconds. Of steps within one another the innermost is said.
#[cold]
pub(crate) fn step(py: Python<'_>, effect: &str, attempt: u32, took: u64) {
    if TOLD.get().is_some_and(|told| clock().took(told) < took) {
        return;
    }
    TOLD.set(Some(clock().ticks()));
    if let Err(e) = api(py).slow.bind(py).call1((effect, attempt, took as f64 * 1e-9)) {
        e.write_unraisable(py, None);
    }
}
