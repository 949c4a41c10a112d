use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mountain_core::error::Error;
use mountain_core::value::Value;

use super::{Batches, Feed, NextBatch};
use crate::feed::{BATCH, ROOM};
use crate::testing::{Call, Gate, run, start};

fn batch(call: &Call) -> Option<Vec<usize>> {
    match call.outcome() {
        Ok(Value::Other(items)) => Some(*items.downcast().unwrap()),
        Ok(Value::Unit) => None,
        other => panic!("{other:?}"),
    }
}

fn next<T: Send + 'static>(feed: &Arc<Feed<T>>) -> NextBatch {
    NextBatch(feed.clone())
}

#[test]
fn batches_and_room_are_bounded_by_weight() {
    let feed = Arc::new(Feed::new("count", "mountain-count", |feed| {
        for number in 0..3 * ROOM {
            if !feed.push([(number, 16)]) {
                return;
            }
        }
    }));
    let next = next(&feed);
    let mut seen = batch(&start(&next)).unwrap();
    while feed.waiting() < ROOM {
        std::thread::yield_now();
    }
    while let Some(more) = batch(&start(&next)) {
        assert!(!more.is_empty() && more.len() <= BATCH / 16 && feed.waiting() <= ROOM);
        seen.extend(more);
    }
    assert!(seen.into_iter().eq(0..3 * ROOM));
    assert!(batch(&start(&next)).is_none(), "the end stays the end");
}

#[test]
fn an_item_that_outweighs_a_batch_comes_alone() {
    let feed = Arc::new(Feed::new("count", "mountain-count", |feed| {
        feed.push([(1usize, 10 * BATCH), (2, 1), (3, 1)]);
    }));
    let next = next(&feed);
    assert_eq!(batch(&start(&next)), Some(vec![1]));
    assert_eq!(batch(&start(&next)), Some(vec![2, 3]));
    assert_eq!(batch(&start(&next)), None);
}

#[test]
fn requests_are_aborted_or_refused() {
    let gate = Gate::default();
    let held = gate.clone();
    let feed = Arc::new(Feed::new("count", "mountain-count", move |feed| {
        held.wait();
        feed.push([(1usize, 1)]);
    }));
    let next = next(&feed);
    let call = start(&next);
    assert!(matches!(start(&next).within(1000), Some(Err(Error::Invalid(_)))));
    call.abort.abort();
    assert!(matches!(call.within(1000), Some(Err(Error::Cancelled))));
    let again = start(&next);
    call.abort.abort();
    assert!(again.within(20).is_none(), "an old request's abort is nothing to a new one");
    feed.close();
    assert!(matches!(again.within(1000), Some(Err(Error::Cancelled))));
    assert!(batch(&start(&next)).is_none());
    gate.open();
}

#[test]
fn a_feed_that_is_closed_before_its_first_batch_never_begins() {
    let begun = Arc::new(AtomicBool::new(false));
    let witness = begun.clone();
    let feed = Arc::new(Feed::<usize>::new("count", "mountain-count", move |_| witness.store(true, Ordering::SeqCst)));
    feed.close();
    assert!(batch(&start(&next(&feed))).is_none());
    assert!(Arc::strong_count(&begun) == 1 && !begun.load(Ordering::SeqCst), "its work is dropped");
}

#[test]
fn a_failure_comes_after_what_was_found_and_a_panic_is_one() {
    let feed = Arc::new(Feed::new("count", "mountain-count", |feed| {
        feed.push([(1usize, 1)]);
        feed.fail(Error::Invalid("no more".into()));
    }));
    assert_eq!(batch(&start(&next(&feed))), Some(vec![1]));
    assert!(matches!(run(&next(&feed)), Err(Error::Invalid(_))));
    assert!(batch(&start(&next(&feed))).is_none());
    let feed = Arc::new(Feed::<usize>::new("count", "mountain-count", |_| panic!("a bug")));
    assert!(matches!(run(&next(&feed)), Err(Error::Panic(_))));
}

#[test]
fn notes_are_bounded_and_are_taken_while_no_item_comes() {
    let feed = Arc::new(Feed::<usize>::new("count", "mountain-count", |feed| {
        for number in 0..ROOM + 5 {
            if !feed.warn(number.to_string()) {
                return;
            }
        }
    }));
    let next = next(&feed);
    assert_eq!(batch(&start(&next)), Some(vec![]), "an empty batch, so that they are taken");
    assert_eq!(feed.take_notes().len(), ROOM);
    assert_eq!(batch(&start(&next)), None);
    assert_eq!(feed.take_notes().len(), 5);
}

#[test]
fn threads_that_wait_for_room_end_with_the_feed() {
    let feed = Feed::new("count", "mountain-count", |feed| while feed.push([(0usize, BATCH)]) {});
    let feed = Arc::new(feed);
    assert!(batch(&start(&next(&feed))).is_some());
    while feed.waiting() < ROOM {
        std::thread::yield_now();
    }
    let shared = Arc::downgrade(&feed.0);
    drop(feed);
    while shared.strong_count() > 0 {
        std::thread::yield_now(); // its thread lets go
    }
}
