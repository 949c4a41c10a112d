//! The port: an event loop's queue of native completions, one per loop, made on first use there and gone when the loop is closed.
//!
//!  1. A worker posts a message; whoever finds the box unheard rings the bell (`mountain_core::sync::Mailbox` holds the protocol and its proof).
//!  2. The loop sees the descriptor readable and calls `_drain` (in `drain.rs`) as a plain handle, with no current task.
//!  3. `_drain` opens at most `BOUND` messages, and none after `BUDGET` has passed; if any are left, the bell rings again, so that timers and
//!     sockets get their turn in between.
//!  4. Closing the loop, or collecting one that was not closed, drops every engine that waits on it, inside the loop's thread, so that what was granted to them is given back. Messages
//!     that come later are dropped where they are posted, and their references go to the graveyard.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::task::Wake;

use mountain_core::effect::{Outcome, Sink};
use mountain_core::sync::{Bell, Mailbox, Mutex};
use mountain_core::value::Memory;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyWeakrefMethods, PyWeakrefReference};

use crate::context::running_loop;
use crate::globals::PARKED;
use crate::port::bell::FdBell;
use crate::python::os_error::os_error;
use crate::python::pyref::{PyRef, empty_graveyard, when_many};
use crate::python::weak::Weak;

pub(crate) enum Message {
    /// A parked or suspended run was woken.
    Wake(Arc<RunWake>),
    /// A native call has ended.
    Done(PyRef, Outcome),
    /// A Python thread has ended a call: a value, or an exception.
    Object(PyRef, Result<PyRef, PyRef>),
    /// A task is to end.
    Cancel(PyRef),
    /// A worker wants buffers.
    Allocate(Vec<usize>, Box<dyn FnOnce(Arc<dyn Memory>) + Send>),
}

/// The part of a port that other threads see.
pub(crate) struct Shared {
    pub(crate) mailbox: Mailbox<Message, FdBell>,
    /// How many runs are parked.
    parked: AtomicUsize,
}

impl Sink for Shared {
    fn deliver(&self, token: usize, outcome: Outcome) {
        // SAFETY: the token is the handle's, made in `Handle::start`; an outcome is delivered once.
        self.mailbox.post(Message::Done(unsafe { PyRef::from_token(token) }, outcome));
    }

    fn allocate(&self, sizes: Vec<usize>, then: Box<dyn FnOnce(Arc<dyn Memory>) + Send>) {
        self.mailbox.post(Message::Allocate(sizes, then));
    }
}

/// Wakes a run through its port. It never owns the run: it may be dropped on any thread.
pub(crate) struct RunWake {
    woken: AtomicBool,
    /// From the end of the poll that kept it: what `Arc::into_raw` gave, or null.
    port: AtomicPtr<Shared>,
    /// While it waits.
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
    /// It is made while the engine holds a lock of its own, perhaps, and so runs no code of Python's, as the making of a port would.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(RunWake { woken: AtomicBool::new(false), port: AtomicPtr::default(), run: Weak::default() })
    }

    fn port(&self) -> Option<&Shared> {
        // SAFETY: the reference that it stands for is let go of with `self`.
        unsafe { self.port.load(Ordering::SeqCst).as_ref() }
    }

    pub(crate) fn is_bound(&self) -> bool {
        self.port().is_some()
    }

    /// This is its run's port. Whoever woke it before did not find that; whoever does so at this moment may be heard twice.
    pub(crate) fn bind(self: &Arc<Self>, port: &Port) {
        let shared = Arc::into_raw(port.shared.clone()).cast_mut();
        if self.port.compare_exchange(std::ptr::null_mut(), shared, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            // SAFETY: made a moment ago, and nobody has it.
            drop(unsafe { Arc::from_raw(shared) });
        } else if self.woken.load(Ordering::SeqCst) {
            port.shared.mailbox.post(Message::Wake(self.clone()));
        }
    }

    /// The run waits from now on.
    ///
    /// # Safety
    /// The run calls `gone` in its drop.
    pub(crate) unsafe fn waits(&self, run: &Bound<'_, PyAny>) -> PyResult<()> {
        // SAFETY: by the contract.
        unsafe { self.run.point(run) }
    }

    /// The run waits no more.
    pub(crate) fn gone(&self) {
        self.run.clear();
    }

    /// In a drain: the run, if it still waits. From now on it can be woken again.
    pub(crate) fn answer<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.woken.store(false, Ordering::SeqCst);
        self.run.upgrade(py)
    }
}

