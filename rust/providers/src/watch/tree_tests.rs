use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::change::{Change, Kind};
use super::super::kernel::{Event, Kernel, What};
use super::Tree;
use crate::testing::Folder;

pub(super) fn on() -> bool {
    false
}

pub(super) fn still() -> Duration {
    Duration::ZERO
}

pub(super) fn open(root: &Path, ignore_files: bool) -> Tree {
    Tree::open(root.into(), Duration::ZERO, ignore_files, false, &on).map_err(|(e, _)| e).unwrap()
}

/// The changes until now, by their paths below the folder.
fn told(tree: &mut Tree, folder: &Folder) -> Vec<(String, Kind)> {
    tree.read(&still, &on).unwrap();
    let all = tree.settling.take(Duration::ZERO).unwrap_or_default();
    let below = |path: &Path| path.strip_prefix(folder.root()).unwrap_or(path).display().to_string();
    all.into_iter().map(|c| (below(&c.path), c.kind)).collect()
}

fn all(kind: Kind, names: &[&str]) -> Vec<(String, Kind)> {
    names.iter().map(|&name| (name.into(), kind)).collect()
}

#[test]
fn files_and_folders_that_come_change_and_go() {
    let folder = Folder::new();
    folder.file("old", b"1");
    let mut tree = open(folder.root(), false);
    assert_eq!(told(&mut tree, &folder), []);
    folder.file("a/b/c/new", b"1");
    assert_eq!(told(&mut tree, &folder), all(Kind::Made, &["a", "a/b", "a/b/c", "a/b/c/new"]));
    folder.file("old", b"2");
    folder.file("a/b/c/new", b"2");
    assert_eq!(told(&mut tree, &folder), all(Kind::Changed, &["a/b/c/new", "old"]));
    fs::remove_dir_all(folder.path("a")).unwrap();
    assert_eq!(told(&mut tree, &folder), all(Kind::Removed, &["a", "a/b", "a/b/c", "a/b/c/new"]));
}

#[test]
fn a_replaced_file_is_one_change_each_time() {
    let folder = Folder::new();
    let file = folder.file("file", b"0");
    for root in [folder.root(), &file] {
        let mut tree = open(root, false);
        for content in [b"1", b"2"] {
            let temp = folder.file("file.tmp", content);
            fs::rename(temp, &file).unwrap();
            assert_eq!(told(&mut tree, &folder), all(Kind::Changed, &["file"]));
        }
        fs::remove_file(&file).unwrap();
        assert_eq!(told(&mut tree, &folder), all(Kind::Removed, &["file"]));
        folder.file("file", b"3");
        assert_eq!(told(&mut tree, &folder), all(Kind::Made, &["file"]));
        folder.file("beside", b"");
        fs::remove_file(folder.path("beside")).unwrap();
        assert_eq!(told(&mut tree, &folder), []);
    }
}

#[test]
fn folders_that_move_have_their_contents_with_them() {
    let (folder, outside) = (Folder::new(), Folder::new());
    folder.file("a/b/x", b"");
    outside.file("in/y/z", b"");
    let mut tree = open(folder.root(), false);
    fs::rename(folder.path("a"), folder.path("c")).unwrap();
    let mut both = all(Kind::Removed, &["a", "a/b", "a/b/x"]);
    both.extend(all(Kind::Made, &["c", "c/b", "c/b/x"]));
    assert_eq!(told(&mut tree, &folder), both);
    folder.file("c/b/x", b"1");
    assert_eq!(told(&mut tree, &folder), all(Kind::Changed, &["c/b/x"]), "under its new name");
    fs::rename(folder.path("c"), outside.path("c")).unwrap();
    assert_eq!(told(&mut tree, &folder), all(Kind::Removed, &["c", "c/b", "c/b/x"]));
    outside.file("c/b/x", b"2");
    assert_eq!(told(&mut tree, &folder), [], "outside");
    fs::rename(outside.path("in"), folder.path("in")).unwrap();
    assert_eq!(told(&mut tree, &folder), all(Kind::Made, &["in", "in/y", "in/y/z"]));
    assert_eq!(tree.watched.len(), 3, "no watch is left on what went");
}

