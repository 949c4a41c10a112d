//! What crosses threads: locks, the mailbox of a port, and the duty of a starter. Their protocols are checked by loom
//! (`scripts/loom`).

mod duty;
mod lock;
mod mailbox;
mod queue;

pub use duty::Duty;
#[cfg(loom)]
pub use lock::Modelled;
pub use lock::{Condvar, Mutex, MutexGuard};
pub use mailbox::{Bell, Mailbox};
