//! The native providers as effects, each with the conversions of its own values. The work is in the crate
//! `mountain-providers`.

#[cfg(feature = "http")]
pub(crate) mod answer;
pub(crate) mod batches;
pub(crate) mod beneath;
pub(crate) mod child;
pub(crate) mod entry;
pub(crate) mod file;
pub(crate) mod fs;
#[cfg(feature = "http")]
pub(crate) mod http;
#[cfg(feature = "http")]
pub(crate) mod json;
pub(crate) mod locked;
pub(crate) mod path;
pub(crate) mod process;
mod providers;
#[cfg(feature = "terminal")]
pub(crate) mod screen;
#[cfg(feature = "search")]
pub(crate) mod search;
pub(crate) mod watch;

pub(crate) use providers::*;
