//! The engine's clock in the hands of a test, which moves it in step with its event loop's.
//!
//! The test's thread is the only one that calls this, between two callbacks of its loop. It moves time when nothing else can happen: see
//! `at_rest` of the core for what that means natively. Messages are no case of their own: a message is posted, and the bell rung, before
//! whoever posts it is at rest, so that the loop's next look at its descriptors finds it.

use std::time::{Duration, Instant};

use mountain_core::effect::{self, AtWork};
use pyo3::prelude::*;

use crate::globals::{clock, runtimes};

/// How long work is looked at that is not at rest yet: a worker that finds nothing to do parks within some 50 us.
const MOMENT: Duration = Duration::from_micros(200);

/// Nanoseconds on the engine's clock.
#[pyfunction]
pub(crate) fn now() -> u64 {
    clock().now().nanos()
}

/// Make the engine's clock virtual. False: it is already.
#[pyfunction]
pub(crate) fn take_over(py: Python<'_>) -> bool {
    py.detach(|| clock().take_over())
}

/// Let real time go on from where virtual time stands.
#[pyfunction]
pub(crate) fn hand_back() {
    clock().hand_back();
}

/// Move virtual time on by so many nanoseconds, and wake what comes due.
#[pyfunction]
#[pyo3(signature = (nanos, /))]
pub(crate) fn advance(py: Python<'_>, nanos: u64) {
    py.detach(|| clock().advance(Duration::from_nanos(nanos)));
}

/// Nanoseconds to the engine's next deadline, 0 when it is due.
#[pyfunction]
pub(crate) fn next_deadline() -> Option<u64> {
    let clock = clock();
    clock.first().map(|at| at.since(clock.now()).as_nanos() as u64)
}

/// Threads that work for somebody who waits: natively, or in a blocking function.
#[pyfunction]
pub(crate) fn at_work() -> usize {
    AtWork::count()
}

/// Whether native work, but for so many threads, waits for nothing but time. Work that may be about to gets a moment.
#[pyfunction]
#[pyo3(signature = (but, /))]
pub(crate) fn at_rest(py: Python<'_>, but: usize) -> bool {
    let runtimes = runtimes();
    effect::at_rest(&runtimes, but)
        || py.detach(|| {
            let end = Instant::now() + MOMENT;
            loop {
                // On a busy machine this alone may take longer than that.
                std::thread::yield_now();
                let at_rest = effect::at_rest(&runtimes, but);
                if at_rest || Instant::now() > end {
                    return at_rest;
                }
            }
        })
}
