//! Begins native calls on workers. An event loop only queues its calls; a worker begins them in turns, so that whatever
//! they spawn goes to the worker's own queue, at half the price of the shared one, and is freed on the thread that
//! allocated it. The starter is a single consumer: `sync::SingleConsumer` holds the protocol.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::{Abort, Abortable, Done, Host, Operation};
use crate::observe::Doing;
use crate::sync::{Mutex, SingleConsumer};

/// Calls that are begun before the starter yields: as many as a worker's own queue takes.
pub(super) const AT_ONCE: usize = 128;
/// Looks at an empty queue before a starter ends: together about the time that a loop needs to queue its next call.
const LOOKS: usize = 200;

#[derive(Default)]
pub struct Starter(SingleConsumer<Arc<Call>>);

impl Starter {
    /// Begins `operation` soon, on a worker.
    pub fn begin(host: &Arc<Host>, operation: Arc<dyn Operation>, done: Done) -> Abort {
        let call = Arc::new(Call { operation, state: Mutex::new(State::Queued(done)) });
        if host.starter.0.hand_over(call.clone()) {
            let on_duty = OnDuty { host: host.clone(), left: false };
            host.tokio.spawn(on_duty.work());
        }
        Abort::Shared(call)
    }
}

struct OnDuty {
    host: Arc<Host>,
    left: bool,
}

impl OnDuty {
    async fn work(mut self) {
        let host = self.host.clone();
        let consumer = &host.starter.0;
        while !self.left {
            let mut begun = 0;
            while begun < AT_ONCE
                && let Some(call) = consumer.next()
            {
                call.begin(&host);
                begun += 1;
            }
            if begun > 0 {
                // Work that was begun runs first.
                tokio::task::yield_now().await;
                continue;
            }
            let something_came = (0..LOOKS).any(|_| {
                std::hint::spin_loop();
                !consumer.is_idle()
            });
            self.left = !something_came && consumer.leave();
        }
    }
}

impl Drop for OnDuty {
    /// The workers have ended: queued calls never begin, and answer with a cancel.
    fn drop(&mut self) {
        let consumer = &self.host.starter.0;
        while !self.left {
            while let Some(call) = consumer.next() {
                call.abort();
            }
            self.left = consumer.leave();
        }
    }
}

/// A queued call. If it is asked to end before it begins, it never begins.
struct Call {
    /// Kept here, so that whichever thread drops the call frees it.
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
    fn begin(&self, host: &Arc<Host>) {
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
        // A panic drops its `Done`, which answers.
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
    fn doing(&self) -> Doing {
        match &*self.state.lock() {
            State::Begun(abort) => abort.doing(),
            _ => Doing::Running,
        }
    }

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
