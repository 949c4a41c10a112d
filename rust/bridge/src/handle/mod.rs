//! Objects with the asyncio Future protocol: a native call, a task, a thread's job, a parked run.

pub(crate) mod backing;
mod cancel;
mod future;
pub(crate) mod gathered;
mod handle;
pub(crate) mod job;
pub(crate) mod job_state;
pub(crate) mod jobs;
mod native;
pub(crate) mod task;
mod unretrieved;

pub(crate) use handle::*;
