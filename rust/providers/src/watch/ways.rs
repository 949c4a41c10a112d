//! The ways to a tree and out of it: its root, which may go and come back, and links to files.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::kernel::What;
use super::limits::of_all;
use super::tree::Tree;

/// Links that lead to links, at most.
const HOPS: usize = 40;

impl Tree {
    /// The root has become a folder.
    pub(super) fn enter(&mut self, stop: &dyn Fn() -> bool) {
        let top = self.names.add(None);
        self.top = Some(top);
        self.there = true;
        self.look(top, stop);
    }

    /// The root, a folder until now, is not what has its name any more.
    pub(super) fn leave(&mut self, stop: &dyn Fn() -> bool) {
        let Some(top) = self.top.take() else { return };
        let names: Vec<_> = self.names.get(top).into_iter().flat_map(|folder| folder.inside.keys().cloned()).collect();
        for name in names {
            self.forget(top, &name);
        }
        self.drop_folder(top);
        self.mark(self.root.clone(), true, false);
        self.there = false;
        self.come(stop);
    }

    /// Sees what the root is, which is no folder that is watched; waits for one if it is none.
    pub(super) fn come(&mut self, stop: &dyn Fn() -> bool) {
        let root = self.root.clone();
        self.unroute(&root);
        let routed = self.route(&root, true);
        let was = self.there;
        let about = fs::metadata(&self.base);
        self.there = about.is_ok();
        self.mark(root.clone(), was, self.there);
        match about {
            Ok(about) if about.is_dir() => {
                self.unroute(&root);
                self.enter(stop);
            }
            _ => {
                self.failed = routed.err();
                self.notes.extend(self.failed.as_ref().and_then(of_all));
            }
        }
    }

    /// Something happened to the path that changes name as `told`.
    pub(super) fn reached(&mut self, told: &Path, what: What, stop: &dyn Fn() -> bool) {
        if what == What::Touched {
            self.mark(told.to_path_buf(), true, true);
        } else if told == self.root {
            self.come(stop);
        } else {
            self.follow_again(told);
        }
    }

    /// A link may lead to another file now.
    pub(super) fn follow_again(&mut self, told: &Path) {
        if self.routes.has(told) {
            self.mark(told.to_path_buf(), true, true);
            self.unroute(told);
            self.follow_link(told);
        }
    }

    /// A folder that routes begin in has moved, or is gone.
    pub(super) fn reroute(&mut self, watch: i32, stop: &dyn Fn() -> bool) {
        for told in self.routes.by(watch) {
            self.reached(&told, What::Made, stop);
        }
    }

    /// If there is a link at this path: what happens to the name that it leads to is told as its own.
    pub(super) fn follow_link(&mut self, told: &Path) {
        if !self.routes.has(told)
            && let Err(e) = self.route(told, false)
        {
            self.unseen(told, &e);
        }
    }

    /// Watches for each name on the way to what a path leads to, the first one only with `whole`.
    fn route(&mut self, told: &Path, whole: bool) -> io::Result<()> {
        let mut at = self.real(told);
        let mut places: Vec<(PathBuf, OsString)> = Vec::new();
        for hop in 0..HOPS {
            let (Some(above), Some(name)) = (at.parent(), at.file_name()) else { break };
            if hop > 0 || whole {
                let place = nearest(above, name, whole)?;
                if places.contains(&place) {
                    break; // links that lead to each other
                }
                places.push(place);
            }
            match fs::read_link(&at) {
                Ok(to) => at = above.join(to),
                Err(_) => break,
            }
        }
        for (above, name) in places {
            let watch = self.kernel.watch(&above, true)?;
            self.routes.add(watch, name, told);
        }
        Ok(())
    }

    pub(super) fn unroute(&mut self, told: &Path) {
        if self.routes.has(told) {
            for watch in self.routes.remove(told) {
                self.release(watch);
            }
        }
    }
}

/// The folder that is watched for a path, and the name in it: the part of the path that is there, and what comes next.
/// `whole`: its own folder must be there.
fn nearest(above: &Path, name: &OsStr, whole: bool) -> io::Result<(PathBuf, OsString)> {
    let (mut above, mut name) = (above, name);
    loop {
        match (fs::canonicalize(above), above.parent(), above.file_name()) {
            (Ok(above), ..) => return Ok((above, name.to_owned())),
            (Err(e), Some(higher), Some(next)) if e.kind() == io::ErrorKind::NotFound && !whole => {
                (above, name) = (higher, next);
            }
            (Err(e), ..) => return Err(e),
        }
    }
}
