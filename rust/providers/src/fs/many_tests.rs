use std::fs;
use std::path::PathBuf;

use mountain_core::effect::Outcome;
use mountain_core::error::Error;
use mountain_core::value::Value;

use super::ReadMany;
use crate::testing::{Folder, Vectors, contents, os_error, run, start, start_held};

fn files(folder: &Folder, count: usize) -> (Vec<PathBuf>, Vec<Vec<u8>>) {
    let content = |i: usize| vec![(i % 256) as u8; (i * 37) % 9000];
    (0..count).map(|i| (folder.file(&format!("{i}"), &content(i)), content(i))).unzip()
}

fn list(outcome: Outcome) -> Vec<Vec<u8>> {
    match outcome {
        Ok(Value::Filled(filled)) if !filled.single => contents(&filled),
        other => panic!("{other:?}"),
    }
}

#[test]
fn many_in_their_order() {
    let folder = Folder::new();
    let (paths, expected) = files(&folder, 700);
    let read = ReadMany::new(paths.clone());
    assert!(list(run(&read)) == expected);
    assert!(list(run(&read)) == expected, "a value can be run again");
    assert!(list(run(&ReadMany::new(vec![paths[3].clone()]))) == expected[3..4]);
    assert!(matches!(run(&ReadMany::new(Vec::<PathBuf>::new())), Ok(Value::List(none)) if none.is_empty()));
}

#[test]
fn files_that_change_between_stat_and_read() {
    let folder = Folder::new();
    let (mut paths, mut expected) = files(&folder, 40);
    paths.push("/proc/version".into());
    expected.push(fs::read("/proc/version").unwrap());
    let (call, held) = start_held(&ReadMany::new(paths.clone()));
    let (sizes, then) = held.recv().unwrap();
    assert_eq!(sizes[..40], expected[..40].iter().map(Vec::len).collect::<Vec<_>>()[..]);
    for (i, now) in [(3, 0), (4, 10), (5, 100_000), (0, 5)] {
        expected[i] = vec![b'!'; now];
        fs::write(&paths[i], &expected[i]).unwrap();
    }
    then(Vectors::of(&sizes));
    assert!(list(call.outcome()) == expected);
}

#[test]
fn the_first_failure_is_the_outcome() {
    let folder = Folder::new();
    let (mut paths, _) = files(&folder, 100);
    paths[60] = folder.path("absent");
    assert_eq!(os_error(run(&ReadMany::new(paths.clone()))), (libc::ENOENT, Some(paths[60].clone())));
    paths[60] = folder.root().to_path_buf();
    assert_eq!(os_error(run(&ReadMany::new(paths.clone()))), (libc::EISDIR, Some(paths[60].clone())));
    paths[60] = "a\0b".into();
    assert!(matches!(run(&ReadMany::new(paths.clone())), Err(Error::Invalid(_))));
    // It does not wait for a file that never ends.
    paths[59] = folder.fifo("fifo");
    paths[60] = folder.path("absent");
    assert_eq!(os_error(run(&ReadMany::new(paths))).0, libc::ENOENT);
}

#[test]
fn aborts_in_every_phase() {
    let folder = Folder::new();
    let (mut paths, _) = files(&folder, 50);
    let read = ReadMany::new(paths.clone());
    for _ in 0..200 {
        let call = start(&read);
        call.abort.abort();
        assert!(matches!(call.outcome(), Err(Error::Cancelled) | Ok(Value::Filled(_))));
        assert!(call.within(0).is_none());
    }
    let (call, held) = start_held(&read);
    let (sizes, then) = held.recv().unwrap();
    call.abort.abort();
    assert!(matches!(call.within(1000), Some(Err(Error::Cancelled))));
    then(Vectors::of(&sizes));
    assert!(call.within(20).is_none());
    let (call, held) = start_held(&read);
    drop(held.recv().unwrap());
    assert!(matches!(call.within(1000), Some(Err(Error::Cancelled))));
    paths[7] = folder.fifo("fifo");
    let call = start(&ReadMany::new(paths));
    assert!(call.within(50).is_none());
    call.abort.abort();
    assert!(matches!(call.within(1000), Some(Err(Error::Cancelled))));
}
