//! A file that one download at a time writes to, found by its name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Makes or opens it, and locks it. `None`: another has it.
pub(super) fn claim(path: &Path) -> io::Result<Option<File>> {
    claim_with(path, || ())
}

/// `meanwhile` runs between the opening and the lock.
fn claim_with(path: &Path, mut meanwhile: impl FnMut()) -> io::Result<Option<File>> {
    loop {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        meanwhile();
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(e),
        }
        // The download that had it before may have moved it to its place, or removed it.
        if is_at(&file, path)? {
            return Ok(Some(file));
        }
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match path.metadata() {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;
    use crate::testing::Folder;

    #[test]
    fn a_file_that_was_finished_meanwhile_is_not_written_to() {
        let folder = Folder::new();
        let (part, done) = (folder.path(".x.part"), folder.path("x"));
        fs::write(&part, "whole").unwrap();
        let mut finishes = true;
        let claimed = claim_with(&part, || {
            if std::mem::take(&mut finishes) {
                fs::rename(&part, &done).unwrap();
            }
        });
        claimed.unwrap().unwrap().write_all(b"part").unwrap();
        assert_eq!((fs::read_to_string(&part).unwrap(), fs::read_to_string(&done).unwrap()), ("part".into(), "whole".into()));
    }

    #[test]
    fn one_at_a_time() {
        let folder = Folder::new();
        let path = folder.path("x");
        let first = claim(&path).unwrap();
        assert!(first.is_some() && claim(&path).unwrap().is_none());
        drop(first);
        assert!(claim(&path).unwrap().is_some());
    }
}
