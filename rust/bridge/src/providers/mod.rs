//! The native providers as effects, each with the conversions of its own values. The work is in the crate
//! `mountain-providers`.

pub(crate) mod child;
pub(crate) mod entry;
pub(crate) mod fs;
pub(crate) mod process;
mod providers;
pub(crate) mod walk;

pub(crate) use providers::*;
