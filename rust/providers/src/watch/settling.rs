//! Marks on paths become settled batches of changes: a pure function of the marks and of the time, which its caller
//! moves.

use std::collections::{BTreeSet, HashMap};
use std::mem::take;
use std::path::PathBuf;
use std::time::Duration;

use super::change::{Change, Kind};

/// The longest wait for quiet, in times of `settle`: a tree that is never quiet is told of, too.
const LONGEST: u32 = 20;
/// The paths that wait at most to be told; of more, only the overflow is.
pub(super) const BOUND: usize = 1 << 17;
/// The largest batch: what a loop can turn into objects without a stall.
pub(super) const BATCH: usize = 4096;
/// The folders that are told as lost one by one; of more, the root is.
const LOST: usize = 64;

/// Whether a path was there when it was told of last, and whether it is now.
#[derive(Clone, Copy)]
struct Mark {
    before: bool,
    now: bool,
}

pub(super) struct Settling {
    root: PathBuf,
    settle: Duration,
    marks: HashMap<PathBuf, Mark>,
    lost: BTreeSet<PathBuf>,
    /// When the first and the last of the marks came.
    since: Option<(Duration, Duration)>,
    /// A batch is due now, an empty one, too.
    at_once: bool,
    /// The rest of a batch that was too large, last change first.
    rest: Vec<Change>,
}

impl Settling {
    pub(super) fn new(root: PathBuf, settle: Duration) -> Self {
        let (marks, lost) = (HashMap::new(), BTreeSet::new());
        Settling { root, settle, marks, lost, since: None, at_once: false, rest: Vec::new() }
    }

    /// Something happened to `path`, which was there or not before, and is now or not.
    pub(super) fn mark(&mut self, path: PathBuf, before: bool, now: bool, at: Duration) {
        if self.lost.contains(&self.root) {
            return; // its consumer looks at the tree after it is told
        }
        if let Some(mark) = self.marks.get_mut(&path) {
            mark.now = now;
            if !mark.before && !now {
                self.marks.remove(&path);
            }
        } else if !before && !now {
            return;
        } else if self.marks.len() == BOUND {
            return self.lose(self.root.clone(), at);
        } else {
            self.marks.insert(path, Mark { before, now });
        }
        self.touch(at);
    }

    /// Changes at `path` and below were lost, or will be.
    pub(super) fn lose(&mut self, path: PathBuf, at: Duration) {
        if path == self.root || self.lost.len() == LOST {
            self.marks.clear();
            self.rest.clear();
            self.lost = BTreeSet::from([self.root.clone()]);
        } else if !self.lost.contains(&self.root) {
            self.lost.insert(path);
        }
        self.touch(at);
    }

    /// A batch of the marks is due without a wait, and an empty one if there are none.
    pub(super) fn at_once(&mut self) {
        self.at_once = true;
    }

    fn touch(&mut self, at: Duration) {
        let first = self.since.map_or(at, |(first, _)| first);
        self.since = Some((first, at));
    }

    /// When a batch is due; None: when something happens.
    pub(super) fn due(&self) -> Option<Duration> {
        if self.at_once || !self.rest.is_empty() {
            return Some(Duration::ZERO);
        }
        let (first, last) = self.since?;
        Some((last + self.settle).min(first + self.settle * LONGEST))
    }

    /// The next batch, if it is due: folders before what is in them. Empty only where one was due at once.
    pub(super) fn take(&mut self, now: Duration) -> Option<Vec<Change>> {
        if self.due().is_none_or(|due| now < due) {
            return None;
        }
        if self.rest.is_empty() {
            self.since = None;
            let lost = take(&mut self.lost).into_iter().map(|path| Change { path, kind: Kind::Overflow });
            let marks = take(&mut self.marks).into_iter().filter_map(|(path, mark)| Some(Change { path, kind: kind(mark)? }));
            self.rest = lost.chain(marks).collect();
            self.rest.sort_unstable_by(|a, b| b.path.as_os_str().cmp(a.path.as_os_str()).then(b.kind.cmp(&a.kind)));
        }
        let batch = self.rest.split_off(self.rest.len().saturating_sub(BATCH));
        let told = !batch.is_empty() || take(&mut self.at_once);
        self.at_once = false;
        told.then(|| batch.into_iter().rev().collect())
    }
}

fn kind(mark: Mark) -> Option<Kind> {
    match (mark.before, mark.now) {
        (false, true) => Some(Kind::Made),
        (true, true) => Some(Kind::Changed),
        (true, false) => Some(Kind::Removed),
        (false, false) => None,
    }
}

#[cfg(test)]
#[path = "settling_tests.rs"]
mod tests;
