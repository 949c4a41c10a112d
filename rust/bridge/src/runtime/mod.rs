//! The methods of Python's `Runtime`, and what a loop's thread does: it reads its port, releases all waiters when the
//! loop is closed, and forgets them in the child of a fork.

pub(crate) mod drain;
pub(crate) mod fork;
mod runtime;
