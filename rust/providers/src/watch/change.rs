//! Changes, which a watch tells.

use std::path::PathBuf;

/// How a path differs from what was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Made,
    Changed,
    Removed,
    /// Changes at this path, or below it, were lost or cannot be seen.
    Overflow,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    pub path: PathBuf,
    pub kind: Kind,
}
