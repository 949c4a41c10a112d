//! Walking a tree beneath a root. Every folder is opened from the walk's own on, without following links, so none that
//! is swapped for a link meanwhile leads out of it.

use std::fs::File;
use std::io;
use std::path::Path;

use super::beneath::{Links, folder_in, pinned};
use super::entry::Entry;
use super::failure::failure;
use super::glob::Glob;
use super::names::Names;
use super::place::Place;
use super::scan::Scan;
use super::walk::{NAME, THREAD};
use crate::feed::{Feed, Shared};

/// All that is below a folder, or what matches a glob there; the place itself only if it is no folder. The path of an
/// entry is from the root on. Links below the place are entries, and are not followed.
pub fn walk_beneath(place: Place, glob: Option<Glob>) -> Feed<Entry> {
    Feed::new(NAME, THREAD, move |feed| {
        if let Err(e) = walk(&place, glob.as_ref(), feed) {
            feed.fail(failure(&e, place.path()));
        }
    })
}

/// An error is about the place itself.
fn walk(place: &Place, glob: Option<&Glob>, feed: &Shared<Entry>) -> io::Result<()> {
    let at = place.at(true)?;
    let about = at.metadata()?;
    if !about.is_dir() {
        if glob.is_none() {
            feed.push([(Entry::new(place.path().to_path_buf(), &about, false), 1)]);
        }
        return Ok(());
    }
    let held = at.open_folder()?;
    let by_steps = place.root().is_some_and(|root| root.by_steps);
    let open = |below: &Path| {
        let folder = folder_in(&held, below, Links::Refuse, by_steps)?;
        File::open(pinned(&folder)?.join("."))
    };
    let top = if place.path() == Path::new(".") { Path::new("") } else { place.path() };
    let names = Names::of(open(Path::new(""))?)?;
    Scan { top, glob, feed, open: &open }.run(names, THREAD);
    Ok(())
}
