//! Effects: what a leaf and a native operation are, the call that policies share, native operations that run together, and
//! when native work is at rest. Nothing here knows a policy.

mod begin;
mod call;
mod group;
mod leaf;
mod native;
mod operation;
mod rest;

pub use begin::Starter;
pub use call::{Call, Deadline, Trace, call_leaf};
pub use group::{Group, Mode};
pub use leaf::{Class, Fault, Leaf, Verdict};
pub use native::{NativeLeaf, OnErrno};
pub use operation::{Abort, Abortable, Done, Host, Operation, Outcome, Sink};
pub use rest::{AtWork, at_rest};
