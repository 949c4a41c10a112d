//! Stacks of policies polled by hand over a scripted leaf, in virtual time: nothing here sleeps.

mod common;
mod dropped;
mod inherited;
mod limit;
mod nested;
mod retry;
mod stacks;
mod timeout;
