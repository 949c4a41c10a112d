//! What a loop's thread does with its port: open messages when the bell has rung, and let go of everything when the loop is closed.

use std::time::Duration;

use mountain_core::sync::Mutex;
use mountain_core::time::Instant;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::convert::value;
use crate::globals::{clock, telemetry};
use crate::handle::Handle;
use crate::handle::backing::Phase;
use crate::observe::log;
use crate::observe::spans;
use crate::port::flight_guard::{self, Landing};
use crate::port::{self, Message, Port};
use crate::python::pyref::empty_graveyard;
use crate::run::Run;
use crate::runtime::reap;
use crate::scope::Scope;

/// Messages that one drain opens at most.
const BOUND: usize = 1024;
/// A drain opens no further message after this.
const BUDGET: Duration = Duration::from_millis(5);

#[pymethods]
impl Port {
    /// Have the loop call `_drain` when the bell rings, and let go of the port when it is closed.
    fn _attach(slf: &Bound<'_, Self>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let drain = (
            event_loop.getattr(intern!(py, "add_reader"))?,
            slf.get().shared.mailbox.bell.fd(),
            slf.getattr(intern!(py, "_drain"))?,
        );
        // A loop keeps the context in which a reader was added: ours would be that of whoever comes first.
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
        // A direct wake-up skips `call_soon`, and with it what debug mode would say of a slow callback.
        let direct = !port.event_loop(py)?.call_method0(intern!(py, "get_debug"))?.is_truthy()?;
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
            // Only an exit or an interrupt comes out of a task's step; it goes to whoever runs the loop.
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
        if let Some(parked) = self.parked.try_lock() {
            for run in parked.values() {
                visit.call(run)?;
            }
        }
        if let Some(flying) = self.flying.try_lock() {
            for landing in flying.values() {
                visit.call(landing)?;
            }
        }
        if let Some(scope) = self.scope.try_lock() {
            visit.call(&*scope)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let gone = (self.take_parked(), std::mem::take(&mut *self.flying.lock()), self.scope.lock().take());
        drop(gone);
    }
}

fn open_message(slf: &Bound<'_, Port>, message: Message, direct: bool, now: Instant) -> PyResult<()> {
    let py = slf.py();
    match message {
        Message::Wake(wake) => match wake.answer(py) {
            // SAFETY: what waits is a run, which made the waker.
            Some(run) => Run::woken(&unsafe { run.cast_into_unchecked() }, direct),
            None => Ok(()),
        },
        Message::Done(handle, outcome) => {
            // SAFETY: the reference of such a message is a handle's.
            let handle = unsafe { handle.into_cast::<Handle>(py) };
            Handle::ended(&handle, outcome, direct, now)
        }
        Message::Object(handle, result) => {
            // SAFETY: the reference of such a message is a handle's.
            let handle = unsafe { handle.into_cast::<Handle>(py) };
            let phase = match result {
                Ok(value) => Phase::Value(value.into_bound(py).unbind()),
                Err(e) => Phase::Error(e.into_bound(py).unbind()),
            };
            Handle::resolve(&handle, phase, direct)
        }
        Message::Cancel(task) => flight_guard::cancel(&task.into_bound(py)),
        Message::Allocate(sizes, then) => {
            then(value::Buffers::allocate(py, &sizes)?);
            Ok(())
        }
    }
}

/// Let go of everything that waits on this loop. What the dropped runs do in turn is done before this returns.
fn shut(slf: &Bound<'_, Port>, event_loop: &Bound<'_, PyAny>) {
    let py = slf.py();
    let port = slf.get();
    port::remove(port);
    if let Err(e) = reap::let_go(event_loop) {
        e.write_unraisable(py, Some(event_loop));
    }
    let parked = port.take_parked();
    for run in parked.into_values() {
        if let Ok(run) = run.bind(py).cast::<Run>() {
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
    if let Some(scope) = scope.as_ref().and_then(|scope| scope.bind(py).cast::<Scope>().ok()) {
        scope.get().owned.all(py).iter().for_each(|handle| reap::let_go_of(handle.bind(py)));
    }
    drop(scope);
    spans::loop_closes(py);
    drop(port.shared.mailbox.close());
    empty_graveyard(py);
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
        // To a weak reference a loop that the collector ends is gone before its `__del__` closes it; its method still knows it.
        let Some(event_loop) = port.get().event_loop(py).ok().or(close.bind(py).getattr_opt(intern!(py, "__self__"))?) else {
            return close.call0(py).map(drop);
        };
        let truthy = |name: &str| event_loop.call_method0(name)?.is_truthy();
        if !truthy("is_running")? && !truthy("is_closed")? && !port.get().shared.mailbox.closed() {
            shut(port, &event_loop);
            event_loop.call_method1("remove_reader", (port.get().shared.mailbox.bell.fd(),))?;
        }
        close.call0(py)?;
        Ok(())
    }

    /// Its loop, as of the method that it stands in for.
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
