use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::super::change::{Change, Kind};
use super::{BATCH, BOUND, LOST, Settling};

const SETTLE: Duration = Duration::from_millis(50);

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn settling() -> Settling {
    Settling::new("/r".into(), SETTLE)
}

fn told(batch: Option<Vec<Change>>) -> Option<Vec<(String, Kind)>> {
    batch.map(|all| all.into_iter().map(|c| (c.path.display().to_string(), c.kind)).collect())
}

fn one(path: &str, kind: Kind) -> Vec<(String, Kind)> {
    vec![(path.into(), kind)]
}

#[test]
fn a_batch_is_due_when_it_has_been_quiet() {
    let mut s = settling();
    assert_eq!(s.due(), None);
    s.mark("/r/a".into(), false, true, at(10));
    assert_eq!(s.due(), Some(at(60)));
    s.mark("/r/b".into(), true, true, at(40));
    assert_eq!(s.due(), Some(at(90)), "it is not quiet yet");
    assert_eq!(s.take(at(89)), None);
    let both = vec![("/r/a".into(), Kind::Made), ("/r/b".into(), Kind::Changed)];
    assert_eq!(told(s.take(at(90))), Some(both));
    assert_eq!((s.due(), s.take(at(500))), (None, None));
}

#[test]
fn a_tree_that_is_never_quiet_is_told_of() {
    let mut s = settling();
    for ms in (0..1000).step_by(10) {
        assert_eq!(s.take(at(ms)), None);
        s.mark("/r/log".into(), true, true, at(ms));
    }
    assert_eq!(s.due(), Some(at(1000)));
    assert_eq!(told(s.take(at(1000))), Some(one("/r/log", Kind::Changed)));
}

#[test]
fn what_came_and_went_is_nothing_and_a_replacement_is_one_change() {
    let mut s = settling();
    s.mark("/r/temp".into(), false, true, at(0));
    s.mark("/r/temp".into(), true, true, at(1));
    s.mark("/r/temp".into(), true, false, at(2));
    s.mark("/r/file".into(), true, true, at(2));
    s.mark("/r/gone".into(), true, false, at(3));
    s.mark("/r/gone".into(), false, true, at(4));
    let all = vec![("/r/file".into(), Kind::Changed), ("/r/gone".into(), Kind::Changed)];
    assert_eq!(told(s.take(at(60))), Some(all));
    s.mark("/r/temp".into(), false, true, at(100));
    s.mark("/r/temp".into(), true, false, at(101));
    assert_eq!(s.take(at(200)), None, "no empty batch");
    assert_eq!(s.due(), None, "and no wake-up for it");
}

#[test]
fn large_batches_come_in_parts_and_paths_are_bounded() {
    let mut s = settling();
    for number in 0..=BATCH {
        s.mark(format!("/r/{number:06}").into(), false, true, at(0));
    }
    assert_eq!(s.take(at(50)).map(|all| all.len()), Some(BATCH));
    s.mark("/r/later".into(), false, true, at(50));
    assert_eq!(told(s.take(at(50))), Some(one(&format!("/r/{BATCH:06}"), Kind::Made)), "the rest of it, with no wait");
    assert_eq!(s.take(at(50)), None);
    for number in 0..BOUND {
        s.mark(format!("/r/{number:06}").into(), true, true, at(60));
    }
    assert!(s.marks.is_empty(), "what does not fit is not kept");
    assert_eq!(told(s.take(at(200))), Some(one("/r", Kind::Overflow)));
    s.mark("/r/x".into(), false, true, at(300));
    assert_eq!(told(s.take(at(400))), Some(one("/r/x", Kind::Made)), "and it goes on");
}

#[test]
fn lost_folders_are_told_one_by_one_until_they_are_many() {
    let mut s = settling();
    s.lose("/r/b".into(), at(0));
    s.lose("/r/b".into(), at(0));
    s.mark("/r/a".into(), false, true, at(0));
    let all = vec![("/r/a".into(), Kind::Made), ("/r/b".into(), Kind::Overflow)];
    assert_eq!(told(s.take(at(50))), Some(all));
    for number in 0..=LOST {
        s.lose(format!("/r/{number}").into(), at(100));
    }
    assert_eq!(told(s.take(at(200))), Some(one("/r", Kind::Overflow)));
}

#[test]
fn a_batch_that_is_due_at_once_comes_even_if_it_is_empty() {
    let mut s = settling();
    s.at_once();
    assert_eq!(s.take(at(0)), Some(vec![]));
    assert_eq!(s.take(at(100)), None, "once");
}

/// Marks as a tree makes them: each name is there or not, and time goes on.
fn marks() -> impl Strategy<Value = Vec<(u8, bool, u64)>> {
    proptest::collection::vec((0..12u8, any::<bool>(), 0..80u64), 0..120)
}

proptest! {
    /// Whenever batches are taken: replayed, they give what is there; none comes early, none names a path twice.
    #[test]
    fn batches_replayed_are_what_is_there(marks in marks(), hungry in any::<u64>()) {
        let (mut s, mut there, mut replayed) = (settling(), [false; 12], BTreeSet::<PathBuf>::new());
        let (mut now, mut last, mut first) = (at(0), None::<Duration>, None::<Duration>);
        for (turn, (name, exists, wait)) in marks.into_iter().enumerate() {
            now += at(wait);
            if hungry >> (turn % 64) & 1 == 1 && let Some(batch) = s.take(now) {
                let (last, first) = (last.take().unwrap(), first.take().unwrap());
                prop_assert!(now >= last + SETTLE || now >= first + SETTLE * 20);
                replay(&mut replayed, &batch)?;
            }
            let before = std::mem::replace(&mut there[usize::from(name)], exists);
            if before || exists {
                s.mark(path(name), before, exists, now);
                last = Some(now);
                first = first.or(Some(now));
            }
        }
        now += SETTLE;
        if let Some(batch) = s.take(now) {
            replay(&mut replayed, &batch)?;
        }
        prop_assert_eq!(s.due(), None);
        let real = (0..12u8).filter(|&n| there[usize::from(n)]).map(path);
        prop_assert!(replayed.into_iter().eq(sorted(real.collect())));
    }
}

fn path(name: u8) -> PathBuf {
    Path::new("/r").join(name.to_string())
}

fn sorted(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort();
    paths
}

fn replay(seen: &mut BTreeSet<PathBuf>, batch: &[Change]) -> Result<(), TestCaseError> {
    prop_assert!(!batch.is_empty());
    prop_assert!(batch.is_sorted_by(|a, b| a.path < b.path));
    for change in batch {
        let before = seen.contains(&change.path);
        match change.kind {
            Kind::Made => prop_assert!(!before && seen.insert(change.path.clone())),
            Kind::Changed => prop_assert!(before),
            Kind::Removed => prop_assert!(seen.remove(&change.path)),
            Kind::Overflow => prop_assert!(false, "nothing was lost"),
        }
    }
    Ok(())
}
