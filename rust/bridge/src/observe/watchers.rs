//! The watchers that are on, as one word that each call reads as it begins.

use std::sync::atomic::{AtomicU8, Ordering};

/// Calls are listed for the live page.
pub(crate) const LIVE: u8 = 1;
/// Spans are made.
pub(crate) const TRACING: u8 = 2;
/// Whether the application traces is not known yet.
pub(crate) const ASKING: u8 = 4;
/// Calls are counted and timed: always, except where the cost of that is measured.
pub(crate) const COUNTING: u8 = 8;

static WATCHERS: AtomicU8 = AtomicU8::new(ASKING | COUNTING);

pub(crate) fn set(watcher: u8, on: bool) {
    if on {
        WATCHERS.fetch_or(watcher, Ordering::Relaxed);
    } else {
        WATCHERS.fetch_and(!watcher, Ordering::Relaxed);
    }
}

/// Whether a call that begins may have a watcher. Whether the application traces is asked only for the first call of a
/// plan.
pub(crate) fn any(first: impl FnOnce() -> bool) -> bool {
    match watchers() & !COUNTING {
        0 => false,
        ASKING => first(),
        _ => true,
    }
}

/// Whether this call is counted and timed.
pub(crate) fn counting() -> bool {
    watchers() & COUNTING != 0
}

pub(crate) fn watchers() -> u8 {
    WATCHERS.load(Ordering::Relaxed)
}
