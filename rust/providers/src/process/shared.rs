//! The state that the reactor's thread shares with all others: its messages, and the children that live. `C` is the
//! child, which refers to this.

use std::sync::Arc;

use mio::Waker;
use mountain_core::sync::{Mutex, MutexGuard};
use slab::Slab;

pub(super) enum Message<C> {
    /// Start that child.
    Start(Arc<C>),
    /// Something about that child has changed.
    Look(Arc<C>),
}

pub(super) struct Shared<C> {
    process: u32,
    waker: Waker,
    inbox: Mutex<Vec<Message<C>>>,
    children: Mutex<Slab<Arc<C>>>,
}

impl<C> Shared<C> {
    /// `waker` wakes the reactor's thread.
    pub(super) fn new(waker: Waker) -> Self {
        Shared { process: std::process::id(), waker, inbox: Mutex::default(), children: Mutex::default() }
    }

    /// True in a forked process: the thread is not here, and the locks may be held for ever.
    pub(super) fn elsewhere(&self) -> bool {
        std::process::id() != self.process
    }

    pub(super) fn send(&self, message: Message<C>) {
        let mut inbox = self.inbox.lock();
        inbox.push(message);
        if inbox.len() == 1 {
            drop(inbox);
            // It fails only when the counter of wake-ups is full, and then the thread is awake.
            let _ = self.waker.wake();
        }
    }

    pub(super) fn start(&self, child: &Arc<C>) {
        self.send(Message::Start(child.clone()));
    }

    pub(super) fn look(&self, child: &Arc<C>) {
        self.send(Message::Look(child.clone()));
    }

    /// Empties the inbox.
    pub(super) fn take_messages(&self) -> Vec<Message<C>> {
        std::mem::take(&mut *self.inbox.lock())
    }

    /// Those that live, by key. A child's own lock may be held when this one is taken, not the other way round.
    pub(super) fn children(&self) -> MutexGuard<'_, Slab<Arc<C>>> {
        self.children.lock()
    }

    /// None where a thread holds the lock, which after a fork is for ever.
    pub(super) fn try_children(&self) -> Option<MutexGuard<'_, Slab<Arc<C>>>> {
        self.children.try_lock()
    }

    pub(super) fn child(&self, key: usize) -> Option<Arc<C>> {
        self.children.lock().get(key).cloned()
    }
}