#[test]
fn a_folder_that_moved_into_a_new_one_before_that_was_known_is_watched_there() {
    let folder = Folder::new();
    folder.file("a/x", b"");
    let mut tree = open(folder.root(), false);
    folder.dir("new");
    fs::rename(folder.path("a"), folder.path("new/a")).unwrap();
    let mut both = all(Kind::Removed, &["a", "a/x"]);
    both.extend(all(Kind::Made, &["new", "new/a", "new/a/x"]));
    assert_eq!(told(&mut tree, &folder), both);
    folder.file("new/a/x", b"1");
    assert_eq!(told(&mut tree, &folder), all(Kind::Changed, &["new/a/x"]), "its watch is the one that it had");
}

#[test]
fn a_link_to_a_file_changes_with_it() {
    let (folder, outside) = (Folder::new(), Folder::new());
    let file = outside.file("file", b"");
    folder.link("far", outside.path("way").to_str().unwrap());
    outside.link("way", "file");
    let mut tree = open(folder.root(), false);
    for content in [b"1", b"2", b"3"] {
        outside.file("file", content);
        assert_eq!(told(&mut tree, &folder), all(Kind::Changed, &["far"]));
    }
    for _ in 0..3 {
        fs::rename(outside.file("temp", b"4"), &file).unwrap();
        assert_eq!(told(&mut tree, &folder), all(Kind::Changed, &["far"]));
    }
    outside.file("other", b"");
    fs::remove_file(outside.path("way")).unwrap();
    outside.link("way", "other");
    assert_eq!(told(&mut tree, &folder), all(Kind::Changed, &["far"]));
    outside.file("other", b"1");
    assert_eq!(told(&mut tree, &folder), all(Kind::Changed, &["far"]), "it leads there now");
    outside.file("file", b"5");
    assert_eq!(told(&mut tree, &folder), []);
    fs::remove_file(folder.path("far")).unwrap();
    assert_eq!(told(&mut tree, &folder), all(Kind::Removed, &["far"]));
    outside.file("other", b"2");
    assert_eq!(told(&mut tree, &folder), []);
    assert_eq!(tree.watched.len(), 1);
    folder.link("folder", outside.root().to_str().unwrap());
    outside.file("other", b"3");
    assert_eq!(told(&mut tree, &folder), all(Kind::Made, &["folder"]), "what is in a folder is not told");
    folder.link("nowhere", outside.path("later/file").to_str().unwrap());
    assert_eq!(told(&mut tree, &folder), all(Kind::Made, &["nowhere"]));
    outside.file("later/file", b"");
    assert_eq!(told(&mut tree, &folder), all(Kind::Changed, &["nowhere"]));
    folder.link("self", "self");
    assert_eq!(told(&mut tree, &folder), all(Kind::Made, &["self"]));
}

#[test]
fn a_root_that_is_a_link_is_told_by_its_own_name() {
    let (folder, outside) = (Folder::new(), Folder::new());
    let file = outside.file("file", b"");
    folder.link("file", file.to_str().unwrap());
    folder.link("tree", outside.root().to_str().unwrap());
    let mut tree = open(&folder.path("file"), false);
    for _ in 0..3 {
        fs::rename(outside.file("temp", b"4"), &file).unwrap();
        assert_eq!(told(&mut tree, &folder), all(Kind::Changed, &["file"]));
    }
    let mut tree = open(&folder.path("tree"), false);
    outside.file("sub/new", b"");
    assert_eq!(told(&mut tree, &folder), all(Kind::Made, &["tree/sub", "tree/sub/new"]));
}

#[test]
fn a_root_that_vanishes_is_awaited() {
    let folder = Folder::new();
    folder.file("above/root/x", b"");
    let mut tree = open(&folder.path("above/root"), false);
    fs::remove_dir_all(folder.path("above/root")).unwrap();
    assert_eq!(told(&mut tree, &folder), all(Kind::Removed, &["above/root", "above/root/x"]));
    folder.file("above/root/y", b"");
    assert_eq!(told(&mut tree, &folder), all(Kind::Made, &["above/root", "above/root/y"]));
    fs::rename(folder.path("above/root"), folder.path("away")).unwrap();
    assert_eq!(told(&mut tree, &folder), all(Kind::Removed, &["above/root", "above/root/y"]));
    folder.file("away/z", b"");
    folder.file("above/root", b"a file now");
    assert_eq!(told(&mut tree, &folder), all(Kind::Made, &["above/root"]));
    assert!(tree.failed().is_none());
    fs::remove_dir_all(folder.path("above")).unwrap();
    assert_eq!(told(&mut tree, &folder), all(Kind::Removed, &["above/root"]));
    assert_eq!(tree.failed().unwrap().kind(), std::io::ErrorKind::NotFound, "there is nothing to wait in");
}

