//! Where the current code runs: the deadline over it, its runtime, the permits it holds. What a call inherits is read
//! here and nowhere else.

mod context;
pub(crate) mod current;
pub(crate) mod deadline_source;
pub(crate) mod inherited_deadline;
pub(crate) mod level;
pub(crate) mod permit_context;
pub(crate) mod vars;

pub(crate) use context::*;
