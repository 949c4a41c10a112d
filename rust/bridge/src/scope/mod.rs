//! The native side of a runtime: what it owns, and which code may start work while it drains.

mod scope;
mod task;

pub(crate) use scope::*;
