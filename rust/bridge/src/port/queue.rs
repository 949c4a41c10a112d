//! The queue of a port: what other threads tell a loop, and the waker by which the engine tells it that a run can go
//! on.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::task::Wake;

use mountain_core::effect::{Outcome, Sink};
use mountain_core::sync::{Mailbox, Mutex};
use mountain_core::value::Memory;
use pyo3::prelude::*;

use crate::port::bell::FdBell;
use crate::python::pyref::PyRef;
use crate::python::weak::Weak;

/// A message to a loop from a worker or another thread. It owns neither a handle nor a task: either would keep a loop
/// that is dropped without `close`, and the collector does not see the contents of the mailbox.
pub(crate) enum Message {
    /// A parked or suspended run was woken.
    Wake(Arc<RunWake>),
    /// A native call has ended: the place of its handle among those of the port, and how.
    Done(u32, Outcome),
    /// A Python thread has ended a job: a weak reference to its handle, and a value or an exception.
    Object(PyRef, Result<PyRef, PyRef>),
    /// The last caller of a flight has left: a weak reference to its task, which is to be cancelled.
    Cancel(PyRef),
    /// A worker needs buffers of these sizes, which only the loop's thread can make.
    Allocate(Vec<usize>, Box<dyn FnOnce(Arc<dyn Memory>) + Send>),
    /// A short job that only the loop's thread can do.
    Job(Box<dyn FnOnce() + Send>),
}

/// The part of a port that other threads use.
pub(crate) struct Shared {
    pub(crate) mailbox: Mailbox<Message, FdBell>,
    /// The number of parked runs.
    pub(super) parked: AtomicUsize,
    /// The wakers of streams that hold something of a policy's between two pulls, by address: a loop that is closed
    /// lets go of their runs.
    pub(super) open: Mutex<HashMap<usize, Arc<RunWake>>>,
}

impl Shared {
    pub(crate) fn take_open(&self) -> HashMap<usize, Arc<RunWake>> {
        std::mem::take(&mut *self.open.lock())
    }
}

impl Sink for Shared {
    fn deliver(&self, token: usize, outcome: Outcome) {
        self.mailbox.post(Message::Done(token as u32, outcome));
    }

    fn allocate(&self, sizes: Vec<usize>, then: Box<dyn FnOnce(Arc<dyn Memory>) + Send>) {
        self.mailbox.post(Message::Allocate(sizes, then));
    }

    fn on_host(&self, job: Box<dyn FnOnce() + Send>) {
        self.mailbox.post(Message::Job(job));
    }
}

/// Wakes a run through its port, from any thread. It does not own the run: the waker may be dropped on any thread.
pub(crate) struct RunWake {
    woken: AtomicBool,
    /// It is among the open ones of its port.
    listed: AtomicBool,
    /// From `Arc::into_raw`, set after the poll in which the engine kept this waker; null until then.
    port: AtomicPtr<Shared>,
    /// The run, while it waits.
    run: Weak,
}

impl Wake for RunWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::SeqCst)
            && let Some(port) = self.port()
        {
            port.mailbox.post(Message::Wake(self.clone()));
        }
    }
}

impl RunWake {
    /// Has no port yet: the engine may hold a lock while it makes a waker, and making a port runs Python code.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(RunWake {
            woken: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            port: AtomicPtr::default(),
            run: Weak::default(),
        })
    }

    fn port(&self) -> Option<&Shared> {
        // SAFETY: the pointer owns a reference, which `drop` releases.
        unsafe { self.port.load(Ordering::SeqCst).as_ref() }
    }

    pub(crate) fn is_bound(&self) -> bool {
        self.port().is_some()
    }

    /// Binds the waker to its run's port, and posts a wake that came earlier. A wake at the same moment may be posted
    /// twice.
    pub(crate) fn bind(self: &Arc<Self>, port: &Arc<Shared>) {
        let shared = Arc::into_raw(port.clone()).cast_mut();
        if self.port.compare_exchange(std::ptr::null_mut(), shared, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            // SAFETY: from `into_raw` above; the exchange failed, so that nothing else has it.
            drop(unsafe { Arc::from_raw(shared) });
        } else if self.woken.load(Ordering::SeqCst) {
            port.mailbox.post(Message::Wake(self.clone()));
        }
    }

    /// The run waits from now on, and can be found by `answer`.
    ///
    /// # Safety
    /// The run calls `gone` in its drop.
    pub(crate) unsafe fn waits(&self, run: &Bound<'_, PyAny>) -> PyResult<()> {
        // SAFETY: by the contract.
        unsafe { self.run.point(run) }
    }

    /// The run of a stream holds something between two pulls. Called once the waker has its port.
    pub(crate) fn list(self: &Arc<Self>) {
        if let Some(port) = self.port()
            && !self.listed.swap(true, Ordering::Relaxed)
        {
            port.open.lock().insert(Arc::as_ptr(self) as usize, self.clone());
        }
    }

    /// The run waits no more: a later wake finds none.
    pub(crate) fn gone(&self) {
        self.run.clear();
        if self.listed.load(Ordering::Relaxed)
            && let Some(port) = self.port()
        {
            let gone = port.open.lock().remove(&(std::ptr::from_ref(self) as usize));
            drop(gone);
        }
    }

    /// Called by a drain: the run, if it still waits. A wake after this call posts a message again.
    pub(crate) fn answer<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.woken.store(false, Ordering::SeqCst);
        self.run.upgrade(py)
    }
}

impl Drop for RunWake {
    fn drop(&mut self) {
        let port = *self.port.get_mut();
        if !port.is_null() {
            // SAFETY: `bind` stored the pointer, from `into_raw`.
            drop(unsafe { Arc::from_raw(port) });
        }
    }
}
