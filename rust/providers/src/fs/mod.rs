//! Files: reads, durable writes, hashes, walks and what else a program asks of a file system. Each operation is one hop to the
//! pool's threads and one back.

mod attributes;
mod entry;
mod hash;
mod in_place;
mod many;
mod meta;
mod read;
mod remove;
mod source;
mod walk;
mod write;

pub use entry::Entry;
pub use hash::{Algorithm, Hash};
pub use many::ReadMany;
pub use meta::{Mkdir, Stat};
pub use read::{Encoding, Read};
pub use remove::Remove;
pub use walk::{NextBatch, Walk};
pub use write::{Data, Write};

use std::io;
use std::path::Path;

use mountain_core::error::{Error, OsError};

/// An `io::Error` about `path`.
fn failure(e: &io::Error, path: &Path) -> Error {
    // The one way in which a path can be wrong before the system sees it.
    if e.raw_os_error().is_none() && e.kind() == io::ErrorKind::InvalidInput {
        return Error::Invalid("embedded null byte".into());
    }
    Error::io(e, path.as_os_str().to_owned())
}

/// `errno` about `path`.
fn errno(errno: i32, path: &Path) -> Error {
    Error::Os(Box::new(OsError { errno, path: Some(path.as_os_str().to_owned()), path2: None }))
}
