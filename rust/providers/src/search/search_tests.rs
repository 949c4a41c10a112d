use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mountain_core::error::Error;
use mountain_core::value::Value;

use super::super::hit::{LONGEST, Line};
use super::{Feed, Match, Options, Search};
use crate::feed::{BATCH, NextBatch, ROOM};
use crate::testing::{Call, Folder, os_error, run, start};

fn lines(pattern: &str, root: impl Into<PathBuf>, options: Options) -> Feed<Match> {
    Search::new(pattern, root, options).unwrap().begin()
}

fn batch(call: &Call) -> Option<Vec<Match>> {
    match call.outcome() {
        Ok(Value::Other(found)) => Some(*found.downcast().unwrap()),
        Ok(Value::Unit) => None,
        other => panic!("{other:?}"),
    }
}

fn all(pattern: &str, root: &Path, options: Options) -> (Vec<Match>, Vec<(String, bool)>) {
    let next = NextBatch(Arc::new(lines(pattern, root, options)));
    let mut found = Vec::new();
    while let Some(more) = batch(&start(&next)) {
        found.extend(more);
    }
    (found, next.0.take_notes().into_iter().map(|note| (note.text, note.warning)).collect())
}

fn text(line: &Line) -> String {
    String::from_utf8_lossy(line).into_owned()
}

/// Each match as its name, line, column and text.
fn found(folder: &Folder, pattern: &str, options: Options) -> Vec<(String, u64, usize, String)> {
    let name = |path: &Path| path.strip_prefix(folder.root()).unwrap().to_string_lossy().into_owned();
    let mut found: Vec<_> = all(pattern, folder.root(), options)
        .0
        .iter()
        .map(|found| (name(&found.path), found.line, found.column, text(&found.text)))
        .collect();
    found.sort();
    found
}

#[test]
fn each_match_has_its_place_and_its_line() {
    let folder = Folder::new();
    folder.file("a", b"one\r\ntwo one\nthree");
    folder.file("x/b", b"\n\n  one");
    folder.file(".hidden", b"one");
    let matches = found(&folder, "one", Options::default());
    let expected = [("a", 1, 0, "one"), ("a", 2, 4, "two one"), ("x/b", 3, 2, "  one")];
    assert_eq!(matches, expected.map(|(path, line, column, text)| (path.to_string(), line, column, text.to_string())));
    assert_eq!(found(&folder, "one", Options { hidden: true, ..Options::default() }).len(), 4);
}

#[test]
fn each_match_has_all_lines_around_it() {
    let folder = Folder::new();
    let path = folder.file("file", b"1\n2\nx3\nx4\n5\n6\n7\nx8\n9");
    let options = Options { context: 2, ..Options::default() };
    let (matches, _) = all("x", &path, options.clone());
    let around = |i: usize| {
        let join = |lines: &[Line]| lines.iter().map(text).collect::<Vec<_>>().join(" ");
        (matches[i].line, join(&matches[i].before), join(&matches[i].after))
    };
    assert_eq!(matches.len(), 3);
    assert_eq!(around(0), (3, "1 2".into(), "x4 5".into()));
    assert_eq!(around(1), (4, "2 x3".into(), "5 6".into()));
    assert_eq!(around(2), (8, "6 7".into(), "9".into()));
    let (first, _) = all("x", &path, Options { max_per_file: Some(1), ..options.clone() });
    assert_eq!(first, matches[..1]);
    let (over, _) = all(r"2\nx3\nx4\n5", &path, Options { multiline: true, ..options });
    assert_eq!((over.len(), over[0].line, text(&over[0].text)), (1, 2, "2\nx3\nx4\n5".to_string()));
    assert_eq!((over[0].before.iter().map(text).collect::<Vec<_>>(), over[0].after.len()), (vec!["1".to_string()], 2));
}

#[test]
fn a_long_line_is_cut_and_says_so() {
    let folder = Folder::new();
    let mut line = vec![b'x'; 4 << 20];
    line[3 << 20..(3 << 20) + 6].copy_from_slice(b"needle");
    let (found, _) = all("needle", &folder.file("long", &line), Options::default());
    assert_eq!((found.len(), found[0].column, found[0].text.len()), (1, 3 << 20, LONGEST));
    let (before, after) = found[0].cut.unwrap();
    assert_eq!(before + LONGEST + after, 4 << 20);
    assert!(found[0].text[found[0].column - before..].starts_with(b"needle"));
}

