//! Watching trees: what changes in them, told in settled batches.

mod change;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(target_os = "linux")]
mod look;
#[cfg(target_os = "linux")]
mod names;
#[cfg(target_os = "linux")]
mod routes;
#[cfg(target_os = "linux")]
mod rules;
#[cfg(target_os = "linux")]
mod settling;
#[cfg(target_os = "linux")]
mod tree;
#[cfg(target_os = "linux")]
mod watch;
#[cfg(not(target_os = "linux"))]
#[path = "watch_elsewhere.rs"]
mod watch;
#[cfg(target_os = "linux")]
mod ways;

pub use change::{Change, Kind};
pub use watch::{Batch, watch};
