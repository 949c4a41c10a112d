//! Who watches calls, of all that may: the one word that each call looks at as it begins.

use std::sync::atomic::{AtomicU8, Ordering};

/// Entries are listed.
pub(crate) const LIVE: u8 = 1;
/// Spans are made.
pub(crate) const TRACING: u8 = 2;
/// Nobody knows yet whether spans are to be made.
pub(crate) const ASKING: u8 = 4;
/// Calls are counted and timed: always, but where it is measured what that costs.
pub(crate) const COUNTING: u8 = 8;

static WATCHERS: AtomicU8 = AtomicU8::new(ASKING | COUNTING);

pub(crate) fn set(watcher: u8, on: bool) {
    if on {
        WATCHERS.fetch_or(watcher, Ordering::Relaxed);
    } else {
        WATCHERS.fetch_and(!watcher, Ordering::Relaxed);
    }
}

/// Somebody may watch a call that begins. Whether the application traces is asked for the first call of a plan only.
pub(crate) fn any(first: impl FnOnce() -> bool) -> bool {
    match watchers() & !COUNTING {
        0 => false,
        ASKING => first(),
        _ => true,
    }
}

/// This call is counted and timed.
pub(crate) fn counting() -> bool {
    watchers() & COUNTING != 0
}

pub(crate) fn watchers() -> u8 {
    WATCHERS.load(Ordering::Relaxed)
}