#[test]
fn a_root_that_cannot_be_watched_fails() {
    let folder = Folder::new();
    for root in [folder.path("missing"), PathBuf::new()] {
        let opened = Tree::open(root, Duration::ZERO, false, false, &on);
        assert_eq!(opened.map(drop).unwrap_err().0.kind(), std::io::ErrorKind::NotFound);
    }
    let mut kernel = Kernel::open().unwrap();
    kernel.room = 0;
    let opened = Tree::of(kernel, folder.root().into(), Duration::ZERO, false, false, &on);
    let (e, notes) = opened.map(drop).unwrap_err();
    assert_eq!((e.raw_os_error(), notes.len()), (Some(libc::ENOSPC), 1));
}

#[test]
fn folders_beyond_the_limit_of_watches_are_told_as_lost() {
    let folder = Folder::new();
    for number in 0..20 {
        folder.dir(&format!("{number:02}"));
    }
    let mut kernel = Kernel::open().unwrap();
    kernel.room = 1 + 5;
    let opened = Tree::of(kernel, folder.root().into(), Duration::ZERO, false, false, &on);
    let mut tree = opened.map_err(|(e, _)| e).unwrap();
    let notes = tree.take_notes();
    assert!(notes.len() == 1 && notes[0].contains("fs.inotify.max_user_watches"), "{notes:?}");
    let lost = told(&mut tree, &folder);
    assert!(lost.len() == 15 && lost.iter().all(|(_, kind)| *kind == Kind::Overflow), "{lost:?}");
    let mut made = 0;
    for number in 0..20 {
        folder.file(&format!("{number:02}/new"), b"");
        made += told(&mut tree, &folder).len();
    }
    assert_eq!((made, tree.take_notes().len()), (5, 0));
}

#[test]
fn after_an_overflow_the_tree_is_known_again() {
    let folder = Folder::new();
    folder.file("a/x", b"");
    let mut tree = open(folder.root(), false);
    folder.file("b/c/y", b"");
    fs::remove_dir_all(folder.path("a")).unwrap();
    while !tree.kernel.read().unwrap().is_empty() {} // lost
    let lost = Event { watch: -1, what: What::Lost, is_dir: false, name: "".into() };
    tree.apply(&lost, &on);
    let root = folder.root().display().to_string();
    let batch = tree.settling.take(Duration::ZERO).unwrap();
    assert_eq!(batch, [Change { path: root.into(), kind: Kind::Overflow }]);
    folder.file("b/c/z", b"");
    folder.file("b/c/y", b"1");
    let after = vec![("b/c/y".into(), Kind::Changed), ("b/c/z".into(), Kind::Made)];
    assert_eq!(told(&mut tree, &folder), after);
}

#[test]
fn names_are_bytes() {
    let folder = Folder::new();
    let mut tree = open(folder.root(), false);
    let path = folder.root().join(OsStr::from_bytes(b"\xff\xfe dir")).join(OsStr::from_bytes(b"\xc3\x28"));
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, b"").unwrap();
    tree.read(&still, &on).unwrap();
    let batch = tree.settling.take(Duration::ZERO).unwrap();
    assert_eq!(batch.last().unwrap(), &Change { path, kind: Kind::Made });
}

#[test]
fn rules_hold_and_may_change() {
    let folder = Folder::new();
    folder.dir(".git");
    folder.file(".gitignore", b"*.log\n/out/\n");
    folder.file("out/kept", b"");
    let mut tree = open(folder.root(), true);
    folder.file("x.log", b"");
    folder.file("out/more", b"");
    folder.file("src/main", b"");
    folder.file("src/y.log", b"");
    assert_eq!(told(&mut tree, &folder), all(Kind::Made, &["src", "src/main"]));
    folder.file(".gitignore", b"main\n");
    let changed = vec![
        (".gitignore".into(), Kind::Changed),
        ("out".into(), Kind::Made),
        ("out/kept".into(), Kind::Made),
        ("out/more".into(), Kind::Made),
        ("src/main".into(), Kind::Removed),
        ("src/y.log".into(), Kind::Made),
        ("x.log".into(), Kind::Made),
    ];
    assert_eq!(told(&mut tree, &folder), changed);
}
