//! Stacks of policies polled by hand over a scripted leaf, in virtual time: nothing here sleeps.

mod breaker;
mod cache;
mod chaos;
mod common;
mod dropped;
mod fallback;
mod hedge;
mod idle;
mod inherited;
mod limit;
mod nested;
mod rate;
mod reentered;
mod retry;
mod retry_results;
mod stacks;
mod timeout;
