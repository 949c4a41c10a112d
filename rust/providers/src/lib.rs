//! Providers: operations that touch the world. Each is a folder; none knows another, and none knows Python.

pub mod all;
pub mod feed;
pub mod fork;
pub mod fs;
#[cfg(feature = "http")]
pub mod http;
pub mod pool;
#[cfg(unix)]
pub mod process;
pub mod search;
pub mod trial;
pub mod watch;

#[cfg(test)]
mod testing;
