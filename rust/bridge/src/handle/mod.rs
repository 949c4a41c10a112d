//! What one waits on by the asyncio Future protocol: a native call, a task, a thread's job, a parked run.

pub(crate) mod backing;
pub(crate) mod gathered;
mod handle;
pub(crate) mod job;
pub(crate) mod job_state;
pub(crate) mod jobs;

pub(crate) use handle::*;
