//! The values that users build and await: effects, effect functions, blocks under a limit.

pub(crate) mod collected;
mod coroutine;
mod effect;
pub(crate) mod function;
mod launch;
mod never_awaited;
pub(crate) mod pretended;
pub(crate) mod slot;

pub(crate) use effect::*;
pub(crate) use launch::*;
