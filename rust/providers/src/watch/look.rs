//! Looking at folders: what is there is compared with what is known.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::limits::full;
use super::names::{Child, Id};
use super::rules::Rules;
use super::tree::Tree;

impl Tree {
    /// Looks at a folder and all that is in it, and takes in what differs from what is known.
    pub(super) fn look(&mut self, id: Id, stop: &dyn Fn() -> bool) {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            if stop() {
                return;
            }
            open.append(&mut self.look_into(id));
        }
    }

    /// Returns the folders in it.
    fn look_into(&mut self, id: Id) -> Vec<Id> {
        let told = self.told(id);
        let real = self.real(&told);
        match self.kernel.watch(&real, Some(id) == self.top) {
            Ok(watch) => self.attach(id, watch),
            Err(e) => {
                self.unseen(&told, &e);
                return Vec::new();
            }
        }
        if self.ignore_files {
            let above = self.names.get(id).and_then(|folder| folder.place.as_ref()).map(|(above, _)| *above);
            let above = above.and_then(|above| self.names.get(above)).map(|folder| folder.rules.clone());
            let rules = above.unwrap_or_else(|| Rules::above(&real)).within(&real);
            if let Some(folder) = self.names.get_mut(id) {
                folder.rules = rules;
            }
        }
        let seen = match self.list(id, &real) {
            Ok(seen) => seen,
            Err(e) => {
                self.unseen(&told, &e);
                return Vec::new();
            }
        };
        let Some(folder) = self.names.get(id) else { return Vec::new() };
        let differs =
            |name: &OsStr, child: Child| seen.get(name).is_none_or(|&(is_dir, _)| is_dir != matches!(child, Child::Folder(_)));
        let gone = folder.inside.iter().filter(|&(name, &child)| differs(name, child));
        for name in gone.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.forget(id, &name);
        }
        let mut inner = Vec::new();
        for (name, (is_dir, is_link)) in seen {
            let known = self.names.get(id).and_then(|folder| folder.inside.get(name.as_os_str()).copied());
            match known {
                Some(Child::Folder(known)) => inner.push(known),
                Some(Child::Leaf) => {}
                None => inner.extend(self.insert(id, &name, is_dir, Some(is_link))),
            }
        }
        inner
    }

    /// The names in a folder that are not left out, each with whether it is a folder, or a link.
    fn list(&self, id: Id, real: &Path) -> io::Result<HashMap<OsString, (bool, bool)>> {
        let mut seen = HashMap::new();
        for entry in fs::read_dir(real)? {
            let entry = entry?;
            let Ok(kind) = entry.file_type() else { continue }; // it went away
            let rules = self.names.get(id).map(|folder| &folder.rules);
            if !rules.is_some_and(|rules| rules.leave_out(&entry.path(), kind.is_dir())) {
                seen.insert(entry.file_name(), (kind.is_dir(), kind.is_symlink()));
            }
        }
        Ok(seen)
    }

    /// A folder, or what a link leads to, that cannot be watched.
    pub(super) fn unseen(&mut self, told: &Path, e: &io::Error) {
        match Errno::from_io_error(e) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {} // it went away: that is an event, too
            Some(Errno::NOSPC) => {
                if !self.full {
                    self.notes.push(format!("{} and maybe more: {}", told.display(), full()));
                }
                self.full = true;
                self.settling.lose(told.to_path_buf(), self.now);
            }
            _ => self.notes.push(format!("{}: {e}", told.display())),
        }
    }

    fn attach(&mut self, id: Id, watch: i32) {
        if let Some(other) = self.watched.insert(watch, id).filter(|&other| other != id)
            && let Some(other) = self.names.get_mut(other)
        {
            other.watch = None; // this folder had another name, which is about to go
        }
        let before = self.names.get_mut(id).and_then(|folder| folder.watch.replace(watch));
        if let Some(before) = before.filter(|&before| before != watch) {
            self.watched.remove(&before);
            self.release(before);
        }
    }

    /// Events were lost: what is there now is what is known from here on.
    pub(super) fn start_over(&mut self, stop: &dyn Fn() -> bool) {
        self.settling.lose(self.root.clone(), self.now);
        if let Some(top) = self.top {
            self.look(top, stop);
        } else {
            self.come(stop);
        }
    }
}
