//! The way to what a path leads to: each name whose change may have it lead elsewhere.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Links that lead to links, at most.
const HOPS: usize = 40;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// The names of the links, and the last one's: each in its folder, whose path has no links.
    pub(super) places: Vec<(PathBuf, OsString)>,
    pub(super) has_links: bool,
}

impl Way {
    /// To an absolute path. Where it ends early, the last place is of the first name that is missing.
    ///
    /// `whole`: the folder of `path` must be there. Otherwise `path` is known to its caller, and the way begins with
    /// what it leads to, if it is a link.
    pub(super) fn to(path: &Path, whole: bool) -> io::Result<Self> {
        let mut way = Way::default();
        let (mut at, mut ahead) = (PathBuf::from("/"), Vec::new());
        if whole {
            names(path, &mut ahead);
        } else if let (Ok(to), Some(above)) = (fs::read_link(path), path.parent()) {
            way.has_links = true;
            at = if to.is_absolute() { at } else { fs::canonicalize(above)? };
            names(&to, &mut ahead);
        }
        let mut hops = 0;
        while let Some(name) = ahead.pop() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&name);
            match fs::read_link(&next) {
                Ok(to) => {
                    way.place(&at, name);
                    way.has_links = true;
                    hops += 1;
                    if hops == HOPS {
                        break; // links that lead to each other
                    }
                    if to.is_absolute() {
                        at = PathBuf::from("/");
                    }
                    names(&to, &mut ahead);
                }
                Err(e) if e.kind() == io::ErrorKind::InvalidInput && !ahead.is_empty() => at = next, // no link
                Err(e) if !ahead.is_empty() && !way.has_links => return Err(e),
                Err(_) => {
                    way.place(&at, name);
                    break;
                }
            }
        }
        Ok(way)
    }

    fn place(&mut self, folder: &Path, name: OsString) {
        let place = (folder.to_path_buf(), name);
        if !self.places.contains(&place) {
            self.places.push(place);
        }
    }
}

/// Puts the names of a path onto those that are ahead, the first one last.
fn names(path: &Path, ahead: &mut Vec<OsString>) {
    ahead.extend(path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    #[test]
    fn links_within_a_path_are_places_of_the_way() {
        let folder = Folder::new();
        let root = fs::canonicalize(folder.root()).unwrap();
        folder.file("v1/sub/key", b"");
        folder.link("data", "v1");
        folder.link("key", "data/sub/../sub/key");
        let place = |at: &str, name: &str| (root.join(at), OsString::from(name));
        let way = Way::to(&root.join("key"), true).unwrap();
        let at = |n: usize| (root.clone(), OsString::from(["key", "data"][n]));
        assert_eq!(way, Way { places: vec![at(0), at(1), place("v1/sub", "key")], has_links: true });
        let below = Way::to(&root.join("key"), false).unwrap();
        assert_eq!(below.places, way.places[1..]);
        assert_eq!(Way::to(&root.join("v1/sub"), true).unwrap(), Way { places: vec![place("v1", "sub")], has_links: false });
        assert_eq!(Way::to(&root.join("v1/sub"), false).unwrap(), Way::default());
    }

    #[test]
    fn what_is_missing_is_the_end_of_the_way() {
        let folder = Folder::new();
        let root = fs::canonicalize(folder.root()).unwrap();
        folder.link("far", "none/other/x");
        folder.link("loop", "loop");
        let missing = (root.clone(), OsString::from("none"));
        assert_eq!(Way::to(&root.join("none"), true).unwrap().places, std::slice::from_ref(&missing));
        assert_eq!(Way::to(&root.join("none/x"), true).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(Way::to(&root.join("far"), false).unwrap().places, [missing]);
        assert_eq!(Way::to(&root.join("loop"), false).unwrap().places, [(root, OsString::from("loop"))]);
        assert_eq!(Way::to(Path::new("/"), true).unwrap(), Way::default());
    }
}
