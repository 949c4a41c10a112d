//! One await of an effect with Python code, driven inside the caller's own task.

pub(crate) mod cancel;
mod driving;
mod ending;
mod faults;
pub(crate) mod leaf;
mod protocol;
mod results;
mod run;
pub(crate) mod slow;
mod stepping;
mod suspended;
mod wakers;

pub(crate) use run::*;
