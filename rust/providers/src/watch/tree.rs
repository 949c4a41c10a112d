//! A tree that is watched: events of the kernel change the names in it, and mark what is to be told.
//!
//! A folder is watched before it is read: what comes into it later is an event, and what was there before is found. So
//! an event can be about what was found already, and each says how things are in the end, however often it is applied.
//! A folder that moves is one that goes and one that comes.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use super::kernel::{Event, Kernel, What};
use super::limits::of_all;
use super::names::{Child, Id, Names};
use super::routes::Routes;
use super::settling::Settling;

#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own, in any combination")]
pub(super) struct Tree {
    /// As it was given, and from the file system's root on.
    pub(super) root: PathBuf,
    pub(super) base: PathBuf,
    pub(super) ignore_files: bool,
    pub(super) kernel: Kernel,
    pub(super) names: Names,
    /// The root. None: it is a file, or is awaited.
    pub(super) top: Option<Id>,
    /// Whether the root is there.
    pub(super) there: bool,
    /// The folder of each watch.
    pub(super) watched: HashMap<i32, Id>,
    pub(super) routes: Routes,
    pub(super) settling: Settling,
    /// False at the beginning: what is there is not told.
    pub(super) telling: bool,
    pub(super) now: Duration,
    pub(super) notes: Vec<String>,
    /// The limit of watches was reached, and that is noted.
    pub(super) full: bool,
    pub(super) failed: Option<io::Error>,
}

impl Tree {
    /// It fails with the notes that there are.
    pub(super) fn open(
        root: PathBuf,
        settle: Duration,
        ignore_files: bool,
        existing: bool,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, (io::Error, Vec<String>)> {
        let kernel = Kernel::open().map_err(|e| {
            let notes = of_all(&e).into_iter().collect();
            (e, notes)
        })?;
        Self::of(kernel, root, settle, ignore_files, existing, stop)
    }

    pub(super) fn of(
        kernel: Kernel,
        root: PathBuf,
        settle: Duration,
        ignore_files: bool,
        existing: bool,
        stop: &dyn Fn() -> bool,
    ) -> Result<Self, (io::Error, Vec<String>)> {
        let base = if root.as_os_str().is_empty() { Err(Errno::NOENT.into()) } else { std::path::absolute(&root) };
        let mut tree = Tree {
            settling: Settling::new(root.clone(), settle),
            base: base.map_err(|e| (e, Vec::new()))?,
            root,
            ignore_files,
            kernel,
            names: Names::default(),
            top: None,
            there: false,
            watched: HashMap::new(),
            routes: Routes::default(),
            telling: existing,
            now: Duration::ZERO,
            notes: Vec::new(),
            full: false,
            failed: None,
        };
        if let Err(e) = tree.begin(stop) {
            return Err((e, tree.notes));
        }
        tree.telling = true;
        if existing {
            tree.settling.at_once();
        }
        Ok(tree)
    }

    fn begin(&mut self, stop: &dyn Fn() -> bool) -> io::Result<()> {
        let about = fs::metadata(&self.base)?;
        if about.is_dir() {
            fs::read_dir(&self.base)?;
            self.keep_ways();
            self.enter(stop);
            let watched = self.top.and_then(|top| self.names.get(top)).is_some_and(|top| top.watch.is_some());
            return if watched { Ok(()) } else { Err(Errno::NOSPC.into()) };
        }
        self.come(stop);
        self.failed.take().map_or(Ok(()), Err)
    }

    pub(super) fn queue(&self) -> BorrowedFd<'_> {
        self.kernel.queue()
    }

    pub(super) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The root and the folder that it was in are gone: there is nothing to wait for.
    pub(super) fn failed(&mut self) -> Option<io::Error> {
        self.failed.take()
    }

    /// Takes in the events that wait. Returns whether there were any.
    pub(super) fn read(&mut self, clock: &dyn Fn() -> Duration, stop: &dyn Fn() -> bool) -> io::Result<bool> {
        let mut any = false;
        while !stop() {
            let events = self.kernel.read()?;
            if events.is_empty() {
                break;
            }
            any = true;
            self.now = clock();
            for event in events {
                self.apply(&event, stop);
            }
        }
        Ok(any)
    }

    pub(super) fn apply(&mut self, event: &Event, stop: &dyn Fn() -> bool) {
        match event.what {
            What::Lost => self.start_over(stop),
            What::Ended => self.ended(event.watch, stop),
            What::Moved | What::Unmounted => {
                let folder = self.watched.get(&event.watch).copied();
                if folder.is_some() && folder == self.top {
                    self.leave(stop);
                } else if let Some(folder) = folder.filter(|_| event.what == What::Unmounted) {
                    self.look(folder, stop);
                }
                self.reroute(event.watch, stop);
            }
            What::Made | What::Gone | What::Touched if !event.name.is_empty() => {
                for told in self.routes.of(event.watch, &event.name) {
                    self.reached(&told, event.what, stop);
                }
                if let Some(&folder) = self.watched.get(&event.watch) {
                    self.happened(folder, event, stop);
                }
            }
            What::Made | What::Gone | What::Touched => {} // to a folder: the one above tells
        }
    }

