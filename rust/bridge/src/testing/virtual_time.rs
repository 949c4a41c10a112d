//! The engine's clock under a test's control, which moves it in step with the clock of its event loop.
//!
//! Only the test's thread calls these functions, between two callbacks of its loop. It moves time when nothing else can
//! happen; `at_rest` of the core defines that for native work. Messages need no case of their own: a worker posts its
//! message and rings the bell before it is at rest, so that the loop's next poll finds it.

use std::time::{Duration, Instant};

use mountain_core::effect::{self, AtWork};
use pyo3::prelude::*;

use crate::globals::{clock, runtimes};

/// How long to wait for work to come to rest: an idle worker parks within some 50 us.
const MOMENT: Duration = Duration::from_micros(200);

/// The time on the engine's clock, in nanoseconds.
#[pyfunction]
pub(crate) fn now() -> u64 {
    clock().now().nanos()
}

/// Makes the engine's clock virtual. False: it is already.
#[pyfunction]
pub(crate) fn take_over(py: Python<'_>) -> bool {
    py.detach(|| clock().take_over())
}

/// Lets real time go on from where virtual time stands.
#[pyfunction]
pub(crate) fn hand_back() {
    clock().hand_back();
}

/// Moves virtual time on by `nanos`, and wakes what comes due.
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

/// The number of threads whose work a caller waits for: native work, or a blocking function.
#[pyfunction]
pub(crate) fn at_work() -> usize {
    AtWork::count()
}

/// Whether all native work but that of `but` threads waits for time only. Work that may come to rest gets a moment to
/// do so.
#[pyfunction]
#[pyo3(signature = (but, /))]
pub(crate) fn at_rest(py: Python<'_>, but: usize) -> bool {
    let runtimes = runtimes();
    effect::at_rest(&runtimes, but)
        || py.detach(|| {
            let end = Instant::now() + MOMENT;
            loop {
                // On a busy machine this call alone may outlast `MOMENT`.
                std::thread::yield_now();
                let at_rest = effect::at_rest(&runtimes, but);
                if at_rest || Instant::now() > end {
                    return at_rest;
                }
            }
        })
}
