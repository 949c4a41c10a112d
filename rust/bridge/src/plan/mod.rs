//! From Python's policies to the core's layers: made where an effect is written, shared by all its calls.

pub(crate) mod layer;
mod plan;
pub(crate) mod signature;

pub(crate) use plan::*;
