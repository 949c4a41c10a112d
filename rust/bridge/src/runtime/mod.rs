//! What Python's `Runtime` and a loop's thread do: start what a runtime owns, read the port, let go at the end of a loop or in a forked child.

pub(crate) mod drain;
pub(crate) mod fork;
pub(crate) mod reap;
mod runtime;
