//! The native providers as effects, one file a provider. The work is in the crate `mountain-providers`.

pub(crate) mod fs;
pub(crate) mod process;
pub(crate) mod walk;
