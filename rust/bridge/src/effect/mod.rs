//! The values that users build and await: effects, effect functions, blocks under a limit.

mod effect;
pub(crate) mod function;
pub(crate) mod slot;

pub(crate) use effect::*;
