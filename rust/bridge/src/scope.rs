//! A runtime's share of the native side: the work it owns, its own workers, and who is let in while it drains.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

use mountain_core::effect::Host;
use mountain_core::sync::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::context::{accepted_var, get, scope_var};
use crate::effect::Effect;
use crate::error::make;
use crate::face::face;
use crate::handle::{Handle, expected, of_task};
use crate::port::Port;
use crate::process::{self, Workers};

pub(crate) const NEW: u8 = 0;
pub(crate) const RUNNING: u8 = 1;
pub(crate) const CLOSED: u8 = 4;

/// Some runtime of this process has begun to drain: from then on each await asks whether it is let in.
static DRAINS: AtomicBool = AtomicBool::new(false);
/// Some runtime has workers of its own: from then on native work asks where it runs.
static OWN_WORKERS: AtomicBool = AtomicBool::new(false);

thread_local! {
    static THREAD: ThreadId = std::thread::current().id();
}

/// Asked at each submit: `std::thread::current` counts a reference.
fn this_thread() -> ThreadId {
    THREAD.with(|id| *id)
}

#[derive(Default)]
struct Owned {
    handles: Vec<Option<Py<Handle>>>,
    free: Vec<u32>,
}

#[pyclass(frozen, subclass, weakref, module = "mountain_runtime._native")]
pub(crate) struct Scope {
    phase: AtomicU8,
    forks: u32,
    entered: Mutex<Option<(Py<Port>, ThreadId)>>,
    owned: Mutex<Owned>,
    workers: Mutex<Option<usize>>,
    own: Mutex<Option<Workers>>,
}

#[pymethods]
impl Scope {
    #[new]
    #[pyo3(signature = (*args, **kwargs))]
    fn new(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        let _ = (args, kwargs);
        Scope {
            phase: AtomicU8::new(NEW),
            forks: process::forks(),
            entered: Mutex::new(None),
            owned: Mutex::default(),
            workers: Mutex::new(None),
            own: Mutex::new(None),
        }
    }

    /// With `workers` it has tokio workers of its own; without, it shares the process's.
    #[pyo3(signature = (workers = None))]
    fn _setup(&self, workers: Option<usize>) {
        *self.workers.lock() = workers;
    }

    /// On the loop: this is its runtime from now on.
    fn _enter(slf: &Bound<'_, Self>) -> PyResult<()> {
        let port = Port::current(slf.py())?;
        let me = slf.get();
        if let Some(workers) = *me.workers.lock() {
            OWN_WORKERS.store(true, Ordering::Relaxed);
            *me.own.lock() = Some(process::workers(Some(workers))?);
        }
        *port.get().scope.lock() = Some(slf.clone().unbind());
        *me.entered.lock() = Some((port.unbind(), this_thread()));
        me.phase.store(RUNNING, Ordering::SeqCst);
        Ok(())
    }

    /// No longer the loop's runtime.
    fn _leave(slf: &Bound<'_, Self>) {
        let entered = slf.get().entered.lock().take();
        let Some((port, _)) = entered else { return };
        let mut scope = port.get().scope.lock();
        if scope.as_ref().is_some_and(|s| s.is(slf)) {
            let gone = scope.take();
            drop(scope);
            drop(gone);
        }
    }

    #[getter(_phase)]
    fn phase(&self) -> u8 {
        self.phase.load(Ordering::SeqCst)
    }
    #[setter(_phase)]
    fn set_phase(&self, phase: u8) {
        if phase > RUNNING {
            DRAINS.store(true, Ordering::SeqCst);
        }
        self.phase.store(phase, Ordering::SeqCst);
    }

    /// Start an effect now, owned by this runtime: it goes on when the handle is dropped, and is drained at shutdown.
    #[pyo3(signature = (effect, /, *, name = None))]
    fn submit<'py>(
        slf: &Bound<'py, Self>,
        effect: &Bound<'py, PyAny>,
        name: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Handle>> {
        let py = slf.py();
        let me = slf.get();
        let Ok(effect) = effect.cast::<Effect>() else { return Err(expected("an Effect", effect)) };
        let e = effect.get();
        if me.phase.load(Ordering::SeqCst) != RUNNING || me.forks != process::forks() {
            e.mark_used();
            return Err(me.refuse(py, &e.plan.get().name));
        }
        let port = {
            let entered = me.entered.lock();
            let Some((port, thread)) = &*entered else { return Err(PyRuntimeError::new_err("the runtime was not entered")) };
            if *thread != this_thread() {
                e.mark_used();
                return Err(PyRuntimeError::new_err(
                    "submit() belongs to the thread of the runtime's loop: from other threads use from_thread()",
                ));
            }
            port.bind(py).clone()
        };
        let handle = if e.is_native() {
            e.mark_used();
            let host = me.host();
            e.launch(&port, &host, true)?
        } else {
            let kwargs = PyDict::new(py);
            kwargs.set_item(intern!(py, "name"), name)?;
            let task = slf.call_method(intern!(py, "_spawn"), (effect,), Some(&kwargs))?;
            of_task(&port, e.plan.clone_ref(py), &task)?
        };
        Self::take_over(slf, &handle);
        Ok(handle)
    }

