//! Adding to the end of a file.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::Arc;

use mountain_core::effect::{Abort, Done, Host, Operation, Outcome};
use mountain_core::value::Value;

use super::failure::failure;
use super::fresh::sync_folder;
use super::place::Place;
use super::write::{Data, write_into};
use crate::pool::{self, Grip, Job, Step};

/// Adds `data` to a file, or makes it. Other writers that append come before it or after it, on a local file system.
/// An abort comes before the first byte or not at all.
pub struct Append {
    pub place: Place,
    pub data: Data,
    pub durable: bool,
}

impl Append {
    pub fn new(place: impl Into<Place>, data: Data, durable: bool) -> Self {
        Append { place: place.into(), data, durable }
    }
}

impl Operation for Append {
    fn start(&self, _host: &Arc<Host>, done: Done) -> Abort {
        let (place, data, durable) = (self.place.clone(), self.data.clone(), self.durable);
        pool::run(Grip::Firm, done, move |job| Step::Answer(append(job, &place, (*data).as_ref(), durable)))
    }
}

fn append(job: &Job, place: &Place, data: &[u8], durable: bool) -> Outcome {
    job.check()?;
    let fail = |e: io::Error| failure(&e, place.path());
    let at = place.at(true).map_err(fail)?;
    let is_new = match at.metadata() {
        Ok(about) if !about.is_file() && !about.is_dir() => {
            return write_into(job, place.path(), &at, data, about.file_type().is_fifo());
        }
        about => about.is_err(),
    };
    job.commit()?;
    let mut file = OpenOptions::new().append(true).create(true).custom_flags(at.flags()).open(at.path()).map_err(fail)?;
    file.write_all(data).map_err(fail)?;
    if durable {
        file.sync_all().map_err(fail)?;
        if let Some(folder) = at.path().parent().filter(|_| is_new) {
            sync_folder(folder).map_err(fail)?;
        }
    }
    Ok(Value::Unit)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::testing::{Folder, os_error, run};

    fn add(path: &Path, data: &str) -> Outcome {
        run(&Append::new(path, Arc::new(data.as_bytes().to_vec()), true))
    }

    #[test]
    fn data_is_added_and_a_file_made() {
        let folder = Folder::new();
        let path = folder.path("log");
        add(&path, "one\n").unwrap();
        add(&path, "two\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
        assert_eq!(os_error(add(folder.root(), "x")), (libc::EISDIR, Some(folder.root().to_path_buf())));
        let below = path.join("below");
        assert_eq!(os_error(add(&below, "x")), (libc::ENOTDIR, Some(below)));
    }
}