#[test]
fn binary_files_end_at_their_null_byte_unless_they_are_named() {
    let folder = Folder::new();
    folder.file("early", b"one\n\0\none\n");
    let late = folder.file("late", &[&b"one\n".repeat(100_000)[..], b"\0\none\n"].concat());
    let (found, mut notes) = all("one", folder.root(), Options::default());
    // A whole buffer before the null byte is searched.
    assert!(!found.is_empty() && found.len() <= 100_000 && found.iter().all(|found| *found.path == *late));
    notes.sort();
    assert!(notes[0].0.contains("early: binary data from byte 4 on") && !notes[0].1, "{notes:?}");
    assert!(notes[1].0.contains("late: binary data from byte 400000 on") && notes[1].1, "{notes:?}");
    let (found, notes) = all("one", &late, Options::default());
    assert_eq!((found.len(), notes), (100_001, Vec::new()));
}

#[test]
fn a_root_that_is_missing_or_is_no_file() {
    let folder = Folder::new();
    let missing = folder.path("missing");
    let outcome = |root: &Path| run(&NextBatch(Arc::new(lines("x", root, Options::default()))));
    assert_eq!(os_error(outcome(&missing)), (libc::ENOENT, Some(missing)));
    assert!(matches!(outcome(&folder.fifo("fifo")), Err(Error::Invalid(_))));
    folder.file("file", b"x");
    assert_eq!(all("x", &folder.link("link", "file"), Options::default()).0.len(), 1);
    assert_eq!(all("x", folder.root(), Options::default()).0.len(), 1, "links in a tree are not followed");
    assert!(matches!(outcome(Path::new("a\0b")), Err(Error::Invalid(_))));
}

#[test]
fn matches_of_a_file_come_one_after_another() {
    let folder = Folder::new();
    for i in 0..20 {
        folder.file(&i.to_string(), "line\n".repeat(700).as_bytes());
    }
    let (found, _) = all("line", folder.root(), Options::default());
    let mut seen: BTreeMap<_, u64> = BTreeMap::new();
    let mut last = None;
    for each in &found {
        let lines = seen.entry(each.path.clone()).or_default();
        assert!(last == Some(each.path.clone()) || *lines == 0, "{} comes in parts", each.path.display());
        *lines += 1;
        assert_eq!(each.line, *lines);
        last = Some(each.path.clone());
    }
    assert!(seen.len() == 20 && seen.values().all(|lines| *lines == 700));
}

#[test]
fn a_slow_consumer_holds_the_search_up_and_a_drop_frees_it() {
    let folder = Folder::new();
    for i in 0..40 {
        folder.file(&i.to_string(), "line\n".repeat(ROOM).as_bytes());
    }
    let feed = Arc::new(lines("line", folder.root(), Options::default()));
    assert!(batch(&start(&NextBatch(feed.clone()))).is_some());
    while feed.waiting() < ROOM {
        std::thread::yield_now();
    }
    assert!(feed.waiting() < ROOM + 2 * BATCH);
    let shared = Arc::downgrade(&feed.0);
    drop(feed);
    while shared.strong_count() > 0 {
        std::thread::yield_now(); // its threads let go
    }
}

#[test]
fn a_file_without_a_match_is_left_in_its_middle() {
    let folder = Folder::new();
    let path = folder.file("large", &b"hay and hay again\n".repeat(2_000_000));
    let feed = Arc::new(lines(r"(\w+\s+){3,5}[x-z]\d", &path, Options::default()));
    let call = start(&NextBatch(feed.clone()));
    assert!(call.within(20).is_none());
    let shared = Arc::downgrade(&feed.0);
    drop((call, feed));
    let began = std::time::Instant::now();
    while shared.strong_count() > 0 {
        std::thread::yield_now();
    }
    assert!(began.elapsed().as_millis() < 200, "the whole file takes seconds");
}

#[test]
fn a_line_that_is_too_long_for_the_memory_ends_its_file_with_a_warning() {
    let folder = Folder::new();
    let path = folder.path("sparse");
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let (found, notes) = all("needle", &path, Options::default());
    assert!(found.is_empty() && notes.len() == 1 && notes[0].1, "{notes:?}");
}
