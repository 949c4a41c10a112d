//! Providers: operations that touch the world. Each is a folder; none knows another, and none knows Python.

pub mod all;
#[cfg_attr(
    not(all(target_os = "linux", feature = "search", feature = "watch")),
    allow(dead_code, reason = "searches and watches alone use some of it")
)]
pub mod feed;
pub mod fork;
pub mod fs;
#[cfg(feature = "http")]
pub mod http;
pub mod pool;
#[cfg(unix)]
pub mod process;
#[cfg(feature = "search")]
pub mod search;
pub mod trial;
pub mod watch;

#[cfg(test)]
mod testing;
