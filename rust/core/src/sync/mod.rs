//! What crosses threads: locks, the mailbox of a port, and the duty of a starter. Their protocols are checked by loom
//! (`RUSTFLAGS="--cfg loom" cargo test -p mountain-core --lib sync`).

mod duty;
mod lock;
mod mailbox;
mod queue;

pub use duty::Duty;
pub use lock::{Condvar, Mutex, MutexGuard};
pub use mailbox::{Bell, Mailbox};
