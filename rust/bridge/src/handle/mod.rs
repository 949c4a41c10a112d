//! Objects with the asyncio Future protocol: a native call, a task, a thread's job, an item of a batch, a parked
//! run.

mod awaited;
pub(crate) mod backing;
pub(crate) mod calls;
mod cancel;
pub(crate) mod collector;
pub(crate) mod ends;
mod future;
pub(crate) mod gathered;
mod handle;
pub(crate) mod job;
pub(crate) mod job_state;
pub(crate) mod jobs;
mod native;
pub(crate) mod task;
mod unretrieved;
mod untaken;

pub(crate) use handle::*;
