//! Which port belongs to which loop: the table of ports, and each thread's memory of its last look.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use mountain_core::sync::{Bell, Mailbox, Mutex};
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

use crate::context::current::running_loop;
use crate::globals::PARKED;
use crate::port::Port;
use crate::port::bell::FdBell;
use crate::port::owned::Owned;
use crate::port::queue::Shared;
use crate::python::known_loop::KnownLoop;
use crate::python::os_error::os_error;
use crate::python::pyref::{PyRef, empty_graveyard, when_many};

/// The ports by their loops' addresses. Weak: a port is held by its loop's reader and `close`, and goes with the loop,
/// closed or collected.
static PORTS: Mutex<Option<HashMap<usize, Known>>> = Mutex::new(None);

struct Known {
    port: Py<PyWeakrefReference>,
    shared: Arc<Shared>,
}

/// Changes whenever a port goes, which voids what threads remember in `LAST`.
static EPOCH: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// The result of this thread's last call of `Port::of`.
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

struct Last {
    event_loop: usize,
    /// A weak reference to its port.
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

    /// The port in the table for that very loop: a new loop may have the address of a collected one whose port is still
    /// referenced.
    fn known_of<'py>(event_loop: &Bound<'py, PyAny>) -> Option<Bound<'py, Port>> {
        known(event_loop.py(), event_loop.as_ptr() as usize).filter(|port| port.get().event_loop.is(event_loop))
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
        // The same loop, as in `known_of`.
        if let Some(port) = last.filter(|port| port.get().event_loop.is(event_loop)) {
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

    #[cold]
    fn open<'py>(event_loop: &Bound<'py, PyAny>, key: usize) -> PyResult<Bound<'py, Port>> {
        let py = event_loop.py();
        let port = Bound::new(
            py,
            Port {
                event_loop: KnownLoop::new(event_loop)?,
                key,
                native: Owned::default(),
                parked: Mutex::default(),
                flying: Mutex::default(),
                scope: Mutex::default(),
                shared: Arc::new(Shared {
                    mailbox: Mailbox::new(FdBell::new().map_err(|e| os_error(&e, None))?),
                    parked: AtomicUsize::new(0),
                    open: Mutex::default(),
                }),
            },
        )?;
        // By name: the method is the drain's, in a room above.
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
}

/// The number of runs that wait for something native, on all loops.
pub(crate) fn parked() -> usize {
    PORTS.lock().iter().flat_map(HashMap::values).map(|known| known.shared.parked.load(Ordering::Relaxed)).sum()
}

/// Makes every loop drain, which empties the graveyard. From any thread; does nothing while the table is locked.
fn ring_all() {
    let Some(ports) = PORTS.try_lock() else { return };
    ports.iter().flat_map(HashMap::values).for_each(|known| known.shared.mailbox.bell.ring());
}

/// Makes one loop drain, which empties the graveyard and hands over the log. From any thread; does nothing while the
/// table is locked.
pub(crate) fn call_one() {
    let Some(ports) = PORTS.try_lock() else { return };
    if let Some(known) = ports.iter().flat_map(HashMap::values).next() {
        known.shared.mailbox.bell.ring();
    }
}

/// The port in the table for that address.
fn known(py: Python<'_>, key: usize) -> Option<Bound<'_, Port>> {
    let weak = PORTS.lock().as_ref().and_then(|ports| ports.get(&key).map(|known| known.port.clone_ref(py)))?;
    weak.bind(py).upgrade().and_then(|port| port.cast_into::<Port>().ok())
}

/// Whether that loop has a port: it is open, and this process's.
pub(crate) fn serves(event_loop: &Bound<'_, PyAny>) -> bool {
    Port::known_of(event_loop).is_some()
}

/// Takes the port out of the table: its loop has it no more.
pub(crate) fn remove(port: &Port) {
    let mut ports = PORTS.lock();
    let ours = |known: &Known| Arc::ptr_eq(&known.shared, &port.shared);
    let known =
        ports.as_mut().and_then(|ports| if ports.get(&port.key).is_some_and(ours) { ports.remove(&port.key) } else { None });
    drop(ports);
    drop(known);
    EPOCH.fetch_add(1, Ordering::AcqRel);
}

/// Empties the table in the child of a fork. The ports are leaked, not dropped: their descriptors are the parent's too.
/// Calls `flying` with each flight.
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
