//! The native side of a runtime: what it owns, and which code may start work while it drains.

pub(crate) mod owned;
mod scope;

pub(crate) use scope::*;
