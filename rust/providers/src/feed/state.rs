//! The queue of a feed, and the call that waits for a batch of it.

use std::collections::VecDeque;

use mountain_core::effect::{AtWork, Done};
use mountain_core::error::Error;
use mountain_core::value::Value;

/// The largest batch, by weight: what a loop can turn into objects without a stall.
pub(crate) const BATCH: usize = 256;
/// The weight of the items, and the number of notes, that wait at most; then the threads do.
pub(crate) const ROOM: usize = 16 * BATCH;

pub(super) struct State<T> {
    pub(super) ended: bool,
    pub(super) ready: VecDeque<(T, usize)>,
    pub(super) weight: usize,
    pub(super) failed: Option<Error>,
    pub(super) notes: Vec<Note>,
    /// The call that waits for a batch, with what holds virtual time, and the number of the request.
    pub(super) asked: Option<(Done, Option<AtWork>)>,
    pub(super) requests: u64,
}

impl<T> Default for State<T> {
    fn default() -> Self {
        State { ended: false, ready: VecDeque::new(), weight: 0, failed: None, notes: Vec::new(), asked: None, requests: 0 }
    }
}

/// A remark of a thread beside its items.
#[derive(Debug, PartialEq, Eq)]
pub struct Note {
    pub text: String,
    /// Something is missing that the consumer may expect.
    pub warning: bool,
}

/// A call, and its outcome: it is told once the lock is free.
pub(super) type Answer = ((Done, Option<AtWork>), Result<Value, Error>);

impl<T: Send + 'static> State<T> {
    /// The call that waits, with the batch that there is for it; None without either.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        if self.ready.is_empty() && !self.ended && self.notes.len() < ROOM {
            return None;
        }
        let done = self.asked.take()?;
        let outcome = if !self.ready.is_empty() || (!self.ended && self.notes.len() >= ROOM) {
            Ok(Value::Other(Box::new(self.batch())))
        } else if let Some(e) = self.failed.take() {
            Err(e)
        } else {
            Ok(Value::Unit)
        };
        Some((done, outcome))
    }

    /// At least one item, if there is one, and no more than a loop can take at once.
    fn batch(&mut self) -> Vec<T> {
        let (mut batch, mut weight) = (Vec::new(), 0);
        while let Some((_, next)) = self.ready.front()
            && (batch.is_empty() || weight + next <= BATCH)
        {
            let Some((item, next)) = self.ready.pop_front() else { break };
            weight += next;
            batch.push(item);
        }
        self.weight -= weight;
        batch
    }
}

pub(super) fn finish(answer: Option<Answer>) {
    if let Some(((done, _at_work), outcome)) = answer {
        done.finish(outcome);
    }
}
