//! The names in a tree, as they were seen last.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use slab::Slab;

use super::rules::Rules;

/// A folder, by its place in [`Names`].
pub(super) type Id = usize;

pub(super) struct Folder {
    /// The folder that it is in, and its name there. None: it is the root.
    pub(super) place: Option<(Id, OsString)>,
    pub(super) inside: HashMap<Box<OsStr>, Child>,
    /// The kernel's watch on it. None: it cannot be watched.
    pub(super) watch: Option<i32>,
    /// For what is in it.
    pub(super) rules: Rules,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Child {
    Leaf,
    Folder(Id),
}

#[derive(Default)]
pub(super) struct Names {
    folders: Slab<Folder>,
}

impl Names {
    pub(super) fn add(&mut self, place: Option<(Id, OsString)>) -> Id {
        let folder = Folder { place, inside: HashMap::new(), watch: None, rules: Rules::default() };
        self.folders.insert(folder)
    }

    pub(super) fn get(&self, id: Id) -> Option<&Folder> {
        self.folders.get(id)
    }

    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut Folder> {
        self.folders.get_mut(id)
    }

    /// The folder is forgotten, with what it holds.
    pub(super) fn remove(&mut self, id: Id) -> Option<Folder> {
        self.folders.try_remove(id)
    }

    /// The path of a folder, with that of the root in front.
    pub(super) fn path(&self, root: &Path, id: Id) -> PathBuf {
        let (mut parts, mut at) = (Vec::new(), id);
        while let Some((above, name)) = self.folders.get(at).and_then(|folder| folder.place.as_ref()) {
            parts.push(name);
            at = *above;
        }
        let mut path = root.to_path_buf();
        path.extend(parts.into_iter().rev());
        path
    }
}
