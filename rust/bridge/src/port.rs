//! The port: an event loop's queue of native completions, one per loop, made on first use there and gone when the loop is closed.
//!
//!  1. A worker posts a letter; whoever finds the box unheard rings the bell (`mountain_core::sync::Mailbox` holds the protocol and its proof).
//!  2. The loop sees the descriptor readable and calls `drain` as a plain handle, with no current task.
//!  3. `drain` opens at most `BOUND` letters, and none after `BUDGET` has passed; if any are left, the bell rings again, so that timers and
//!     sockets get their turn in between.
//!  4. Closing the loop drops every engine that waits on it, inside the loop's thread, so that what was granted to them is given back. Letters
//!     that come later are dropped where they are posted, and their references go to the graveyard.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mountain_core::effect::{Outcome, Sink};
use mountain_core::sync::Mailbox;
use mountain_core::sync::Mutex;
use mountain_core::time::Instant;
use mountain_core::value::Memory;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyWeakrefMethods, PyWeakrefReference};
use pyo3::{PyTraverseError, PyVisit, ffi, intern};

use crate::bell::FdBell;
use crate::context::running_loop;
use crate::face::face;
use crate::handle::{Handle, Phase};
use crate::process::clock;
use crate::pyref::{PyRef, empty_graveyard};
use crate::run::{Run, RunWake};
use crate::scope::Scope;
use crate::value;

/// Letters that one drain opens at most.
const BOUND: usize = 1024;
/// A drain opens no further letter after this.
const BUDGET: Duration = Duration::from_millis(5);

pub(crate) enum Letter {
    /// A parked or suspended run was woken.
    Wake(Arc<RunWake>),
    /// A native call has ended.
    Done(PyRef, Outcome),
    /// A Python thread has ended a call: a value, or an exception.
    Object(PyRef, Result<PyRef, PyRef>),
    /// A worker wants buffers.
    Allocate(Vec<usize>, Box<dyn FnOnce(Arc<dyn Memory>) + Send>),
}

/// The part of a port that other threads see.
pub(crate) struct Shared {
    pub(crate) mailbox: Mailbox<Letter, FdBell>,
}

impl Sink for Shared {
    fn deliver(&self, token: usize, outcome: Outcome) {
        // SAFETY: the token is the handle's, made in `Handle::start`; an outcome is delivered once.
        self.mailbox.post(Letter::Done(unsafe { PyRef::from_token(token) }, outcome));
    }

    fn allocate(&self, sizes: Vec<usize>, then: Box<dyn FnOnce(Arc<dyn Memory>) + Send>) {
        self.mailbox.post(Letter::Allocate(sizes, then));
    }
}

#[pyclass(frozen, weakref, module = "mountain_runtime._native")]
pub(crate) struct Port {
    pub(crate) shared: Arc<Shared>,
    /// Weak: a port must not keep its loop alive.
    event_loop: Py<PyWeakrefReference>,
    key: usize,
    /// Runs that wait for something native, by address. They are kept alive here, as a loop keeps its timers.
    parked: Mutex<HashMap<usize, Py<Run>>>,
    /// The runtime that was entered on this loop.
    pub(crate) scope: Mutex<Option<Py<Scope>>>,
}

