//! A runtime's share of the native side: what it owns, and who is let in while it drains.

pub(crate) mod owned;
mod scope;

pub(crate) use scope::*;
