//! All groups of this process: ending those that are left, and what a fork makes of them.

use super::child::Child;
use super::reactor;

/// Kills every group that was opened under `owner`, or every one there is, and says which: number and command line.
pub fn sweep(owner: Option<usize>) -> Vec<(i32, String)> {
    let mut children = reactor::children();
    children.retain(|child| owner.is_none_or(|owner| child.owner == Some(owner)));
    children.iter().filter_map(Child::sweep).collect()
}

/// To be called before this process forks.
pub fn before_fork() {
    reactor::begin_fork();
}

/// To be called in the parent after a fork, or after one that failed.
pub fn after_fork_in_parent() {
    reactor::end_fork();
}

/// To be called in a forked process: the children are the parent's, and the reactor's thread is not here.
pub fn forget_after_fork() {
    reactor::forget();
}