static PORTS: Mutex<Option<HashMap<usize, Py<Port>>>> = Mutex::new(None);
/// Changes whenever a port goes: what a thread remembers from before is void.
static EPOCH: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// The last loop seen on this thread, its port, and the epoch of that knowledge.
    static LAST: Cell<(usize, usize, u64)> = const { Cell::new((0, 0, 0)) };
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

    /// The port of a loop that runs on this thread.
    pub(crate) fn of<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Port>> {
        let py = event_loop.py();
        let key = event_loop.as_ptr() as usize;
        let (last, port, epoch) = LAST.get();
        if last == key && epoch == EPOCH.load(Ordering::Acquire) {
            // SAFETY: the registry holds the port as long as the epoch stands.
            return Ok(unsafe { Bound::from_borrowed_ptr(py, port as *mut ffi::PyObject).cast_into_unchecked() });
        }
        Self::look_up(event_loop, key)
    }

    fn look_up<'py>(running: &Bound<'py, PyAny>, key: usize) -> PyResult<Bound<'py, Port>> {
        let py = running.py();
        let epoch = EPOCH.load(Ordering::Acquire);
        let known = PORTS.lock().as_ref().and_then(|ports| ports.get(&key).map(|p| p.clone_ref(py)));
        let port = if let Some(port) = known { port.into_bound(py) } else { Self::open(running, key)? };
        LAST.set((key, port.as_ptr() as usize, epoch));
        Ok(port)
    }

    #[cold]
    fn open<'py>(event_loop: &Bound<'py, PyAny>, key: usize) -> PyResult<Bound<'py, Port>> {
        let py = event_loop.py();
        let shared = Arc::new(Shared { mailbox: Mailbox::new(FdBell::new()?) });
        let port = Bound::new(
            py,
            Port {
                event_loop: PyWeakrefReference::new(event_loop)?.unbind(),
                key,
                parked: Mutex::default(),
                scope: Mutex::default(),
                shared: shared.clone(),
            },
        )?;
        event_loop.call_method1(intern!(py, "add_reader"), (shared.mailbox.bell.fd(), port.getattr(intern!(py, "_drain"))?))?;
        let hook = CloseHook { close: Mutex::new(Some(event_loop.getattr("close")?.unbind())), port: port.clone().unbind() };
        event_loop.setattr("close", hook)?;
        PORTS.lock().get_or_insert_default().insert(key, port.clone().unbind());
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

    pub(crate) fn park(&self, run: &Bound<'_, Run>) {
        self.parked.lock().insert(run.as_ptr() as usize, run.clone().unbind());
    }

    pub(crate) fn unpark(&self, run: &Bound<'_, Run>) {
        let gone = self.parked.lock().remove(&(run.as_ptr() as usize));
        drop(gone);
    }

    fn open_letter(slf: &Bound<'_, Self>, letter: Letter, direct: bool, now: Instant) -> PyResult<()> {
        let py = slf.py();
        match letter {
            Letter::Wake(wake) => match wake.answer(py) {
                Some(run) => Run::woken(&run, slf.get(), direct),
                None => Ok(()),
            },
            Letter::Done(handle, outcome) => {
                let handle = handle.into_cast::<Handle>(py);
                Handle::ended(&handle, outcome, direct, now)
            }
            Letter::Object(handle, result) => {
                let handle = handle.into_cast::<Handle>(py);
                let phase = match result {
                    Ok(value) => Phase::Value(value.into_bound(py).unbind()),
                    Err(e) => Phase::Error(e.into_bound(py).unbind()),
                };
                Handle::resolve(&handle, phase, direct)
            }
            Letter::Allocate(sizes, then) => {
                then(value::Buffers::allocate(py, &sizes)?);
                Ok(())
            }
        }
    }

    /// Let go of everything that waits on this loop. What the dropped runs do in turn is done before this returns.
    fn shut(slf: &Bound<'_, Self>) {
        let py = slf.py();
        let port = slf.get();
        let known = PORTS.lock().as_mut().and_then(|ports| ports.remove(&port.key));
        drop(known);
        EPOCH.fetch_add(1, Ordering::AcqRel);
        let parked = std::mem::take(&mut *port.parked.lock());
        for run in parked.into_values() {
            Run::reap(run.bind(py));
        }
        let scope = port.scope.lock().take();
        drop(scope);
        drop(port.shared.mailbox.close());
        empty_graveyard(py);
    }
}