impl Drop for RunWake {
    fn drop(&mut self) {
        let port = *self.port.get_mut();
        if !port.is_null() {
            // SAFETY: of `into_raw`, by `bind`.
            drop(unsafe { Arc::from_raw(port) });
        }
    }
}

#[pyclass(frozen, weakref, module = "mountain_runtime._native")]
pub(crate) struct Port {
    pub(crate) shared: Arc<Shared>,
    /// Weak: a port must not keep its loop alive.
    event_loop: Py<PyWeakrefReference>,
    key: usize,
    /// Runs that wait for something native, by address. They are kept alive here, as a loop keeps its timers.
    pub(crate) parked: Mutex<HashMap<usize, Py<PyAny>>>,
    /// Flights of cached calls whose tasks run here, likewise.
    pub(crate) flying: Mutex<HashMap<usize, Py<PyAny>>>,
    /// The runtime that was entered on this loop.
    pub(crate) scope: Mutex<Option<Py<PyAny>>>,
}

/// The ports by their loops' addresses. Weak: a port belongs to its loop, whose reader and `close` hold it, and goes with that, closed or collected.
static PORTS: Mutex<Option<HashMap<usize, Known>>> = Mutex::new(None);

struct Known {
    port: Py<PyWeakrefReference>,
    shared: Arc<Shared>,
}

/// Changes whenever a port goes: what a thread remembers from before is void.
static EPOCH: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// What this thread's last look found.
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

struct Last {
    event_loop: usize,
    /// The weak reference to its port.
    port: PyRef,
    epoch: u64,
}

impl Port {
    /// The port of the running loop.
    pub(crate) fn current(py: Python<'_>) -> PyResult<Bound<'_, Port>> {
        let running = running_loop(py)?;
        if running.is_none() {
            return Err(PyRuntimeError::new_err(
                "an effect needs a running asyncio event loop: await it in a coroutine, or use Runtime.from_thread",
            ));
        }
        Self::of(&running)
    }

    /// The port of the running loop, where both exist; opens none.
    pub(crate) fn existing(py: Python<'_>) -> PyResult<Option<Bound<'_, Port>>> {
        let running = running_loop(py)?;
        Ok(if running.is_none() { None } else { Self::known_of(&running) })
    }

    /// A loop at the address of one that was collected is another loop, even where something keeps that one's port.
    fn known_of<'py>(event_loop: &Bound<'py, PyAny>) -> Option<Bound<'py, Port>> {
        known(event_loop.py(), event_loop.as_ptr() as usize).filter(|port| port.get().is_of(event_loop))
    }

    /// The port of a loop that runs on this thread.
    pub(crate) fn of<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Port>> {
        let py = event_loop.py();
        let key = event_loop.as_ptr() as usize;
        let epoch = EPOCH.load(Ordering::Acquire);
        let last = LAST.with_borrow(|last| {
            let last = last.as_ref().filter(|last| last.event_loop == key && last.epoch == epoch)?;
            // SAFETY: made from a weak reference to a port.
            unsafe { Some(last.port.clone_as::<PyWeakrefReference>(py).upgrade()?.cast_into_unchecked::<Port>()) }
        });
        // As in `known_of`.
        if let Some(port) = last.filter(|port| port.get().is_of(event_loop)) {
            return Ok(port);
        }
        let port = match Self::known_of(event_loop) {
            Some(port) => port,
            None => Self::open(event_loop, key)?,
        };
        let weak = PyRef::new(PyWeakrefReference::new(&port)?.unbind());
        let replaced = LAST.replace(Some(Last { event_loop: key, port: weak, epoch }));
        drop(replaced);
        Ok(port)
    }

    fn is_of(&self, event_loop: &Bound<'_, PyAny>) -> bool {
        self.event_loop.bind(event_loop.py()).upgrade().is_some_and(|own| own.is(event_loop))
    }

