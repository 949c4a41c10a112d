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
    // Nor has a path that leads out of its root, which no call is asked about.
    if e.raw_os_error().is_none() && e.kind() == io::ErrorKind::PermissionDenied {
        return advised(libc::EACCES, path, "it leads out of the root, and paths beneath it are relative to it");
    }
    Error::io(e, path.as_os_str().to_owned())
}

/// `errno` about `path`, with what to do instead.
pub(super) fn advised(errno: i32, path: &Path, advice: &'static str) -> Error {
    Error::Os(Box::new(OsError { errno, path: Some(path.as_os_str().to_owned()), path2: None, advice: Some(advice) }))
}

/// `errno` about `path`.
pub(super) fn errno(errno: i32, path: &Path) -> Error {
    Error::Os(Box::new(OsError { errno, path: Some(path.as_os_str().to_owned()), path2: None, advice: None }))
}
