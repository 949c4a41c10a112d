//! The groups that live: which there are, who ends what is left of them, and what a fork makes of it.

use std::sync::Arc;

use super::child::Child;
use super::reactor;

/// End every group that was opened under `owner`, or every one there is, and say which: number and command line.
pub fn sweep(owner: Option<usize>) -> Vec<(i32, String)> {
    let Some(reactor) = reactor::existing().filter(|r| !r.elsewhere()) else { return Vec::new() };
    let ours = |child: &Arc<Child>| owner.is_none_or(|owner| child.owner == Some(owner));
    // Out of the list's lock: a child that ends takes it under its own.
    let children: Vec<_> = reactor.children().iter().map(|(_, child)| child.clone()).filter(ours).collect();
    children.iter().filter_map(Child::sweep).collect()
}

/// To be called before this process forks.
pub fn before_fork() {
    reactor::fork(true);
}

/// To be called in the parent when it has forked, or could not.
pub fn after_fork_in_parent() {
    reactor::fork(false);
}

/// In the child of a fork: the parent's children are not ours, and its thread is not here.
pub fn forget_after_fork() {
    reactor::forget();
}
