//! The queue and the atomics under the protocols of this folder: the real ones, or those that loom sees into.

#[cfg(not(loom))]
pub(super) use crossbeam_queue::SegQueue as Queue;
#[cfg(loom)]
pub(super) use loom::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(loom))]
pub(super) use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(loom)]
pub(super) use model::Queue;

/// A queue that loom sees into, with the interface of the real one.
#[cfg(loom)]
mod model {
    use std::collections::VecDeque;

    use loom::sync::Mutex;

    pub(crate) struct Queue<T>(Mutex<VecDeque<T>>);

    impl<T> Queue<T> {
        pub(crate) fn new() -> Self {
            Queue(Mutex::new(VecDeque::new()))
        }
        pub(crate) fn push(&self, item: T) {
            self.0.lock().unwrap().push_back(item);
        }
        pub(crate) fn pop(&self) -> Option<T> {
            self.0.lock().unwrap().pop_front()
        }
        pub(crate) fn len(&self) -> usize {
            self.0.lock().unwrap().len()
        }
        pub(crate) fn is_empty(&self) -> bool {
            self.len() == 0
        }
    }
}