    /// What was submitted and has not ended.
    fn _in_flight(&self, py: Python<'_>) -> Vec<Py<Handle>> {
        self.owned.lock().handles.iter().flatten().map(|h| h.clone_ref(py)).collect()
    }

    /// End its own workers. True: they have ended; False: they were left running when the time was up.
    fn _close_native(&self, py: Python<'_>, timeout: f64) -> bool {
        let Some(workers) = self.own.lock().take() else { return true };
        let time = Duration::try_from_secs_f64(timeout).unwrap_or(Duration::from_secs(1));
        let clock = process::clock();
        let end = clock.now().after(time);
        py.detach(|| workers.tokio.shutdown_timeout(time));
        clock.now() < end
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(owned) = self.owned.try_lock() {
            for handle in owned.handles.iter().flatten() {
                visit.call(handle)?;
            }
        }
        if let Some(entered) = self.entered.try_lock()
            && let Some((port, _)) = &*entered
        {
            visit.call(port)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let gone = (std::mem::take(&mut *self.owned.lock()), self.entered.lock().take());
        drop(gone);
    }
}

impl Scope {
    fn take_over(slf: &Bound<'_, Self>, handle: &Bound<'_, Handle>) {
        if !handle.get().pending() {
            return;
        }
        let place = {
            let mut owned = slf.get().owned.lock();
            let place = owned.free.pop().unwrap_or_else(|| {
                owned.handles.push(None);
                (owned.handles.len() - 1) as u32
            });
            owned.handles[place as usize] = Some(handle.clone().unbind());
            place
        };
        handle.get().owned(slf.clone().unbind(), place);
    }

    /// An owned handle has ended.
    pub(crate) fn release(&self, place: u32) {
        let gone = {
            let mut owned = self.owned.lock();
            let gone = owned.handles[place as usize].take();
            owned.free.push(place);
            if owned.free.len() == owned.handles.len() && owned.free.len() > 1024 {
                // A burst is over: its table goes back to the allocator.
                *owned = Owned::default();
            }
            gone
        };
        drop(gone);
    }

    fn host(&self) -> Arc<Host> {
        match &*self.own.lock() {
            Some(workers) => workers.host.clone(),
            None => process::default_host(),
        }
    }

    fn refuse(&self, py: Python<'_>, effect: &str) -> PyErr {
        if self.forks != process::forks() {
            return PyRuntimeError::new_err(
                "this Runtime belongs to the process that this one was forked from: make a new Runtime here",
            );
        }
        let what = match self.phase.load(Ordering::SeqCst) {
            NEW => {
                return PyRuntimeError::new_err(
                    "this Runtime was not entered: use `async with runtime:` or run(main, runtime=runtime)",
                );
            }
            CLOSED => "its runtime is closed: make a new Runtime, or await the effect outside of it",
            _ => "its runtime is shutting down and takes no new work",
        };
        let message = format!("effect '{effect}' was not started: {what}");
        make(py, &face(py).shutting_down, &message, effect, None, 1)
    }
}

/// May an effect start here? While a runtime drains, only what descends from accepted work goes on; when it is closed, nothing of its own does.
pub(crate) fn admit(py: Python<'_>, effect: &str) -> PyResult<()> {
    if !DRAINS.load(Ordering::Relaxed) {
        return Ok(());
    }
    let Some(scope) = current(py)? else { return Ok(()) };
    let me = scope.get();
    match me.phase.load(Ordering::SeqCst) {
        NEW | RUNNING => Ok(()),
        CLOSED => Err(me.refuse(py, effect)),
        _ => {
            let accepted = get::<Scope>(accepted_var(py)?)?;
            if accepted.is_some_and(|a| a.is(&scope)) { Ok(()) } else { Err(me.refuse(py, effect)) }
        }
    }
}

/// The runtime of the current code: by context, else by the running loop.
fn current(py: Python<'_>) -> PyResult<Option<Bound<'_, Scope>>> {
    if let Some(scope) = get::<Scope>(scope_var(py)?)? {
        return Ok(Some(scope));
    }
    // Without a loop the await will fail of itself.
    let Ok(port) = Port::current(py) else { return Ok(None) };
    let scope = port.get().scope.lock().as_ref().map(|s| s.clone_ref(py));
    Ok(scope.map(|s| s.into_bound(py)))
}

/// Where native work that is awaited here runs.
pub(crate) fn host(port: &Bound<'_, Port>) -> PyResult<Arc<Host>> {
    if OWN_WORKERS.load(Ordering::Relaxed)
        && let Some(scope) = current(port.py())?
    {
        return Ok(scope.get().host());
    }
    Ok(process::default_host())
}
