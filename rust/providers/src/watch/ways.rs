//! The ways to a tree and out of it: its root, which may go and come back, and links to files.

use std::fs;
use std::io;
use std::path::Path;

use super::kernel::What;
use super::limits::of_all;
use super::names::Id;
use super::tree::Tree;
use super::way::Way;

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
        let routed = self.route_root();
        let was = self.there;
        let about = fs::metadata(&self.base);
        self.there = about.is_ok();
        self.mark(root.clone(), was, self.there);
        match about {
            Ok(about) if about.is_dir() => {
                self.keep_ways();
                self.enter(stop);
            }
            _ => {
                self.failed = routed.err();
                self.notes.extend(self.failed.as_ref().and_then(of_all));
            }
        }
    }

    /// The root is a folder: what remains to be seen is whether links lead to another one.
    pub(super) fn keep_ways(&mut self) {
        let root = self.root.clone();
        self.unroute(&root);
        if let Ok(way) = Way::to(&self.base, true)
            && way.has_links
            && let Err(e) = self.route(&root, way)
        {
            self.unseen(&root, &e);
        }
    }

    fn route_root(&mut self) -> io::Result<()> {
        let root = self.root.clone();
        self.unroute(&root);
        self.route(&root, Way::to(&self.base, true)?)
    }

    /// Something happened to the path that changes name as `told`.
    pub(super) fn reached(&mut self, told: &Path, what: What, stop: &dyn Fn() -> bool) {
        if told != self.root {
            if what == What::Touched {
                self.mark(told.to_path_buf(), true, true);
            } else {
                self.follow_again(told);
            }
            return;
        }
        match self.top {
            Some(_) if what == What::Touched => {} // it is a folder: the changes are those in it
            Some(top) => {
                self.keep_ways();
                if !self.is_same(top, told, true) {
                    self.leave(stop);
                }
            }
            None if what == What::Touched => self.mark(told.to_path_buf(), true, true),
            None => self.come(stop),
        }
    }

    /// Whether the folder that has this path is the one that is known.
    pub(super) fn is_same(&mut self, id: Id, told: &Path, follow: bool) -> bool {
        let real = self.real(told);
        let watch = self.names.get(id).and_then(|folder| folder.watch);
        match self.kernel.watch(&real, follow) {
            Ok(now) if Some(now) == watch => true,
            Ok(now) => {
                self.release(now);
                false
            }
            Err(_) => false,
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
            && let Err(e) = Way::to(&self.real(told), false).and_then(|way| self.route(told, way))
        {
            self.unseen(told, &e);
        }
    }

    /// Watches for each name on the way.
    fn route(&mut self, told: &Path, way: Way) -> io::Result<()> {
        for (above, name) in way.places {
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
