//! Observation of calls: spans, the live page, the log, counts. A call without an observer pays one branch.

pub(crate) mod breakers;
pub(crate) mod call_record;
pub(crate) mod dashboard;
pub(crate) mod log;
pub(crate) mod outgoing;
pub(crate) mod pools;
pub(crate) mod progress;
pub(crate) mod retries;
pub(crate) mod routers;
pub(crate) mod span_events;
pub(crate) mod spans;
pub(crate) mod statistics;
pub(crate) mod watch;
pub(crate) mod watchers;
