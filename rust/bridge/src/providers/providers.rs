//! The list of the types that providers convert.

use mountain_core::policy::limit::Permit;
use mountain_providers::{fs, process, search, watch};

use crate::convert::provided::Conversions;

/// The conversions installed when the module starts: a line for each type that an operation yields, or fails with, as
/// `Other`.
pub(crate) fn conversions() -> Conversions {
    Conversions::default()
        .value::<fs::Entry>()
        .value::<Vec<fs::Entry>>()
        .value::<fs::Locked>()
        .value::<fs::OpenFile>()
        .value::<Vec<search::Match>>()
        .value::<Vec<watch::Batch>>()
        .value::<process::Completed>()
        .value::<process::Live>()
        .value::<Permit>()
        .failure::<process::Failed>()
}
