//! The objects that hold a policy's state, named as in the core, and keys as numbers. No decision is made here.

pub(crate) mod breaker;
pub(crate) mod cache;
pub(crate) mod chaos;
pub(crate) mod hedge;
pub(crate) mod jitter;
pub(crate) mod keyed;
pub(crate) mod limit;
pub(crate) mod rate;
pub(crate) mod reentry;