    #[cold]
    fn open<'py>(event_loop: &Bound<'py, PyAny>, key: usize) -> PyResult<Bound<'py, Port>> {
        let py = event_loop.py();
        let port = Bound::new(
            py,
            Port {
                event_loop: PyWeakrefReference::new(event_loop)?.unbind(),
                key,
                parked: Mutex::default(),
                flying: Mutex::default(),
                scope: Mutex::default(),
                shared: Arc::new(Shared {
                    mailbox: Mailbox::new(FdBell::new().map_err(|e| os_error(&e, None))?),
                    parked: AtomicUsize::new(0),
                }),
            },
        )?;
        port.call_method1(intern!(py, "_attach"), (event_loop,))?;
        when_many(ring_all);
        let _ = PARKED.set(parked);
        let known = Known { port: PyWeakrefReference::new(&port)?.unbind(), shared: port.get().shared.clone() };
        let replaced = PORTS.lock().get_or_insert_default().insert(key, known);
        if replaced.is_some() {
            EPOCH.fetch_add(1, Ordering::AcqRel);
        }
        drop(replaced);
        empty_graveyard(py);
        Ok(port)
    }

    pub(crate) fn event_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.event_loop.bind(py).upgrade().ok_or_else(|| PyRuntimeError::new_err("the event loop is gone"))
    }

    pub(crate) fn call_soon(
        &self,
        callback: &Bound<'_, PyAny>,
        argument: &Bound<'_, PyAny>,
        context: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = callback.py();
        let event_loop = self.event_loop(py)?;
        let kwargs = PyDict::new(py);
        if let Some(context) = context {
            kwargs.set_item(intern!(py, "context"), context)?;
        }
        event_loop.call_method(intern!(py, "call_soon"), (callback, argument), Some(&kwargs))?;
        Ok(())
    }

    pub(crate) fn park(&self, run: &Bound<'_, PyAny>) {
        if self.parked.lock().insert(run.as_ptr() as usize, run.clone().unbind()).is_none() {
            self.shared.parked.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn take_parked(&self) -> HashMap<usize, Py<PyAny>> {
        let parked = std::mem::take(&mut *self.parked.lock());
        self.shared.parked.fetch_sub(parked.len(), Ordering::Relaxed);
        parked
    }

    pub(crate) fn flies(&self, landing: &Bound<'_, PyAny>) {
        self.flying.lock().insert(landing.as_ptr() as usize, landing.clone().unbind());
    }

    pub(crate) fn landed(&self, landing: &Bound<'_, PyAny>) {
        let gone = self.flying.lock().remove(&(landing.as_ptr() as usize));
        drop(gone);
    }

    pub(crate) fn unpark(&self, run: &Bound<'_, PyAny>) {
        let gone = self.parked.lock().remove(&(run.as_ptr() as usize));
        if gone.is_some() {
            self.shared.parked.fetch_sub(1, Ordering::Relaxed);
        }
        drop(gone);
    }
}

/// Collected with its loop, which was not closed.
impl Drop for Port {
    fn drop(&mut self) {
        remove(self);
        drop(self.shared.mailbox.close());
    }
}

/// Runs that wait for something native, on all loops.
pub(crate) fn parked() -> usize {
    PORTS.lock().iter().flat_map(HashMap::values).map(|known| known.shared.parked.load(Ordering::Relaxed)).sum()
}

/// Have every loop drain, which empties the graveyard. From any thread; nothing, while somebody is at the ports.
fn ring_all() {
    let Some(ports) = PORTS.try_lock() else { return };
    ports.iter().flat_map(HashMap::values).for_each(|known| known.shared.mailbox.bell.ring());
}

/// Have one loop drain, which takes in passing what others have left. From any thread; nothing, while somebody is at the ports.
pub(crate) fn call_one() {
    let Some(ports) = PORTS.try_lock() else { return };
    if let Some(known) = ports.iter().flat_map(HashMap::values).next() {
        known.shared.mailbox.bell.ring();
    }
}

/// The port of the loop at that address.
fn known(py: Python<'_>, key: usize) -> Option<Bound<'_, Port>> {
    let weak = PORTS.lock().as_ref().and_then(|ports| ports.get(&key).map(|known| known.port.clone_ref(py)))?;
    weak.bind(py).upgrade().and_then(|port| port.cast_into::<Port>().ok())
}

/// A port is no longer its loop's.
pub(crate) fn remove(port: &Port) {
    let mut ports = PORTS.lock();
    let ours = |known: &Known| Arc::ptr_eq(&known.shared, &port.shared);
    let known =
        ports.as_mut().and_then(|ports| if ports.get(&port.key).is_some_and(ours) { ports.remove(&port.key) } else { None });
    drop(ports);
    drop(known);
    EPOCH.fetch_add(1, Ordering::AcqRel);
}

/// In the child of a fork: ports are the parent's. They are forgotten, not dropped: their descriptors are shared. `flying` is told of each flight.
pub(crate) fn forget_all(py: Python<'_>, mut flying: impl FnMut(&Py<PyAny>)) {
    EPOCH.fetch_add(1, Ordering::AcqRel);
    let ports = PORTS.lock().take();
    for known in ports.iter().flat_map(HashMap::values) {
        if let Some(port) = known.port.bind(py).upgrade().and_then(|port| port.cast_into::<Port>().ok()) {
            port.get().flying.lock().values().for_each(&mut flying);
            std::mem::forget(port);
        }
    }
    std::mem::forget(ports);
}
