//! What `mountain_runtime.testing` and the benchmarks ask for: virtual time, effects on trial.

pub(crate) mod trial;
pub(crate) mod virtual_time;