    fn happened(&mut self, id: Id, event: &Event, stop: &dyn Fn() -> bool) {
        let name = event.name.as_os_str();
        let path = self.told(id).join(name);
        let Some(folder) = self.names.get(id) else { return };
        let before = folder.inside.get(name).copied();
        let left_out = self.ignore_files && folder.rules.leave_out(&self.real(&path), event.is_dir);
        let rules = folder.rules.are_in(name);
        match (event.what, before) {
            (What::Made, _) if left_out => {}
            (What::Made, Some(Child::Folder(inner))) if event.is_dir && self.is_same(inner, &path, false) => {}
            (What::Made, Some(Child::Leaf)) if !event.is_dir => {
                self.mark(path.clone(), true, true);
                self.unroute(&path);
                self.follow_link(&path);
            }
            (What::Made, _) => {
                self.forget(id, name);
                self.add(id, name, event.is_dir, stop);
            }
            // Names that were exchanged are there again before each is told as gone.
            (What::Gone, Some(_)) if fs::symlink_metadata(self.real(&path)).is_ok() => self.mark(path, true, true),
            (What::Gone, Some(_)) => self.forget(id, name),
            (What::Touched, Some(_)) => self.mark(path, true, true),
            _ => {}
        }
        if rules {
            self.look(id, stop);
        }
    }

    /// A name that is new in a folder.
    fn add(&mut self, id: Id, name: &OsStr, is_dir: bool, stop: &dyn Fn() -> bool) {
        if let Some(inner) = self.insert(id, name, is_dir, None) {
            self.look(inner, stop);
        }
    }

    /// `is_link`: None if it is not known. Returns the folder that it is, which is to be looked at.
    pub(super) fn insert(&mut self, id: Id, name: &OsStr, is_dir: bool, is_link: Option<bool>) -> Option<Id> {
        let path = self.told(id).join(name);
        let inner = is_dir.then(|| self.names.add(Some((id, name.to_owned()))));
        self.names.get_mut(id)?.inside.insert(name.into(), inner.map_or(Child::Leaf, Child::Folder));
        self.mark(path.clone(), false, true);
        if !is_dir && is_link.unwrap_or(true) {
            self.follow_link(&path);
        }
        inner
    }

    /// A name that is gone from a folder, with all that is in it.
    pub(super) fn forget(&mut self, id: Id, name: &OsStr) {
        let path = self.told(id).join(name);
        let Some(child) = self.names.get_mut(id).and_then(|folder| folder.inside.remove(name)) else { return };
        let mut gone = vec![(child, path)];
        let mut led_here = Vec::new();
        while let Some((child, path)) = gone.pop() {
            if let Child::Folder(inner) = child {
                led_here.extend(self.names.get(inner).and_then(|folder| folder.watch).map(|watch| self.routes.by(watch)));
                gone.extend(self.drop_folder(inner).into_iter().map(|(name, child)| (child, path.join(Path::new(&name)))));
            }
            self.unroute(&path);
            self.mark(path, true, false);
        }
        for told in led_here.into_iter().flatten() {
            if told != self.root {
                self.follow_again(&told);
            }
        }
    }

    pub(super) fn drop_folder(&mut self, id: Id) -> HashMap<Box<OsStr>, Child> {
        let Some(folder) = self.names.remove(id) else { return HashMap::new() };
        if let Some(watch) = folder.watch {
            self.watched.remove(&watch);
            self.release(watch);
        }
        folder.inside
    }

    /// Ends a watch that nothing needs.
    pub(super) fn release(&mut self, watch: i32) {
        if !self.watched.contains_key(&watch) && !self.routes.need(watch) {
            self.kernel.unwatch(watch);
        }
    }

    fn ended(&mut self, watch: i32, stop: &dyn Fn() -> bool) {
        if let Some(id) = self.watched.remove(&watch) {
            if let Some(folder) = self.names.get_mut(id) {
                folder.watch = None;
            }
            if Some(id) == self.top {
                self.leave(stop);
            }
        }
        self.reroute(watch, stop);
    }

    pub(super) fn mark(&mut self, path: PathBuf, before: bool, now: bool) {
        if self.telling {
            self.settling.mark(path, before, now, self.now);
        }
    }

    /// The path of a folder as it is told.
    pub(super) fn told(&self, id: Id) -> PathBuf {
        self.names.path(&self.root, id)
    }

    /// The same from the file system's root on: the working folder may have changed.
    pub(super) fn real(&self, told: &Path) -> PathBuf {
        match told.strip_prefix(&self.root) {
            Ok(below) if !below.as_os_str().is_empty() => self.base.join(below),
            _ => self.base.clone(),
        }
    }
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod replay_tests;
#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
