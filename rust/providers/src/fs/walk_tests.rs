use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use mountain_core::error::Error;
use mountain_core::value::Value;

use super::{Entry, walk};
use crate::feed::{BATCH, Feed, NextBatch, ROOM};
use crate::testing::{Call, Folder, os_error, run, start};

fn batch(call: &Call) -> Option<Vec<Entry>> {
    match call.outcome() {
        Ok(Value::Other(entries)) => Some(*entries.downcast().unwrap()),
        Ok(Value::Unit) => None,
        other => panic!("{other:?}"),
    }
}

fn all(walk: Feed<Entry>) -> (BTreeMap<PathBuf, Entry>, Vec<String>) {
    let next = NextBatch(Arc::new(walk));
    let mut seen = BTreeMap::new();
    while let Some(entries) = batch(&start(&next)) {
        assert!(!entries.is_empty() && entries.len() <= BATCH);
        for entry in entries {
            assert!(seen.insert(entry.path.clone(), entry).is_none(), "each once");
        }
    }
    assert!(batch(&start(&next)).is_none(), "the end stays the end");
    (seen, next.0.take_notes().into_iter().map(|note| note.text).collect())
}

fn below(folder: &Folder, walk: Feed<Entry>) -> Vec<String> {
    let name = |p: &PathBuf| p.strip_prefix(folder.root()).unwrap().to_string_lossy().into_owned();
    all(walk).0.keys().map(name).collect()
}

#[test]
fn everything_below_the_root_hidden_or_ignored() {
    let folder = Folder::new();
    for name in ["a", ".hidden", "x/.gitignore", "x/y/b", "x/y/c.log", ".git/config"] {
        folder.file(name, b"*.log\n");
    }
    let everything = [".git", ".git/config", ".hidden", "a", "x", "x/.gitignore", "x/y", "x/y/b", "x/y/c.log"];
    assert_eq!(below(&folder, walk(folder.root(), false, false)), everything);
    let without = below(&folder, walk(folder.root(), true, false));
    assert_eq!(without, everything.into_iter().filter(|name| *name != "x/y/c.log").collect::<Vec<_>>());
    let (seen, _) = all(walk(folder.root(), false, false));
    let entry = &seen[&folder.path("x/y/b")];
    assert_eq!((entry.size, entry.is_file, entry.is_dir, entry.is_symlink), (6, true, false, false));
    assert!(entry.modified > 1.6e9 && seen[&folder.path("x")].is_dir);
}

#[test]
fn odd_names_keep_their_bytes_and_links_in_a_circle_end() {
    let folder = Folder::new();
    let odd = folder.root().join(OsStr::from_bytes(b"odd-\xff\xfe"));
    fs::write(&odd, b"\0binary").unwrap();
    folder.file("latin", b"caf\xe9");
    folder.file("x/y/file", b"12345");
    for (name, target) in
        [("x/up", ".."), ("x/y/self", "."), ("one", "two"), ("two", "one"), ("gone", "nowhere"), ("link", "x/y/file")]
    {
        folder.link(name, target);
    }
    let (plain, skipped) = all(walk(folder.root(), false, false));
    assert_eq!((plain.len(), skipped), (11, Vec::new()));
    assert!(plain[&folder.path("link")].is_symlink && !plain[&folder.path("link")].is_file);
    assert_eq!(fs::read(&plain[&odd].path).unwrap(), b"\0binary");

    let (followed, skipped) = all(walk(folder.root(), false, true));
    let link = &followed[&folder.path("link")];
    assert_eq!((link.is_symlink, link.is_file, link.size), (true, true, 5));
    // Links that lead nowhere are entries; the two that lead back are skipped and noted.
    for name in ["one", "two", "gone"] {
        assert!(followed[&folder.path(name)].is_symlink && !followed[&folder.path(name)].is_file);
    }
    assert_eq!(skipped.len(), 2, "{skipped:?}");
    assert_eq!(followed.len(), 9);
    assert!(followed.contains_key(&odd));
}

#[test]
fn a_root_that_is_a_file_or_is_not() {
    let folder = Folder::new();
    let file = folder.file("file", b"123");
    let link = folder.link("link", "file");
    for root in [&file, &link] {
        let (seen, _) = all(walk(root, false, false));
        assert_eq!((seen.len(), seen[root].size, seen[root].is_file), (1, 3, true));
    }
    let absent = folder.path("absent");
    assert_eq!(os_error(run(&NextBatch(Arc::new(walk(&absent, false, false))))), (libc::ENOENT, Some(absent)));
    let through = file.join("below");
    assert_eq!(os_error(run(&NextBatch(Arc::new(walk(&through, false, false))))).0, libc::ENOTDIR);
    assert!(matches!(run(&NextBatch(Arc::new(walk("a\0b", false, false)))), Err(Error::Invalid(_))));
    let empty = folder.dir("empty");
    assert!(all(walk(&empty, false, false)).0.is_empty());
    let to_empty = folder.link("to-empty", "empty");
    folder.file("empty/file", b"");
    assert_eq!(all(walk(&to_empty, false, false)).0.into_keys().collect::<Vec<_>>(), [to_empty.join("file")]);
}

#[test]
fn a_slow_consumer_holds_the_walk_up_and_a_drop_frees_it() {
    let folder = Folder::new();
    for i in 0..ROOM + 3000 {
        folder.file(&format!("{}/{i}", i % 7), b"");
    }
    let walk = Arc::new(walk(folder.root(), false, false));
    let next = NextBatch(walk.clone());
    let mut seen = batch(&start(&next)).unwrap().len();
    while walk.waiting() < ROOM {
        std::thread::yield_now();
    }
    let held = || start(&Idle).within(100).is_none() && walk.waiting() < ROOM + 2000; // each thread had some at hand
    assert!(held());
    while seen < ROOM {
        seen += batch(&start(&next)).unwrap().len();
    }
    drop(next);
    let shared = Arc::downgrade(&walk.0);
    drop(walk);
    while shared.strong_count() > 0 {
        std::thread::yield_now(); // its threads let go
    }
}

#[test]
fn a_root_called_dash_is_a_name() {
    assert_eq!(os_error(run(&NextBatch(Arc::new(walk("-", false, false))))), (libc::ENOENT, Some("-".into())));
}

/// Never answers: waiting for it is a way to let time pass.
struct Idle;

impl mountain_core::effect::Operation for Idle {
    fn start(
        &self,
        _host: &std::sync::Arc<mountain_core::effect::Host>,
        done: mountain_core::effect::Done,
    ) -> mountain_core::effect::Abort {
        std::mem::forget(done);
        mountain_core::effect::Abort::Never
    }
}
