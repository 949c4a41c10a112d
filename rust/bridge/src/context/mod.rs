//! The context of the current code: the deadline around it, its runtime, the permits it holds. This room alone reads
//! what a call inherits.

mod context;
pub(crate) mod current;
pub(crate) mod deadline_source;
pub(crate) mod inherited_deadline;
pub(crate) mod level;
pub(crate) mod permit_context;
pub(crate) mod vars;

pub(crate) use context::*;
