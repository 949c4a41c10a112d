//! What looks at calls: spans, the page, the log, counts. Without an observer a call pays one branch.

pub(crate) mod breakers;
pub(crate) mod dashboard;
pub(crate) mod ends;
pub(crate) mod log;
pub(crate) mod retries;
pub(crate) mod spans;
pub(crate) mod statistics;
pub(crate) mod watch;
pub(crate) mod watchers;
