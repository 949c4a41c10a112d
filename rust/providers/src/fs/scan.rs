//! Going through a tree on all cores, by descriptors: each folder is opened once, without following links, and what is
//! in it is asked about by name, which takes the system half the time of asking by path.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;

use mountain_core::sync::{Condvar, Mutex};

use super::entry::Entry;
use super::glob::Glob;
use super::names::Names;
use crate::feed::{BATCH, Shared};

/// A tree to go through, and the feed that its entries go to.
pub(super) struct Scan<'a> {
    /// The top folder's path, as entries continue it.
    pub(super) top: &'a Path,
    pub(super) glob: Option<&'a Glob>,
    pub(super) feed: &'a Shared<Entry>,
    /// Opens a folder by its path below the top.
    pub(super) open: &'a (dyn Fn(&Path) -> io::Result<File> + Sync),
}

/// The folders that are left, by their paths below the top.
#[derive(Default)]
struct Left {
    folders: Vec<PathBuf>,
    /// Threads that are in a folder, and may add to these.
    busy: usize,
}

#[derive(Default)]
struct Queue {
    left: Mutex<Left>,
    changed: Condvar,
}

impl Scan<'_> {
    /// Everything below the top, `names`. The feed's end ends it.
    pub(super) fn run(&self, names: Names, thread: &str) {
        let queue = Queue::default();
        self.folder(names, Path::new(""), &queue);
        thread::scope(|scope| {
            for _ in 1..thread::available_parallelism().map_or(1, NonZero::get) {
                // Without another thread it takes longer.
                drop(thread::Builder::new().name(thread.into()).spawn_scoped(scope, || self.work(&queue)));
            }
            self.work(&queue);
        });
    }

    fn work(&self, queue: &Queue) {
        while let Some(below) = self.next(queue) {
            let _busy = Busy(queue);
            let went_on = match (self.open)(&below).and_then(Names::of) {
                Ok(names) => self.folder(names, &below, queue),
                Err(e) => self.problem(&e, &below),
            };
            if !went_on {
                break;
            }
        }
    }

    /// A folder to go into. None: there is none left, or the feed is closed.
    fn next(&self, queue: &Queue) -> Option<PathBuf> {
        let is_idle = |left: &mut Left| left.folders.is_empty() && left.busy > 0;
        let mut left = queue.changed.wait_while(queue.left.lock(), is_idle);
        if self.feed.is_closed() {
            return None;
        }
        let below = left.folders.pop()?;
        left.busy += 1;
        Some(below)
    }

    /// False: the feed is closed.
    fn folder(&self, mut names: Names, below: &Path, queue: &Queue) -> bool {
        let depth = below.components().count() + 1;
        let mut found = Vec::new();
        while let Some(next) = names.next() {
            let name = Path::new(OsStr::from_bytes(next.name.to_bytes()));
            if self.glob.is_some_and(|glob| !glob.may_hold(depth, name)) {
                continue;
            }
            let path = below.join(name);
            match next.stat() {
                Ok(about) => {
                    let entry = Entry::of(self.top.join(&path), &about);
                    let goes_in = entry.is_dir && self.glob.is_none_or(|glob| glob.depth.is_none_or(|most| depth < most));
                    if self.glob.is_none_or(|glob| glob.matches(&path)) {
                        found.push((entry, 1));
                    }
                    if goes_in {
                        queue.left.lock().folders.push(path);
                        queue.changed.notify_one();
                    }
                }
                Err(e) if self.problem(&e, &path) => {}
                Err(_) => return false,
            }
            if self.feed.is_closed() || (found.len() >= BATCH && !self.feed.push(std::mem::take(&mut found))) {
                return false;
            }
        }
        found.is_empty() || self.feed.push(found)
    }

    fn problem(&self, e: &io::Error, below: &Path) -> bool {
        if e.kind() == io::ErrorKind::NotFound {
            return !self.feed.is_closed(); // it went away meanwhile
        }
        self.feed.warn(format!("{}: {e}", self.top.join(below).display()))
    }
}

/// A thread that is in a folder, until this is dropped.
struct Busy<'a>(&'a Queue);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.left.lock().busy -= 1;
        self.0.changed.notify_all();
    }
}
