//! The run: one await of an effect with Python code, driven inside the caller's own task.
//!
//! A run is in one of these states, and only the task's own step moves it on:
//!  1. new: no engine yet;
//!  2. its leaf is suspended: the run yields what the coroutine yielded. The waker knows the run weakly; the task keeps
//!     it alive;
//!  3. parked: the engine waits for something native (a backoff, a permit). The run yields a handle, and the port keeps
//!     the run alive;
//!  4. ended.
//!
//! A drain that finds a run woken in 3 decides the handle, which wakes the task. In 2 the drain polls the engine, whose
//! timers may ask the leaf to stop; then the drain cancels the task. Python code never starts in a drain.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use mountain_core::effect::{Around, Call, Class, Deadline, Terms, call_leaf};
use mountain_core::error::Error;
use mountain_core::policy;
use mountain_core::time::{Clock, Instant, Ticks};
use pyo3::exceptions::{PyBaseException, PyRuntimeError};
use pyo3::prelude::*;

use crate::context::level::Shield;
use crate::convert::error::internal;
use crate::convert::fail::Fail;
use crate::globals::clock;
use crate::handle::Handle;
use crate::observe::call_record::CallRecord;
use crate::port::Port;
use crate::port::queue::RunWake;
use crate::python::free_list::{Idle, Reused};
use crate::run::leaf::PyLeaf;
use crate::run::wakers::LazyWake;

pub(super) type Ended = Result<Py<PyAny>, Fail>;
/// Touched through `&mut` alone, which makes it `Sync`.
pub(super) struct Engine(Pin<Box<dyn Future<Output = Ended> + Send>>);
// SAFETY: there is no way to the future through a shared reference.
unsafe impl Sync for Engine {}

impl Engine {
    pub(super) fn new(
        leaf: Arc<PyLeaf>,
        clock: &'static Arc<Clock>,
        terms: Terms,
        over: Deadline,
        enforced_at: Option<Instant>,
        began: Option<Instant>,
    ) -> Self {
        Engine(Box::pin(async move {
            let observer = leaf.watch.get().and_then(|watch| watch.observer()).map(|observer| &**observer);
            let call = Call::new(&*leaf, clock, &leaf.trace, &terms).observed(observer).opened(leaf.opened).began(began);
            let stack = &leaf.plan.get().stack;
            if stack.is_empty() && enforced_at.is_none() {
                return call_leaf(&call, Around::call(&terms, over)).await;
            }
            policy::run(&call, stack, over, enforced_at).await
        }))
    }
}

pub(super) struct Leaving {
    pub(super) cancel: Py<PyBaseException>,
    pub(super) shield: Option<Shield>,
}

#[pyclass(freelist = 1024, weakref, module = "mountain_runtime._native")]
pub(crate) struct Run {
    pub(super) leaf: Option<Arc<PyLeaf>>,
    pub(super) engine: Option<Engine>,
    pub(super) wake: Option<Arc<RunWake>>,
    /// Known from the first wait on.
    pub(super) port: Option<Py<Port>>,
    pub(super) park: Option<Py<Handle>>,
    pub(super) started: bool,
    /// A cancel that came while it waits for the end of its flights: it is raised then.
    pub(super) cancelled: Option<Box<Leaving>>,
    pub(super) record: CallRecord,
    /// When it began, and when its last step did.
    pub(super) began: Option<Ticks>,
    pub(super) step: Option<Ticks>,
}

impl Reused for Run {
    const MOST: usize = 1024;

    fn idle() -> &'static Idle {
        static IDLE: Idle = Idle::new();
        &IDLE
    }
}

impl Run {
    pub(crate) fn new(leaf: PyLeaf) -> Self {
        Run::shared(Arc::new(leaf))
    }

    /// The run of a leaf that others know, too.
    pub(crate) fn shared(leaf: Arc<PyLeaf>) -> Self {
        Run {
            leaf: Some(leaf),
            engine: None,
            wake: None,
            port: None,
            park: None,
            started: false,
            cancelled: None,
            record: CallRecord::First,
            began: None,
            step: None,
        }
    }

    pub(super) fn poll(&mut self) -> Poll<Ended> {
        let Some(engine) = self.engine.as_mut() else { return Poll::Pending };
        let (wake, polled) = LazyWake::lend(self.wake.take(), |cx| catch_unwind(AssertUnwindSafe(|| engine.0.as_mut().poll(cx))));
        self.wake = wake;
        if let (Some(wake), Ok(Poll::Pending)) = (&self.wake, &polled) {
            self.bind(wake);
        }
        polled.unwrap_or_else(|payload| {
            // SAFETY: as in `bind`.
            let py = unsafe { Python::assume_attached() };
            let name = self.leaf.as_ref().map_or_else(String::new, |l| l.plan.get().name.clone());
            let Error::Panic(what) = Error::panic(&*payload) else { unreachable!() };
            Poll::Ready(Err(Fail::Raised(internal(py, &name, &what), Class::Passes)))
        })
    }

    /// The waker that the engine keeps wakes this run through the loop that it runs on.
    pub(super) fn bind(&self, wake: &Arc<RunWake>) {
        if wake.is_bound() {
            return;
        }
        // SAFETY: polls happen on attached threads only.
        let py = unsafe { Python::assume_attached() };
        // A suspended leaf knows its loop: cheaper to ask than the thread.
        let port = match self.leaf.as_ref().and_then(|l| l.event_loop(py)) {
            Some(event_loop) => Port::of(&event_loop),
            None => Port::current(py),
        };
        // No loop runs: the poll's caller is about to say so.
        if let Ok(port) = port {
            wake.bind(&port.get().shared);
        }
    }

    /// It will not be stepped to its end.
    #[cold]
    #[inline(never)]
    pub(super) fn let_go(&mut self) {
        if let Some(leaf) = &self.leaf {
            self.record.let_go(leaf.plan.get(), self.began.map_or(0, |began| clock().took(began)));
            // SAFETY: as in `bind`: a run is dropped on an attached thread.
            leaf.ends_items(unsafe { Python::assume_attached() });
        }
    }

    /// The loop is closed: give back what the engine holds. The task will never run again.
    pub(crate) fn reap(slf: &Bound<'_, Self>) {
        let Ok(mut me) = slf.try_borrow_mut() else { return };
        if let Some(wake) = me.wake.take() {
            wake.gone();
        }
        if me.record.is_running() {
            me.let_go();
        }
        let (gone, leaf) = ((me.engine.take(), me.park.take()), me.leaf.clone());
        drop(me);
        drop(gone);
        if let Some(leaf) = leaf {
            leaf.lost(slf.py());
        }
    }
}

pub(super) fn used_up() -> PyErr {
    PyRuntimeError::new_err("cannot reuse an already awaited effect iterator")
}

impl Drop for Run {
    /// The waker's holders may outlive the run, so the waker forgets the run before anything else is done.
    fn drop(&mut self) {
        if let Some(wake) = &self.wake {
            wake.gone();
        }
        if self.record.is_running() {
            self.let_go();
        }
    }
}
