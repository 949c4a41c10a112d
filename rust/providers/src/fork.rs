//! The providers' part in a fork. The bridge calls these three functions, whichever providers there are.

#[cfg(feature = "http")]
use crate::http;
use crate::pool;
#[cfg(unix)]
use crate::process;

/// To be called before a fork.
pub fn before_fork() {
    #[cfg(unix)]
    process::before_fork();
    #[cfg(feature = "http")]
    http::before_fork();
}

/// To be called in the parent after a fork, or after one that failed.
pub fn after_fork_in_parent() {
    #[cfg(unix)]
    process::after_fork_in_parent();
    #[cfg(feature = "http")]
    http::after_fork_in_parent();
}

/// To be called in the child of a fork. Threads and children are the parent's: each provider starts afresh.
pub fn forget_after_fork() {
    #[cfg(feature = "http")]
    http::forget_after_fork();
    pool::forget_after_fork();
    #[cfg(unix)]
    process::forget_after_fork();
}
