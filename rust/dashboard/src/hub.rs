//! The pages that are open: each is sent the whole state once, with the past, then the changes. One state is made for
//! all of them, and none while no page is open; the past is kept all the time.
//!
//! A new page gets the state and its place among the listeners under one lock, under which the ticker also makes the
//! next state and sends the changes: no page misses a change or gets one twice. A page that reads too slowly misses
//! changes, notices, and is sent the whole state again.

use std::sync::Arc;

use mountain_core::sync::Mutex;
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};

use crate::board::Board;
use crate::patch;
use crate::state::Maker;

/// Changes that wait for a slow reader.
const BEHIND: usize = 4;
/// Pages that may be open at a time.
const MOST: usize = 16;

pub(crate) struct Hub {
    board: Arc<Board>,
    state: Mutex<(Maker, Value)>,
    changes: Sender<Arc<str>>,
}

/// The next message for a listener.
pub(crate) enum Told {
    Snapshot(String),
    Delta(Arc<str>),
}

pub(crate) struct Listener {
    hub: Arc<Hub>,
    changes: Option<Receiver<Arc<str>>>,
}

impl Hub {
    pub(crate) fn new(board: Arc<Board>, maker: Maker) -> Self {
        Hub { board, state: Mutex::new((maker, Value::Null)), changes: broadcast::channel(BEHIND).0 }
    }

    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    /// Called at each tick, `seconds` after the last time: sends the changes to the pages that are open.
    pub(crate) fn tick(&self, seconds: f64) {
        let mut state = self.state.lock();
        let (maker, last) = &mut *state;
        maker.tick(seconds);
        if !self.is_watched() {
            return;
        }
        let next = maker.make(&self.board);
        if let Some(delta) = patch::between(last, &next) {
            // Fails only if every page has been closed meanwhile.
            let _ = self.changes.send(delta.to_string().into());
        }
        *last = next;
    }

    /// Whether a page is open.
    pub(crate) fn is_watched(&self) -> bool {
        self.changes.receiver_count() > 0
    }

    /// Adds a page. `None`: too many are open.
    pub(crate) fn listen(self: &Arc<Self>) -> Option<Listener> {
        (self.changes.receiver_count() < MOST).then(|| Listener { hub: self.clone(), changes: None })
    }
}

impl Listener {
    /// The next message. `None`: the server stops.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        if let Some(changes) = &mut self.changes {
            match changes.recv().await {
                Ok(delta) => return Some(Told::Delta(delta)),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
        let mut state = self.hub.state.lock();
        let (maker, last) = &mut *state;
        if self.hub.changes.receiver_count() == usize::from(self.changes.is_some()) {
            // No page was open, so the last state may be old.
            *last = maker.make(&self.hub.board);
        }
        self.changes = Some(self.hub.changes.subscribe());
        let mut whole = last.clone();
        whole["past"] = maker.past();
        drop(state);
        Some(Told::Snapshot(whole.to_string()))
    }
}
