//! A single consumer: many threads queue work, and one at a time does it. A mailbox calls its consumer once more for
//! items that come while it drains; here the consumer finds these itself, so that a steady flow sends no wake-ups.
//!
//!  1. A producer queues its item. If `taken` was false it takes the role, and sends a consumer.
//!  2. The consumer takes items. When it finds none, `taken := false`.
//!  3. It looks once more: an item queued before 2 is found now, and it takes the role again, unless a producer has
//!     done so meanwhile and sends the next consumer. An item queued after 2 finds `taken` false.
//!
//! All accesses are `SeqCst`, for the reason that the mailbox gives.

use super::queue::{AtomicBool, Ordering, Queue};

pub struct SingleConsumer<T> {
    queue: Queue<T>,
    taken: AtomicBool,
}

impl<T> Default for SingleConsumer<T> {
    fn default() -> Self {
        SingleConsumer { queue: Queue::new(), taken: AtomicBool::new(false) }
    }
}

impl<T> SingleConsumer<T> {
    /// Queues an item (step 1). True: the caller must send a consumer.
    #[must_use]
    pub fn hand_over(&self, item: T) -> bool {
        self.queue.push(item);
        self.take()
    }

    /// The next item, for the consumer.
    pub fn next(&self) -> Option<T> {
        self.queue.pop()
    }

    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Steps 2 and 3. False: there is more to do, and the caller is still the consumer.
    #[must_use]
    pub fn leave(&self) -> bool {
        // A swap, not a store, as in the mailbox.
        self.taken.swap(false, Ordering::SeqCst);
        self.queue.is_empty() || !self.take()
    }

    fn take(&self) -> bool {
        !self.taken.load(Ordering::SeqCst) && !self.taken.swap(true, Ordering::SeqCst)
    }
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    /// Does what there is, then gives up the role. `busy` shows that there is no second consumer.
    fn serve(consumer: &SingleConsumer<u32>, done: &Mutex<Vec<u32>>, busy: &AtomicBool) {
        loop {
            assert!(!busy.swap(true, Ordering::SeqCst));
            while let Some(item) = consumer.next() {
                done.lock().unwrap().push(item);
            }
            busy.store(false, Ordering::SeqCst);
            if consumer.leave() {
                return;
            }
        }
    }

    /// A thread that is asked to send a consumer serves itself: when all have returned, nothing is left.
    #[test]
    fn nothing_is_left_behind() {
        loom::model(|| {
            let shared = Arc::new((SingleConsumer::default(), Mutex::new(Vec::new()), AtomicBool::new(false)));
            let producers: Vec<_> = (0..2)
                .map(|i| {
                    let shared = shared.clone();
                    thread::spawn(move || {
                        if shared.0.hand_over(i) {
                            serve(&shared.0, &shared.1, &shared.2);
                        }
                    })
                })
                .collect();
            if shared.0.hand_over(2) {
                serve(&shared.0, &shared.1, &shared.2);
            }
            producers.into_iter().for_each(|p| p.join().unwrap());
            let mut done = std::mem::take(&mut *shared.1.lock().unwrap());
            done.sort_unstable();
            assert_eq!(done, [0, 1, 2]);
            assert!(!shared.0.taken.load(Ordering::SeqCst), "nobody is the consumer any more");
        });
    }
}
