//! From Python's policies to the core's layers: made where an effect is written, shared by all its calls.

mod compile;
pub(crate) mod functions;
mod labels;
pub(crate) mod layer;
mod memo;
mod plan;
pub(crate) mod signature;
mod terms;

pub(crate) use compile::{own_name, plan};
pub(crate) use plan::*;