#[pymethods]
impl Port {
    /// The loop's reader callback.
    fn _drain(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let port = slf.get();
        let mailbox = &port.shared.mailbox;
        mailbox.bell.silence();
        mailbox.begin();
        empty_graveyard(py);
        // A direct wake-up skips `call_soon`, and with it what debug mode would say of a slow callback.
        let direct = !port.event_loop(py)?.call_method0(intern!(py, "get_debug"))?.is_truthy()?;
        let clock = clock();
        let mut now = clock.now();
        let end = now.after(BUDGET);
        let mut fatal = Ok(());
        for _ in 0..BOUND {
            let Some(letter) = mailbox.pop() else { break };
            // Only an exit or an interrupt comes out of a task's step; it goes to whoever runs the loop.
            fatal = Self::open_letter(slf, letter, direct, now);
            now = clock.now();
            if fatal.is_err() || now >= end {
                break;
            }
        }
        mailbox.end();
        fatal
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(parked) = self.parked.try_lock() {
            for run in parked.values() {
                visit.call(run)?;
            }
        }
        if let Some(scope) = self.scope.try_lock() {
            visit.call(&*scope)?;
        }
        Ok(())
    }
}

/// Runs that wait for something native, on all loops.
pub(crate) fn parked() -> usize {
    PORTS.lock().iter().flat_map(HashMap::values).map(|port| port.get().parked.lock().len()).sum()
}

/// In the child of a fork: ports are the parent's. They are forgotten, not dropped: their descriptors are shared.
pub(crate) fn forget_all() {
    EPOCH.fetch_add(1, Ordering::AcqRel);
    std::mem::forget(PORTS.lock().take());
}

/// Stands in for a loop's `close`.
#[pyclass(frozen)]
struct CloseHook {
    close: Mutex<Option<Py<PyAny>>>,
    port: Py<Port>,
}

#[pymethods]
impl CloseHook {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let Some(close) = self.close.lock().as_ref().map(|c| c.clone_ref(py)) else { return Ok(()) };
        let port = self.port.bind(py);
        let event_loop = port.get().event_loop(py)?;
        let truthy = |name: &str| event_loop.call_method0(name)?.is_truthy();
        if !truthy("is_running")? && !truthy("is_closed")? && !port.get().shared.mailbox.closed() {
            Port::shut(port);
            event_loop.call_method1("remove_reader", (port.get().shared.mailbox.bell.fd(),))?;
        }
        close.call0(py)?;
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(close) = self.close.try_lock() {
            visit.call(&*close)?;
        }
        visit.call(&self.port)
    }

    fn __clear__(&self) {
        let close = self.close.lock().take();
        drop(close);
    }
}

/// What `asyncio.gather` leaves on its children: it looks at them and decides a future, so that it needs no context and a drain may call it
/// at once.
pub(crate) fn gathers(callback: &Bound<'_, PyAny>) -> bool {
    // SAFETY: `callback` is a live object; a function's code is borrowed.
    unsafe {
        ffi::PyFunction_Check(callback.as_ptr()) != 0
            && ffi::PyFunction_GetCode(callback.as_ptr()) == face(callback.py()).gather_code.as_ptr()
    }
}

/// The C method by which a `Task` wakes, which a drain may call at once. Anybody else's callback goes through the loop, which handles what it
/// raises.
pub(crate) fn wakes_a_task(callback: &Bound<'_, PyAny>) -> bool {
    // SAFETY: `callback` is a live object; a C function's self is borrowed.
    unsafe {
        if ffi::PyCFunction_CheckExact(callback.as_ptr()) == 0 {
            return false;
        }
        let owner = ffi::PyCFunction_GetSelf(callback.as_ptr());
        !owner.is_null() && ffi::PyObject_TypeCheck(owner, task_type(callback.py())) != 0
    }
}

fn task_type(py: Python<'_>) -> *mut ffi::PyTypeObject {
    static TASK: PyOnceLock<usize> = PyOnceLock::new();
    *TASK.get_or_init(py, || face(py).task_type.as_ptr() as usize) as *mut ffi::PyTypeObject
}

/// Call `callback(argument)` in `context`.
pub(crate) fn call_in(context: &Bound<'_, PyAny>, callback: &Bound<'_, PyAny>, argument: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = context.py();
    // SAFETY: `context` is a context object; enter and exit are paired.
    unsafe {
        if ffi::PyContext_Enter(context.as_ptr()) != 0 {
            return Err(PyErr::fetch(py));
        }
        let result = callback.call1((argument,));
        if ffi::PyContext_Exit(context.as_ptr()) != 0 {
            return Err(PyErr::fetch(py));
        }
        result.map(|_| ())
    }
}
