//! One await of an effect with Python code, driven inside the caller's own task.

pub(crate) mod leaf;
mod run;
pub(crate) mod slow;

pub(crate) use run::*;
