//! Watches where there is no inotify, or in a build without them.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::change::Change;
use crate::feed::Feed;
use crate::fs::failure;

/// Changes that are told together.
pub type Batch = Vec<Change>;

pub fn watch(root: impl Into<PathBuf>, _settle: Duration, _ignore_files: bool, _existing: bool) -> Feed<Batch> {
    let root = root.into();
    Feed::new("watch", "mountain-watch", move |feed| {
        feed.fail(failure(&io::Error::from_raw_os_error(libc::ENOTSUP), &root));
    })
}
