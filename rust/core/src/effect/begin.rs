//! Where calls begin that an event loop makes: it only queues them, and a worker begins them in turns. What a worker spawns goes to its own
//! queue, at half the price of the shared one, and is freed where it was made.
//!
//!  1. A caller queues its call; if no starter is awake (`awake` was false), it wakes one, which is a task.
//!  2. The starter begins what it finds. When it finds nothing for a moment, `awake := false`.
//!  3. It looks once more: what was queued before 2 is found now. What comes after finds `awake` false and wakes the next starter. Whoever
//!     turns `awake` to true goes on; the other one ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::SegQueue;

use super::{Abort, Abortable, Done, Host, Operation};
use crate::sync::Mutex;

/// Calls that are begun in one go: as many as a worker's own queue takes.
pub(super) const AT_ONCE: usize = 128;
/// Looks at an empty queue before a starter ends: about as long as a loop needs to queue the next call.
const LOOKS: usize = 200;

#[derive(Default)]
pub struct Starter {
    queue: SegQueue<Arc<Call>>,
    awake: AtomicBool,
}

impl Starter {
    /// Begin `operation` soon, on a worker.
    pub fn begin(host: &Arc<Host>, operation: Arc<dyn Operation>, done: Done) -> Abort {
        let call = Arc::new(Call { operation, state: Mutex::new(State::Queued(done)) });
        host.starter.queue.push(call.clone());
        if !host.starter.awake.load(Ordering::SeqCst) && !host.starter.awake.swap(true, Ordering::SeqCst) {
            host.tokio.spawn(Self::work(host.clone()));
        }
        Abort::Shared(call)
    }

    async fn work(host: Arc<Host>) {
        let me = &host.starter;
        loop {
            let mut begun = 0;
            while begun < AT_ONCE
                && let Some(call) = me.queue.pop()
            {
                call.begin(&host);
                begun += 1;
            }
            if begun > 0 {
                // What was begun runs first.
                tokio::task::yield_now().await;
                continue;
            }
            if (0..LOOKS).any(|_| me.something_came()) {
                continue;
            }
            me.awake.store(false, Ordering::SeqCst);
            if me.queue.is_empty() || me.awake.swap(true, Ordering::SeqCst) {
                return;
            }
        }
    }

    fn something_came(&self) -> bool {
        std::hint::spin_loop();
        !self.queue.is_empty()
    }
}

/// A call that was queued. Asked to end before it begins, it never does.
struct Call {
    /// Stays here, so that it is freed where it was made: by whoever lets go of the call.
    operation: Arc<dyn Operation>,
    state: Mutex<State>,
}

enum State {
    Queued(Done),
    Beginning,
    Begun(Abort),
    Asked,
}

impl Call {
    fn begin(&self, host: &Host) {
        let done = {
            let mut state = self.state.lock();
            match std::mem::replace(&mut *state, State::Beginning) {
                State::Queued(done) => done,
                was => {
                    *state = was;
                    return;
                }
            }
        };
        // Lost in a panic, its `Done` has answered.
        let abort = catch_unwind(AssertUnwindSafe(|| self.operation.start(host, done))).unwrap_or(Abort::Never);
        if matches!(abort, Abort::Never) {
            return;
        }
        let mut state = self.state.lock();
        if matches!(*state, State::Asked) {
            drop(state);
            abort.abort();
        } else {
            *state = State::Begun(abort);
        }
    }
}

impl Abortable for Call {
    fn abort(&self) {
        let was = std::mem::replace(&mut *self.state.lock(), State::Asked);
        match was {
            State::Begun(abort) => abort.abort(),
            // A `Done` that is dropped answers with a cancel.
            State::Queued(done) => drop(done),
            State::Beginning | State::Asked => {}
        }
    }
}
