//! State of the process: the clock, the default tokio runtime, the allocator. It knows neither event loops nor effects.

pub(crate) mod allocator;
mod globals;

pub(crate) use globals::*;
