//! Answers for all providers, whichever a build has.

use tokio::runtime::Handle;

#[cfg(feature = "http")]
use crate::http;

/// The runtimes that providers have beside the engine's.
pub fn runtimes() -> impl Iterator<Item = Handle> {
    let none = std::iter::empty();
    #[cfg(feature = "http")]
    let none = none.chain(http::runtime());
    none
}

/// The connections that are open, and those of them that are idle.
pub fn connections() -> (usize, usize) {
    #[cfg(feature = "http")]
    return http::all_connections();
    #[cfg(not(feature = "http"))]
    (0, 0)
}

/// Closes what is open and not in use: the next use opens it again.
pub fn close_idle() {
    #[cfg(feature = "http")]
    http::close_idle();
}

/// The providers that this build has, of those that one can do without.
pub const FEATURES: &[&str] = &[
    #[cfg(feature = "http")]
    "http",
    #[cfg(feature = "search")]
    "search",
    #[cfg(feature = "terminal")]
    "terminal",
    #[cfg(feature = "watch")]
    "watch",
];
