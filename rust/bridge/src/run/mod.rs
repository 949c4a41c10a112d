//! One await of an effect with Python code, driven inside the caller's own task.

mod asked;
mod async_iter;
pub(crate) mod cancel;
mod cut;
mod deeper;
mod driving;
mod ender;
mod ending;
mod faults;
mod items;
pub(crate) mod leaf;
mod protocol;
mod pulling;
pub(crate) mod pulls;
mod results;
mod run;
pub(crate) mod slow;
mod stepping;
pub(crate) mod stream_leaf;
pub(crate) mod suspended;
mod wakers;

pub(crate) use run::*;
