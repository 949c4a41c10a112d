//! Stat and mkdir, with the meaning that Python gives them.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

use mountain_core::effect::{Abort, Done, Host, Operation, Outcome};
use mountain_core::error::Error;
use mountain_core::value::{Taken, Value};

use super::entry::Entry;
use super::failure::failure;
use super::place::{At, Place};
use crate::pool::{self, Grip, Step};

/// Yields an [`Entry`] as `Value::Other`.
pub struct Stat {
    pub place: Place,
    pub follow_symlinks: bool,
}

impl Stat {
    pub fn new(place: impl Into<Place>, follow_symlinks: bool) -> Self {
        Stat { place: place.into(), follow_symlinks }
    }
}

impl Operation for Stat {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let (place, follow) = (self.place.clone(), self.follow_symlinks);
        pool::run(Grip::Loose, done, move |_| Step::Answer(stat(&place, follow)))
    }
}

fn stat(place: &Place, follow: bool) -> Outcome {
    let about = place.at(follow).and_then(|at| if follow { at.metadata() } else { fs::symlink_metadata(at.path()) });
    let about = about.map_err(|e| failure(&e, place.path()))?;
    Ok(Value::Other(Box::new(Entry::new(place.path().to_path_buf(), &about, about.is_symlink()))))
}

/// Makes a folder.
pub struct Mkdir {
    pub place: Place,
    pub parents: bool,
    pub exist_ok: bool,
    /// For its owner only.
    pub private: bool,
}

impl Mkdir {
    pub fn new(place: impl Into<Place>, parents: bool, exist_ok: bool) -> Self {
        Mkdir { place: place.into(), parents, exist_ok, private: false }
    }

    /// A folder for its owner only, which is not there yet.
    pub fn private(place: impl Into<Place>) -> Self {
        Mkdir { place: place.into(), parents: false, exist_ok: false, private: true }
    }
}

impl Operation for Mkdir {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let (place, parents, exist_ok) = (self.place.clone(), self.parents, self.exist_ok);
        let private = self.private;
        pool::run(Grip::Firm, done, move |_| {
            let mode = if private { 0o700 } else { 0o777 };
            let outcome = mkdir(&place, mode, parents, exist_ok);
            // Its caller may be cancelled by now, and knows of no folder that is to be removed.
            let back = move |_| drop(place.at(false).and_then(|at| fs::remove_dir(at.path())));
            Step::Answer(outcome.map(|()| if private { Taken::value(Value::Unit, back) } else { Value::Unit }))
        })
    }
}

/// Parents that are there already, or that other code makes meanwhile, are fine. An error is about the folder that
/// could not be made, a parent say.
fn mkdir(place: &Place, mode: u32, parents: bool, exist_ok: bool) -> Result<(), Error> {
    let make = |at: At| fs::DirBuilder::new().mode(mode).create(at.path());
    let Err(e) = place.at(false).and_then(make) else { return Ok(()) };
    match (e.kind(), place.parent()) {
        (io::ErrorKind::NotFound, Some(above)) if parents => {
            mkdir(&above, mode, true, true)?;
            mkdir(place, mode, false, exist_ok)
        }
        // Not only "it exists": on a read-only system, or at the root, a folder that is there can fail otherwise.
        _ if exist_ok && place.at(true).and_then(|at| at.metadata()).is_ok_and(|about| about.is_dir()) => Ok(()),
        _ => Err(failure(&e, place.path())),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::testing::{Folder, os_error, run};

    fn entry(outcome: Outcome) -> Entry {
        match outcome {
            Ok(Value::Other(entry)) => *entry.downcast().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn stat_tells_what_the_system_tells() {
        let folder = Folder::new();
        let path = folder.file("a", b"12345");
        let real = fs::metadata(&path).unwrap();
        let modified = real.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let e = entry(run(&Stat::new(&path, true)));
        assert_eq!((&e.path, e.size, e.is_file, e.is_dir, e.is_symlink), (&path, 5, true, false, false));
        assert!((e.modified - modified).abs() < 1e-6, "{} {modified}", e.modified);
        let e = entry(run(&Stat::new(folder.root(), true)));
        assert_eq!((e.is_file, e.is_dir), (false, true));
    }

    #[test]
    fn stat_follows_links_only_when_asked() {
        let folder = Folder::new();
        folder.file("a", b"12345");
        let link = folder.link("link", "a");
        let e = entry(run(&Stat::new(&link, true)));
        assert_eq!((e.size, e.is_file, e.is_symlink), (5, true, false));
        let e = entry(run(&Stat::new(&link, false)));
        assert_eq!((e.size, e.is_file, e.is_symlink), (1, false, true));
        let dangling = folder.link("dangling", "nowhere");
        assert_eq!(os_error(run(&Stat::new(&dangling, true))), (libc::ENOENT, Some(dangling.clone())));
        assert!(entry(run(&Stat::new(&dangling, false))).is_symlink);
        assert!(matches!(run(&Stat::new("a\0b", true)), Err(Error::Invalid(_))));
    }

    #[test]
    fn mkdir_as_pathlib() {
        let folder = Folder::new();
        let deep = folder.path("x/y/z");
        assert_eq!(os_error(run(&Mkdir::new(&deep, false, true))), (libc::ENOENT, Some(deep.clone())));
        assert!(run(&Mkdir::new(&deep, true, false)).is_ok() && deep.is_dir());
        assert_eq!(os_error(run(&Mkdir::new(&deep, true, false))).0, libc::EEXIST);
        assert!(run(&Mkdir::new(&deep, true, true)).is_ok());
        assert!(run(&Mkdir::new(&deep, false, true)).is_ok());
        assert!(run(&Mkdir::new("/", false, true)).is_ok());
        let file = folder.file("file", b"");
        assert_eq!(os_error(run(&Mkdir::new(&file, true, true))), (libc::EEXIST, Some(file.clone())));
        assert_eq!(os_error(run(&Mkdir::new(file.join("below"), true, true))), (libc::ENOTDIR, Some(file.join("below"))));
        // It is the parent that cannot be made.
        let below = os_error(run(&Mkdir::new("/proc/none/below/it", true, true)));
        assert_eq!(below, (libc::ENOENT, Some(PathBuf::from("/proc/none"))));
        assert!(matches!(run(&Mkdir::new("a\0b", true, true)), Err(Error::Invalid(_))));
    }
}
