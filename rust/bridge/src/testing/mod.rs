//! Support for `mountain_runtime.testing` and the benchmarks: virtual time, and effects to try things on.

pub(crate) mod trial;
pub(crate) mod virtual_time;
