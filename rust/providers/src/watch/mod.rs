//! Watching trees: what changes in them, told in settled batches.

mod change;
#[cfg(all(fuzzing, target_os = "linux", feature = "watch"))]
pub mod fuzzing;
#[cfg(all(target_os = "linux", feature = "watch"))]
mod kernel;
#[cfg(all(target_os = "linux", feature = "watch"))]
mod limits;
#[cfg(all(target_os = "linux", feature = "watch"))]
mod look;
#[cfg(all(target_os = "linux", feature = "watch"))]
mod names;
#[cfg(all(target_os = "linux", feature = "watch"))]
mod routes;
#[cfg(all(target_os = "linux", feature = "watch"))]
mod rules;
#[cfg(all(target_os = "linux", feature = "watch"))]
mod settling;
#[cfg(all(target_os = "linux", feature = "watch"))]
mod tree;
#[cfg(all(target_os = "linux", feature = "watch"))]
mod watch;
#[cfg(not(all(target_os = "linux", feature = "watch")))]
#[path = "watch_elsewhere.rs"]
mod watch;
#[cfg(all(target_os = "linux", feature = "watch"))]
mod way;
#[cfg(all(target_os = "linux", feature = "watch"))]
mod ways;

pub use change::{Change, Kind};
pub use watch::{Batch, watch};
