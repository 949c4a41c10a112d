//! What crosses threads: the mailbox of a port. Its protocol is checked by loom (`RUSTFLAGS="--cfg loom" cargo test -p mountain-core --lib sync`).

mod mailbox;

pub use mailbox::{Bell, Mailbox};
