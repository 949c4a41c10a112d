//! Names outside of the tree whose changes are told as those of a path of it: of what a link leads to, and of a root
//! that is a file, or that is awaited.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

#[derive(Default)]
pub(super) struct Routes {
    /// By the watch on a folder and a name in it.
    from: HashMap<i32, HashMap<OsString, Vec<PathBuf>>>,
    /// By the path that is told.
    to: HashMap<PathBuf, Vec<(i32, OsString)>>,
}

impl Routes {
    pub(super) fn add(&mut self, watch: i32, name: OsString, told: &Path) {
        self.from.entry(watch).or_default().entry(name.clone()).or_default().push(told.to_path_buf());
        self.to.entry(told.to_path_buf()).or_default().push((watch, name));
    }

    /// The paths that are told when this name changes.
    pub(super) fn of(&self, watch: i32, name: &OsStr) -> Vec<PathBuf> {
        self.from.get(&watch).and_then(|names| names.get(name)).cloned().unwrap_or_default()
    }

    /// All paths that are told by this watch.
    pub(super) fn by(&self, watch: i32) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = self.from.get(&watch).into_iter().flat_map(HashMap::values).flatten().cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    pub(super) fn need(&self, watch: i32) -> bool {
        self.from.contains_key(&watch)
    }

    pub(super) fn has(&self, told: &Path) -> bool {
        !self.to.is_empty() && self.to.contains_key(told)
    }

    /// Nothing is told of this path any more. Returns the watches that it had.
    pub(super) fn remove(&mut self, told: &Path) -> Vec<i32> {
        let places = self.to.remove(told).unwrap_or_default();
        for (watch, name) in &places {
            let Some(names) = self.from.get_mut(watch) else { continue };
            if let Some(paths) = names.get_mut(name) {
                paths.retain(|path| path != told);
                if paths.is_empty() {
                    names.remove(name);
                }
            }
            if names.is_empty() {
                self.from.remove(watch);
            }
        }
        places.into_iter().map(|(watch, _)| watch).collect()
    }
}
