//! An HTTP/1 connection, as its requests hold it.

use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;

use super::whole::Whole;

/// Dropped while it is idle, the connection ends in order; else it ends at once, though its server may read no further.
pub(super) struct One {
    pub send: SendRequest<Whole>,
    task: AbortHandle,
    /// The requests that it has served while one to another host waited for its room.
    pub passed: usize,
}

impl One {
    /// `task` runs the connection.
    pub(super) fn new(send: SendRequest<Whole>, task: AbortHandle) -> Self {
        One { send, task, passed: 0 }
    }
}

impl Drop for One {
    fn drop(&mut self) {
        if !self.send.is_ready() {
            self.task.abort();
        }
    }
}
