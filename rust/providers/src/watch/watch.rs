//! A watch: a thread that keeps up with the kernel's queue, whatever its consumer does.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mountain_core::error::Error;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::change::Change;
use super::tree::Tree;
use crate::feed::{Feed, Shared};
use crate::fs::failure;

/// Changes that are told together.
pub type Batch = Vec<Change>;

/// After events, the thread lets more of them come: one that wakes for each is in the way of who makes the changes.
const NAP: Duration = Duration::from_millis(1);

/// The changes of a tree from the first request on. `settle`: the quiet that ends a batch. `ignore_files`: what
/// .gitignore and its like leave out is not there. `existing`: the first batches are what is there already.
pub fn watch(root: impl Into<PathBuf>, settle: Duration, ignore_files: bool, existing: bool) -> Feed<Batch> {
    let root = root.into();
    Feed::expecting("watch", "mountain-watch", move |feed| {
        if let Err(e) = run(feed, root, settle, ignore_files, existing) {
            feed.fail(e);
        }
    })
}

fn run(feed: &Shared<Batch>, root: PathBuf, settle: Duration, ignore_files: bool, existing: bool) -> Result<(), Error> {
    let began = Instant::now();
    let system = |e: io::Error| failure(&e, &root);
    let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|e| system(e.into()))?);
    let rung = bell.clone();
    feed.on_request(move || ring(&rung));
    let stop = || feed.is_closed();
    let mut tree = match Tree::open(root.clone(), settle, ignore_files, existing, &stop) {
        Ok(tree) => tree,
        Err((e, notes)) => {
            let _ = notes.into_iter().all(|text| feed.warn(text));
            return Err(system(e));
        }
    };
    let clock = || began.elapsed();
    while !feed.is_closed() {
        let request = feed.request();
        // Before each batch: one that settled must not split what the queue still has.
        let any = tree.read(&clock, &stop).map_err(system)?;
        for text in tree.take_notes() {
            if !feed.warn(text) {
                return Ok(());
            }
        }
        let hungry = feed.is_hungry();
        if hungry && let Some(batch) = tree.settling.take(clock()) {
            if !feed.push([(batch, 1)]) {
                return Ok(());
            }
            continue;
        }
        let due = tree.settling.due();
        if due.is_none() {
            if let Some(e) = tree.failed() {
                return Err(system(e));
            }
            feed.rests(request);
        }
        if any {
            sleep(&[bell.as_fd()], Some(NAP.min(settle))).map_err(system)?;
        } else {
            let wait = due.filter(|_| hungry).map(|due| due.saturating_sub(clock()));
            sleep(&[tree.queue(), bell.as_fd()], wait).map_err(system)?;
        }
        feed.works();
        silence(&bell);
    }
    Ok(())
}

/// Until one of them has something to read, or so long.
fn sleep(on: &[std::os::fd::BorrowedFd<'_>], time: Option<Duration>) -> io::Result<()> {
    let mut on: Vec<PollFd<'_>> = on.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    let time = time.map(|time| Timespec::try_from(time).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }));
    match poll(&mut on, time.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn ring(bell: &OwnedFd) {
    let _ = rustix::io::write(bell, &1u64.to_ne_bytes()); // full: it rings already
}

fn silence(bell: &OwnedFd) {
    let _ = rustix::io::read(bell, &mut [0u8; 8]);
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
