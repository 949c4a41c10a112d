//! Synchronisation between threads: locks, the mailbox of a port, and the consumer of a starter. Their protocols are
//! checked by loom (`scripts/loom`).

mod consumer;
mod lock;
mod mailbox;
mod queue;

pub use consumer::SingleConsumer;
#[cfg(loom)]
pub use lock::Modelled;
pub use lock::{Condvar, Mutex, MutexGuard};
pub use mailbox::{Bell, Mailbox};
