//! What crosses threads: locks, and the mailbox of a port. Its protocol is checked by loom (`RUSTFLAGS="--cfg loom" cargo test -p mountain-core --lib sync`).

mod lock;
mod mailbox;

pub use lock::{Condvar, Mutex, MutexGuard};
pub use mailbox::{Bell, Mailbox};
