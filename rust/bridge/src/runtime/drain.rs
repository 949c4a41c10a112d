//! The drain of a port on its loop's thread: it opens messages when the bell has rung, and releases all waiters when
//! the loop is closed.
//!
//! The port's methods for Python are here and not with the port, since they open messages for handles, runs and scopes,
//! which are rooms above it. pyo3 allows one block of methods for a class, so those for the collector are here too.

use std::time::Duration;

use mountain_core::sync::Mutex;
use mountain_core::time::Instant;
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::convert::value;
use crate::globals::{clock, telemetry};
use crate::handle::Handle;
use crate::handle::backing::Phase;
use crate::observe::log;
use crate::observe::spans;
use crate::port::Port;
use crate::port::flight_guard::{self, Landing};
use crate::port::queue::Message;
use crate::port::registry;
use crate::python::pyref::empty_graveyard;
use crate::run::Run;

/// The number of messages that one drain opens at most.
const BOUND: usize = 1024;
/// The time after which a drain opens no further message.
const BUDGET: Duration = Duration::from_millis(5);

#[pymethods]
impl Port {
    /// Has the loop call `_drain` when the bell rings, and let go of the port when it is closed.
    fn _attach(slf: &Bound<'_, Self>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let drain = (
            event_loop.getattr(intern!(py, "add_reader"))?,
            slf.get().shared.mailbox.bell.fd(),
            slf.getattr(intern!(py, "_drain"))?,
        );
        // A loop calls a reader in the context in which it was added. An empty one, so that drains do not run in the
        // context of the code that happens to make the port.
        py.import("contextvars")?.call_method0("Context")?.call_method1(intern!(py, "run"), drain)?;
        let hook = CloseHook { close: Mutex::new(Some(event_loop.getattr("close")?.unbind())), port: slf.clone().unbind() };
        event_loop.setattr("close", hook)
    }

    /// The loop's reader callback.
    fn _drain(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let port = slf.get();
        let mailbox = &port.shared.mailbox;
        let rung = mailbox.bell.silence();
        mailbox.begin();
        empty_graveyard(py);
        log::hand_over(py);
        // In debug mode tasks are woken by `call_soon`, which reports slow callbacks; a direct wake-up would skip that.
        let direct = !port.event_loop.get(py)?.call_method0(intern!(py, "get_debug"))?.is_truthy()?;
        let clock = clock();
        let mut now = clock.now();
        let pulse = &telemetry().pulse;
        if rung != 0 {
            pulse.lag.record(now.nanos().saturating_sub(rung));
        }
        let end = now.after(BUDGET);
        let mut fatal = Ok(());
        let mut messages = 0;
        for _ in 0..BOUND {
            let Some(message) = mailbox.pop() else { break };
            messages += 1;
            // Only SystemExit and KeyboardInterrupt come out of a task's step: they go on to the code that runs the
            // loop.
            fatal = open_message(slf, message, direct, now);
            now = clock.now();
            if fatal.is_err() || now >= end {
                break;
            }
        }
        pulse.messages.record(messages);
        mailbox.end();
        fatal
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.traverse(&visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        let_go(self, py);
        self.clear();
    }
}

/// A port goes without `shut` where its loop is collected and was not closed.
impl Drop for Port {
    fn drop(&mut self) {
        registry::remove(self);
        // Attached, but for a deallocation at the interpreter's end.
        Python::try_attach(|py| let_go(self, py));
        drop(self.shared.mailbox.close());
    }
}

/// Asks the native calls that are under way to end: no code will go on from them.
fn let_go(port: &Port, py: Python<'_>) {
    for handle in port.native.take_all(py) {
        // SAFETY: `Handle::begin` keeps handles there.
        unsafe { handle.bind(py).cast_unchecked::<Handle>() }.get().let_go();
    }
}

fn open_message(slf: &Bound<'_, Port>, message: Message, direct: bool, now: Instant) -> PyResult<()> {
    let py = slf.py();
    match message {
        Message::Wake(wake) => match wake.answer(py) {
            // SAFETY: a waker finds the run that made it.
            Some(run) => Run::woken(&unsafe { run.cast_into_unchecked() }, direct),
            None => Ok(()),
        },
        Message::Done(place, outcome) => match slf.get().native.release(py, place) {
            // SAFETY: `Handle::begin` keeps handles there.
            Some(handle) => Handle::ended(unsafe { handle.bind(py).cast_unchecked() }, outcome, direct, now),
            None => Ok(()),
        },
        Message::Object(handle, result) => {
            // SAFETY: the reference of such a message is a weak one to a handle.
            let Some(handle) = unsafe { handle.into_cast::<PyWeakrefReference>(py) }.upgrade() else { return Ok(()) };
            // SAFETY: as above.
            let handle = unsafe { handle.cast_into_unchecked::<Handle>() };
            let phase = match result {
                Ok(value) => Phase::Value(value.into_bound(py).unbind()),
                Err(e) => Phase::Error(e.into_bound(py).unbind()),
            };
            Handle::resolve(&handle, phase, direct)
        }
        // SAFETY: the reference of such a message is a weak one.
        Message::Cancel(task) => match unsafe { task.into_cast::<PyWeakrefReference>(py) }.upgrade() {
            Some(task) => flight_guard::cancel(&task),
            None => Ok(()),
        },
        Message::Allocate(sizes, then) => {
            then(value::Buffers::allocate(py, &sizes)?);
            Ok(())
        }
        Message::Job(job) => {
            job();
            Ok(())
        }
    }
}

/// Lets go of everything that waits on this loop. What the dropped runs do in turn is done before this returns.
fn shut(slf: &Bound<'_, Port>) {
    let py = slf.py();
    let port = slf.get();
    registry::remove(port);
    let_go(port, py);
    let parked = port.take_parked();
    for run in parked.into_values() {
        if let Ok(run) = run.bind(py).cast::<Run>() {
            Run::reap(run);
        }
    }
    for wake in port.shared.take_open().into_values() {
        if let Some(run) = wake.answer(py)
            && let Ok(run) = run.cast::<Run>()
        {
            Run::reap(run);
        }
    }
    let flying = std::mem::take(&mut *port.flying.lock());
    for landing in flying.into_values() {
        if let Ok(landing) = landing.bind(py).cast::<Landing>() {
            Landing::lost(landing);
        }
    }
    let scope = port.scope.lock().take();
    drop(scope);
    spans::loop_closes(py);
    drop(port.shared.mailbox.close());
    empty_graveyard(py);
}

/// Replaces a loop's `close`: lets go of what waits on the loop, then calls the original.
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
        // A loop that the collector ends is gone from the port's weak reference before its `__del__` closes it. The
        // original method still has it.
        let Some(event_loop) = port.get().event_loop.get(py).ok().or(close.bind(py).getattr_opt(intern!(py, "__self__"))?) else {
            return close.call0(py).map(drop);
        };
        let truthy = |name: &str| event_loop.call_method0(name)?.is_truthy();
        if !truthy("is_running")? && !truthy("is_closed")? && !port.get().shared.mailbox.closed() {
            shut(port);
            event_loop.call_method1("remove_reader", (port.get().shared.mailbox.bell.fd(),))?;
        }
        close.call0(py)?;
        Ok(())
    }

    /// The loop, as of the method that this replaces.
    #[getter]
    fn __self__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let close = self.close.lock().as_ref().map(|close| close.clone_ref(py));
        close.map_or_else(|| Ok(py.None()), |close| close.getattr(py, intern!(py, "__self__")))
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
