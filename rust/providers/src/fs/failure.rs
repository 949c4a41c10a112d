//! Failures of the system, each about a path.

use std::io;
use std::path::Path;

use mountain_core::error::{Error, OsError};

/// An `io::Error` about `path`.
pub(crate) fn failure(e: &io::Error, path: &Path) -> Error {
    // Of paths, only one with a null byte fails before the system sees it.
    if e.raw_os_error().is_none() && e.kind() == io::ErrorKind::InvalidInput {
        return Error::Invalid("embedded null byte".into());
    }
    Error::io(e, path.as_os_str().to_owned())
}

/// `errno` about `path`.
pub(super) fn errno(errno: i32, path: &Path) -> Error {
    Error::Os(Box::new(OsError { errno, path: Some(path.as_os_str().to_owned()), path2: None }))
}
