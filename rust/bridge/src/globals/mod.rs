//! What there is once a process: the clock, the default tokio runtime, the allocator. Nothing here knows an event loop or an effect.

pub(crate) mod allocator;
mod globals;

pub(crate) use globals::*;
