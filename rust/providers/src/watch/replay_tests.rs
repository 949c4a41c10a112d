use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::super::change::{Change, Kind};
use super::Tree;
use super::tests::{on, open, still};
use crate::testing::Folder;

/// A thing that happens to a tree; places are by number, and what cannot be done is not.
#[derive(Clone, Debug)]
enum Deed {
    Write(u8, u8),
    Replace(u8, u8),
    Folder(u8),
    Remove(u8),
    Move(u8, u8),
    In(u8),
    Out(u8),
    Link(u8, u8),
    Rules(u8, u8),
    /// The watch reads what happened; and batches are taken.
    Read,
    Take,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let place = || 0..40u8;
    let deed = prop_oneof![
        4 => (place(), any::<u8>()).prop_map(|(at, content)| Deed::Write(at, content)),
        2 => (place(), any::<u8>()).prop_map(|(at, content)| Deed::Replace(at, content)),
        4 => place().prop_map(Deed::Folder),
        3 => place().prop_map(Deed::Remove),
        4 => (place(), place()).prop_map(|(from, to)| Deed::Move(from, to)),
        2 => place().prop_map(Deed::In),
        2 => place().prop_map(Deed::Out),
        1 => (place(), place()).prop_map(|(at, to)| Deed::Link(at, to)),
        1 => (place(), any::<u8>()).prop_map(|(at, which)| Deed::Rules(at, which)),
        3 => Just(Deed::Read),
        2 => Just(Deed::Take),
    ];
    proptest::collection::vec(deed, 1..60)
}

/// Up to three levels of three names.
fn place(number: u8) -> String {
    let name = |n: u8| ["a", "b", "c"][usize::from(n % 3)];
    match number {
        0..3 => name(number).into(),
        3..12 => format!("{}/{}", name(number), name(number / 3)),
        _ => format!("{}/{}/{}", name(number), name(number / 3), name(number / 9)),
    }
}

fn act(deed: &Deed, folder: &Folder, outside: &Folder) {
    let at = |number: u8| folder.path(&place(number));
    match *deed {
        Deed::Write(to, content) => drop(fs::write(at(to), [content])),
        Deed::Replace(to, content) => {
            let temp = folder.path("a/temp");
            if fs::write(&temp, [content]).is_ok() {
                drop(fs::rename(&temp, at(to)));
            }
        }
        Deed::Folder(to) => drop(fs::create_dir_all(at(to))),
        Deed::Remove(from) => drop(fs::remove_file(at(from)).or_else(|_| fs::remove_dir_all(at(from)))),
        Deed::Move(from, to) => drop(fs::rename(at(from), at(to))),
        Deed::In(to) => {
            outside.file("in/b/c", b"");
            outside.file("in/a", b"");
            drop(fs::rename(outside.path("in"), at(to)));
        }
        Deed::Out(from) => {
            let _ = fs::remove_dir_all(outside.path("out")).or_else(|_| fs::remove_file(outside.path("out")));
            drop(fs::rename(at(from), outside.path("out")));
        }
        Deed::Link(to, leads) => drop(std::os::unix::fs::symlink(at(leads), at(to))),
        Deed::Rules(to, which) => {
            let rules = ["a", "b/", "!a\n/c", "*/b\n!b/c", ""][usize::from(which) % 5];
            let name = if which < 128 { ".gitignore" } else { ".ignore" };
            let above = at(to).parent().unwrap().to_path_buf();
            drop(fs::write(above.join(name), rules));
        }
        Deed::Read | Deed::Take => {}
    }
}

/// The thing at a path: a file with its content, a link, or a folder.
fn content(path: &Path) -> Option<String> {
    let about = fs::symlink_metadata(path).ok()?;
    Some(match about {
        about if about.is_dir() => "folder".into(),
        about if about.is_symlink() => format!("link to {:?}", fs::read(path).ok()),
        _ => format!("{:?}", fs::read(path).ok()?),
    })
}

type Mirror = BTreeMap<PathBuf, String>;

fn real(root: &Path, ignore_files: bool) -> Mirror {
    let mut builder = crate::fs::tree::builder(root, ignore_files);
    builder.hidden(false);
    let paths = builder.build().filter_map(Result::ok).filter(|entry| entry.depth() > 0).map(ignore::DirEntry::into_path);
    paths.filter_map(|path| content(&path).map(|content| (path, content))).collect()
}

/// A consumer that keeps a copy: it looks at what it is told of.
fn replay(mirror: &mut Mirror, root: &Path, ignore_files: bool, batch: Vec<Change>) {
    for change in batch {
        match change.kind {
            Kind::Overflow => *mirror = real(root, ignore_files),
            Kind::Removed => drop(mirror.remove(&change.path)),
            Kind::Made | Kind::Changed => match content(&change.path) {
                Some(content) => drop(mirror.insert(change.path, content)),
                None => drop(mirror.remove(&change.path)),
            },
        }
    }
}

fn drain(tree: &mut Tree, mirror: &mut Mirror, ignore_files: bool) {
    while let Some(batch) = tree.settling.take(Duration::ZERO) {
        let root = tree.root.clone();
        replay(mirror, &root, ignore_files, batch);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever happens to a tree, and whenever it is read and told: replayed, the changes give the tree.
    #[test]
    fn changes_replayed_are_the_tree(deeds in deeds(), ignore_files: bool) {
        let (folder, outside) = (Folder::new(), Folder::new());
        folder.file("a/b/c", b"0");
        if ignore_files {
            folder.dir(".git");
        }
        let mut tree = open(folder.root(), ignore_files);
        let mut mirror = real(folder.root(), ignore_files);
        for deed in &deeds {
            act(deed, &folder, &outside);
            if matches!(deed, Deed::Read | Deed::Take) {
                tree.read(&still, &on).unwrap();
            }
            if matches!(deed, Deed::Take) {
                drain(&mut tree, &mut mirror, ignore_files);
            }
        }
        tree.read(&still, &on).unwrap();
        drain(&mut tree, &mut mirror, ignore_files);
        prop_assert_eq!(mirror, real(folder.root(), ignore_files));
        prop_assert_eq!(tree.notes, Vec::<String>::new());
    }

    /// The same while they happen on another thread.
    #[test]
    fn changes_replayed_are_the_tree_while_it_changes(deeds in deeds()) {
        let (folder, outside) = (Folder::new(), Folder::new());
        let mut tree = open(folder.root(), false);
        let (mut mirror, done) = (Mirror::new(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for deed in &deeds {
                    act(deed, &folder, &outside);
                }
                done.store(true, Ordering::Release);
            });
            while !done.load(Ordering::Acquire) {
                tree.read(&still, &on).unwrap();
                drain(&mut tree, &mut mirror, false);
            }
        });
        tree.read(&still, &on).unwrap();
        drain(&mut tree, &mut mirror, false);
        prop_assert_eq!(mirror, real(folder.root(), false));
    }
}
