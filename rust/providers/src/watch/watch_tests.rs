use std::sync::Arc;
use std::time::{Duration, Instant};

use mountain_core::effect::AtWork;
use mountain_core::error::Error;
use mountain_core::value::Value;

use super::super::change::{Change, Kind};
use super::{Batch, watch};
use crate::feed::{Batches, Feed, NextBatch};
use crate::testing::{Call, Folder, start};

const SETTLE: Duration = Duration::from_millis(5);

fn batches(call: &Call) -> Option<Vec<Change>> {
    match call.outcome() {
        Ok(Value::Other(batches)) => Some(batches.downcast::<Vec<Batch>>().unwrap().into_iter().flatten().collect()),
        Ok(Value::Unit) => None,
        other => panic!("{other:?}"),
    }
}

fn begun(folder: &Folder) -> (Arc<Feed<Batch>>, NextBatch) {
    let feed = Arc::new(watch(folder.root(), SETTLE, false, true));
    let next = NextBatch(feed.clone());
    assert_eq!(batches(&start(&next)), Some(vec![]), "it is in place");
    (feed, next)
}

#[test]
fn a_slow_consumer_gets_what_changed_meanwhile_as_one_batch() {
    let folder = Folder::new();
    let (_feed, next) = begun(&folder);
    let mut changed = Vec::new();
    for number in 0..100 {
        let path = folder.file(&format!("{number:03}"), b"");
        changed.push(Change { path, kind: Kind::Made });
    }
    folder.file("gone", b"");
    std::fs::remove_file(folder.path("gone")).unwrap();
    assert_eq!(batches(&start(&next)), Some(changed));
}

#[test]
fn it_ends_when_it_is_closed_and_lets_go_of_all_it_has() {
    let folder = Folder::new();
    let (feed, next) = begun(&folder);
    let call = start(&next);
    let shared = Arc::downgrade(&feed.0);
    let closed = Instant::now();
    feed.close();
    assert!(matches!(call.within(1000), Some(Err(Error::Cancelled))));
    assert_eq!(batches(&start(&next)), None);
    drop((feed, next, call));
    while shared.strong_count() > 0 {
        assert!(closed.elapsed() < Duration::from_secs(5));
        std::thread::yield_now(); // its thread lets go
    }
}

#[test]
fn a_request_that_waits_is_no_work_for_virtual_time_while_it_is_quiet() {
    let folder = Folder::new();
    let (_feed, next) = begun(&folder);
    let before = AtWork::count();
    let call = start(&next);
    while AtWork::count() > before {
        std::thread::yield_now(); // other tests begin work, too, and end it
    }
    folder.file("x", b"");
    assert_eq!(batches(&call).map(|all| all.len()), Some(1));
}

#[test]
fn a_root_that_is_missing_is_the_outcome() {
    let folder = Folder::new();
    let feed = Arc::new(watch(folder.path("missing"), SETTLE, false, false));
    assert!(matches!(start(&NextBatch(feed)).within(5000), Some(Err(Error::Os(e))) if e.errno == libc::ENOENT));
}
