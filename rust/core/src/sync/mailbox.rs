//! A mailbox: many producers post, one consumer drains, and a bell is rung only when the box goes from heard to
//! unheard.
//!
//! The protocol. `rung` means: the bell has been rung and the consumer has not yet begun the drain that answers it.
//!
//! Producer
//!  1. push the message;
//!  2. if `rung` was false, set it; the thread that changed it from false to true rings the bell.
//!
//! Consumer, when the bell has called it
//!  3. silence the bell (the owner's part: read the eventfd), then `rung := false`;
//!  4. pop messages, as many as its bound allows;
//!  5. if messages are left, do step 2 itself, so that the loop calls it again.
//!
//! Races
//!  - A message pushed before 3 is popped in 4 or found in 5. One pushed after 3 finds `rung` false in 2 and rings, or
//!    finds it true because another thread rang after 3; in both cases the consumer is called again. All accesses are
//!    `SeqCst`: with less, the push of 1 may become visible after the load of 2, and a message lies in the box while
//!    the bell stays silent.
//!  - `close` sets `closed`, then empties the box. A producer looks at `closed` after its push: it either sees it and
//!    empties the box itself, or its push came before the emptying of `close`. A message is never left in a closed box;
//!    it is dropped where it is found.

use super::queue::{AtomicBool, Ordering, Queue};

/// Calls the consumer, from any thread. Spurious calls are harmless.
pub trait Bell {
    fn ring(&self);
}

pub struct Mailbox<T, B> {
    queue: Queue<T>,
    rung: AtomicBool,
    closed: AtomicBool,
    pub bell: B,
}

impl<T, B: Bell> Mailbox<T, B> {
    pub fn new(bell: B) -> Self {
        Mailbox { queue: Queue::new(), rung: AtomicBool::new(false), closed: AtomicBool::new(false), bell }
    }

    /// Posts a message (steps 1 and 2). A closed box drops it.
    pub fn post(&self, message: T) {
        self.queue.push(message);
        self.call();
        if self.closed.load(Ordering::SeqCst) {
            while self.queue.pop().is_some() {}
        }
    }

    fn call(&self) {
        if !self.rung.load(Ordering::SeqCst) && !self.rung.swap(true, Ordering::SeqCst) {
            self.bell.ring();
        }
    }

    /// Begins a drain (step 3).
    pub fn begin(&self) {
        // A swap, not a store: reading what the producers wrote orders it after them, which loom can follow (on x86 it
        // is the same instruction).
        self.rung.swap(false, Ordering::SeqCst);
    }

    /// Pops a message (step 4).
    pub fn pop(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Ends a drain (step 5).
    pub fn end(&self) {
        if !self.queue.is_empty() {
            self.call();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Refuses messages from now on, and returns those that are left.
    pub fn close(&self) -> Vec<T> {
        self.closed.store(true, Ordering::SeqCst);
        std::iter::from_fn(|| self.queue.pop()).collect()
    }

    pub fn closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// A bell that a consumer can wait for, as a loop waits for its eventfd.
    struct Gong {
        rung: Mutex<bool>,
        heard: Condvar,
    }
    impl Bell for Gong {
        fn ring(&self) {
            *self.rung.lock().unwrap() = true;
            self.heard.notify_one();
        }
    }
    impl Gong {
        fn wait(&self) {
            let mut rung = self.rung.lock().unwrap();
            while !*rung {
                rung = self.heard.wait(rung).unwrap();
            }
            *rung = false;
        }
    }
    fn mailbox() -> Arc<Mailbox<u32, Gong>> {
        Arc::new(Mailbox::new(Gong { rung: Mutex::new(false), heard: Condvar::new() }))
    }

    /// A consumer that sleeps until it is called gets every message: a lost wake-up would be a deadlock, which loom
    /// reports.
    fn every_letter_arrives(bound: usize) {
        loom::model(move || {
            let mb = mailbox();
            let producers: Vec<_> = (0..2)
                .map(|i| {
                    let mb = mb.clone();
                    thread::spawn(move || mb.post(i))
                })
                .collect();
            let mut got = Vec::new();
            while got.len() < 2 {
                mb.bell.wait();
                mb.begin();
                for _ in 0..bound {
                    match mb.pop() {
                        Some(message) => got.push(message),
                        None => break,
                    }
                }
                mb.end();
            }
            got.sort_unstable();
            assert_eq!(got, [0, 1]);
            producers.into_iter().for_each(|p| p.join().unwrap());
        });
    }

    #[test]
    fn no_wake_up_is_lost() {
        every_letter_arrives(usize::MAX);
    }

    #[test]
    fn nor_when_a_drain_is_cut_short() {
        every_letter_arrives(1);
    }

    #[test]
    fn a_closed_box_keeps_nothing() {
        loom::model(|| {
            let mb = mailbox();
            let producer = {
                let mb = mb.clone();
                thread::spawn(move || mb.post(7))
            };
            drop(mb.close());
            producer.join().unwrap();
            assert!(mb.is_empty());
        });
    }
}
