//! The native methods of Python's `Runtime`: entering and leaving a loop, submitting work, and parts of its shutdown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

use mountain_core::sync::Mutex;
use pyo3::exceptions::{PyBaseException, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::context;
use crate::context::permit_context::PyPermitContext;
use crate::effect::slot::Slot;
use crate::effect::{Effect, Start};
use crate::globals;
use crate::handle::Handle;
use crate::handle::task::of_task;
use crate::policy::limit::LimitState;
use crate::port::Port;
use crate::python::api::api;
use crate::python::os_error::os_error;
use crate::scope::{DRAINS, ENTERED, NEW, NUMBERS, OWN_WORKERS, RUNNING, Scope, admits, takes};

thread_local! {
    static THREAD: ThreadId = std::thread::current().id();
}

/// Read at each submit, where `std::thread::current` would count a reference.
fn this_thread() -> ThreadId {
    THREAD.with(|id| *id)
}

#[pymethods]
impl Scope {
    #[new]
    #[pyo3(signature = (*args, **kwargs))]
    fn new(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        let _ = (args, kwargs);
        Scope {
            phase: AtomicU8::new(NEW),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            forks: globals::forks(),
            entered: Mutex::new(None),
            owned: Arc::default(),
            workers: Mutex::new(None),
            own: Mutex::new(None),
            limit: Mutex::new(None),
            gate: Mutex::new(None),
        }
    }

    /// Without `workers` it shares the process's tokio workers. Of the work submitted to it, at most `max_in_flight`
    /// runs at a time.
    #[pyo3(signature = (workers = None, max_in_flight = None))]
    fn _setup(&self, py: Python<'_>, workers: Option<usize>, max_in_flight: Option<u32>) -> PyResult<()> {
        *self.workers.lock() = workers;
        let limit = max_in_flight.map(|most| Py::new(py, LimitState::new(most, None, false, None, false))).transpose()?;
        let replaced = std::mem::replace(&mut *self.limit.lock(), limit);
        drop(replaced);
        Ok(())
    }

    /// Makes this the running loop's runtime.
    fn _enter(slf: &Bound<'_, Self>) -> PyResult<()> {
        let port = Port::current(slf.py())?;
        let me = slf.get();
        if let Some(workers) = *me.workers.lock() {
            OWN_WORKERS.store(true, Ordering::Relaxed);
            *me.own.lock() = Some(globals::workers(Some(workers)).map_err(|e| os_error(&e, None))?);
        }
        // Dropped outside of the lock: its finalizer may look for the loop's runtime.
        let replaced = port.get().scope.lock().replace(slf.clone().into_any().unbind());
        drop(replaced);
        *me.entered.lock() = Some((port.unbind(), this_thread()));
        *me.gate.lock() = None;
        ENTERED.store(true, Ordering::Relaxed);
        me.phase.store(RUNNING, Ordering::SeqCst);
        Ok(())
    }

    /// Ends that.
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

    /// Whether the current code may await effects in it.
    #[pyo3(name = "_admits")]
    fn admits_here(slf: &Bound<'_, Self>) -> PyResult<bool> {
        admits(slf)
    }

    /// Why work that the runtime does not take is not started, as an exception; `verb` is the method that was to start
    /// it.
    fn _refusal(&self, py: Python<'_>, effect: &str, verb: &str) -> Py<PyBaseException> {
        self.refuse(py, (effect, &format!("effect '{effect}'")), Some(verb)).into_value(py)
    }

    #[getter]
    fn _number(&self) -> usize {
        self.number
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

    /// Starts an effect now, owned by this runtime: it goes on when the handle is dropped, and is drained at shutdown.
    #[pyo3(signature = (effect, /, *, name = None))]
    fn submit<'py>(
        slf: &Bound<'py, Self>,
        effect: &Bound<'py, PyAny>,
        name: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Handle>> {
        let py = slf.py();
        let me = slf.get();
        let Ok(effect) = effect.cast::<Effect>() else {
            return Err(PyErr::from_value(api(py).not_an_effect.bind(py).call1(("submit()", effect))?));
        };
        let e = effect.get();
        e.mark_used();
        if me.forks != globals::forks() || !takes(slf)? {
            return Err(me.refuse(py, (&e.plan.get().name, &e.plan.get().title()), None));
        }
        let port = {
            let entered = me.entered.lock();
            let Some((port, thread)) = &*entered else { return Err(PyRuntimeError::new_err("the runtime was not entered")) };
            if *thread != this_thread() {
                return Err(PyRuntimeError::new_err(
                    "submit() belongs to the thread of the runtime's loop: from other threads use from_thread()",
                ));
            }
            port.bind(py).clone()
        };
        let work = context::submitted(py)?;
        let handle = if e.is_native() {
            let gate = me.gate();
            let host = gate.as_ref().map_or_else(|| me.host(), |gate| gate.host().clone());
            e.launch(&port, &host, Start::Submitted { gate, work: work.clone() })?
        } else {
            let kwargs = PyDict::new(py);
            kwargs.set_item(intern!(py, "name"), name)?;
            if let Some(work) = work.clone() {
                kwargs.set_item(intern!(py, "permit_context"), PyPermitContext::of_work(py, work)?)?;
            }
            let limit = me.limit.lock().as_ref().map(|limit| limit.clone_ref(py));
            if let Some(limit) = limit {
                let slot = Slot::for_submitted(limit, e.plan.get().name.clone());
                kwargs.set_item(intern!(py, "slot"), Bound::new(py, slot)?)?;
            }
            let task = slf.call_method(intern!(py, "_spawn"), (effect,), Some(&kwargs))?;
            of_task(&port, e.plan.clone_ref(py), &task)?
        };
        if handle.get().pending() {
            let place = me.owned.keep(py, handle.clone().into_any().unbind());
            handle.get().owned(me.owned.clone(), place, work);
        }
        Ok(handle)
    }

    /// Refuses all work that waits for a permit of its concurrency limit. False: it has none.
    #[pyo3(name = "_refuse_queued")]
    fn refuse_queued(&self) -> bool {
        self.limit().map(|limit| limit.refuse_all()).is_some()
    }

    /// In the child of a fork: the work that ran or waited is the parent's.
    fn _after_fork(&self) {
        if let Some(limit) = self.limit() {
            limit.forget_parent();
        }
    }

    /// Owns a task that was not submitted until it ends, as run's main.
    fn _own(&self, task: &Bound<'_, PyAny>) -> PyResult<()> {
        self.own_task(task)
    }

    /// The handles of submitted work that has not ended, and tasks of `_own`.
    fn _in_flight(&self, py: Python<'_>) -> Vec<Py<PyAny>> {
        self.owned.all(py)
    }

    /// Ends the runtime's own workers within `timeout` seconds, if it has any. False: some of their work was left
    /// behind.
    fn _end_workers(&self, py: Python<'_>, timeout: f64) -> bool {
        let Some(workers) = self.own.lock().take() else { return true };
        let time = Duration::try_from_secs_f64(timeout).unwrap_or(Duration::from_secs(1));
        let clock = globals::clock();
        let end = clock.now().after(time);
        py.detach(|| workers.tokio.shutdown_timeout(time));
        clock.now() < end
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.owned.traverse(&visit)?;
        if let Some(entered) = self.entered.try_lock()
            && let Some((port, _)) = &*entered
        {
            visit.call(port)?;
        }
        if let Some(limit) = self.limit.try_lock() {
            visit.call(&*limit)?;
        }
        Ok(())
    }

    fn __clear__(&self, py: Python<'_>) {
        self.owned.take_all(py).for_each(drop);
        let gone = self.entered.lock().take();
        drop(gone);
    }
}
