//! The native side of a runtime: the work that it owns, where native work runs, and which code may start work while it
//! drains. This decides for Python too which runtime code runs in, and why a runtime refuses work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::thread::ThreadId;

use mountain_core::effect::Host;
use mountain_core::policy::limit::Limit;
use mountain_core::runtime::Gate;
use mountain_core::sync::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::context::vars::{accepted_var, get, scope_var, serving_var};
use crate::convert::error::make;
use crate::globals::{self, Workers};
use crate::plan::Plan;
use crate::policy::limit::LimitState;
use crate::port::Port;
use crate::port::owned::Owned;
use crate::python::api::api;

pub(crate) const NEW: u8 = 0;
pub(crate) const RUNNING: u8 = 1;
const DRAINING: u8 = 2;
const CANCELLING: u8 = 3;
const CLOSED: u8 = 4;
/// The phases of a runtime, in their order.
pub(crate) const PHASES: (u8, u8, u8, u8, u8) = (NEW, RUNNING, DRAINING, CANCELLING, CLOSED);

/// Some runtime of this process was entered: until then no code has a current one.
pub(crate) static ENTERED: AtomicBool = AtomicBool::new(false);
/// Some runtime of this process has begun to drain: from then on each await checks whether it is admitted.
pub(crate) static DRAINS: AtomicBool = AtomicBool::new(false);
/// Some runtime has workers of its own: from then on native work looks up where it runs.
pub(crate) static OWN_WORKERS: AtomicBool = AtomicBool::new(false);

/// The number of the next runtime.
pub(crate) static NUMBERS: AtomicUsize = AtomicUsize::new(1);

#[pyclass(frozen, subclass, weakref, module = "mountain_runtime._native")]
pub(crate) struct Scope {
    pub(crate) phase: AtomicU8,
    /// Identifies the runtime: a later one may have the same address.
    pub(crate) number: usize,
    pub(crate) forks: u32,
    pub(crate) entered: Mutex<Option<(Py<Port>, ThreadId)>>,
    pub(crate) owned: Arc<Owned>,
    /// The number of its own workers, if it has any; the workers, while it is entered.
    pub(crate) workers: Mutex<Option<usize>>,
    pub(crate) own: Mutex<Option<Workers>>,
    /// The limit of how much submitted work runs at a time. It alone decides what waits and what goes next: native work
    /// waits for a permit in `gate`, other work in its task, in a slot.
    pub(crate) limit: Mutex<Option<Py<LimitState>>>,
    /// The queue of native work, while the runtime is entered, from the first call on.
    pub(crate) gate: Mutex<Option<Arc<Gate>>>,
}

impl Drop for Scope {
    fn drop(&mut self) {
        // Its calls refer to the table that holds them: this alone breaks the cycle.
        Python::try_attach(|py| self.owned.take_all(py).for_each(drop));
        // It was never left. A plain drop of its workers would wait for them, here on the loop's thread.
        let own = self.own.lock().take();
        if let Some(workers) = own {
            workers.tokio.shutdown_background();
        }
    }
}

impl Scope {
    pub(crate) fn host(&self) -> Arc<Host> {
        match &*self.own.lock() {
            Some(workers) => workers.host.clone(),
            None => globals::default_host(),
        }
    }

    /// The limit of how much submitted work runs at a time, if there is one.
    pub(crate) fn limit(&self) -> Option<Arc<Limit>> {
        self.limit.lock().as_ref().map(|state| state.get().limit.clone())
    }

    /// The queue in which submitted native work waits for its permit, if there is a limit.
    pub(crate) fn gate(&self) -> Option<Arc<Gate>> {
        let mut gate = self.gate.lock();
        if gate.is_none() {
            *gate = self.limit().map(|limit| Gate::new(limit, self.host()));
        }
        gate.clone()
    }

    /// Why `effect` was not started; `call` names it with its kind. `verb` is the method of the runtime that was to
    /// start it, None an await, or `submit`.
    pub(crate) fn refuse(&self, py: Python<'_>, (effect, call): (&str, &str), verb: Option<&str>) -> PyErr {
        if self.forks != globals::forks() {
            return PyRuntimeError::new_err(
                "this Runtime belongs to the process that this one was forked from: make a new Runtime here",
            );
        }
        let what = match self.phase.load(Ordering::SeqCst) {
            NEW => {
                let what = verb.map_or_else(
                    || "this Runtime was not entered".to_owned(),
                    |verb| format!("{verb}() before the Runtime was entered"),
                );
                return PyRuntimeError::new_err(format!("{what}: use `async with runtime:` or run(main, runtime=runtime)"));
            }
            CLOSED if verb.is_some() => "its runtime is closed: make a new Runtime",
            CLOSED => "its runtime is closed: make a new Runtime, or await the effect outside of it",
            _ => "its runtime is shutting down and takes no new work",
        };
        let message = format!("{call} was not started: {what}");
        make(py, &api(py).shutting_down, &message, effect, None, 1)
    }
}

/// Refuses an await where the current runtime does not admit it: a draining one admits code that descends from accepted
/// work or a service, a closed one none.
pub(crate) fn admit(py: Python<'_>, plan: &Plan) -> PyResult<()> {
    if !DRAINS.load(Ordering::Relaxed) {
        return Ok(());
    }
    let Some(scope) = current(py)? else { return Ok(()) };
    if scope.get().phase.load(Ordering::SeqCst) == NEW || admits(&scope)? {
        Ok(())
    } else {
        Err(scope.get().refuse(py, (&plan.name, &plan.title()), None))
    }
}

/// Whether an entered runtime admits awaits of the current code.
pub(crate) fn admits(scope: &Bound<'_, Scope>) -> PyResult<bool> {
    Ok(takes(scope)? || scope.get().phase.load(Ordering::SeqCst) != CLOSED && is(serving_var(scope.py())?, scope)?)
}

/// Whether a runtime takes work that the current code submits; while it drains, only code of accepted work may.
pub(crate) fn takes(scope: &Bound<'_, Scope>) -> PyResult<bool> {
    match scope.get().phase.load(Ordering::SeqCst) {
        RUNNING => Ok(true),
        NEW | CLOSED => Ok(false),
        _ => is(accepted_var(scope.py())?, scope),
    }
}

fn is(var: &Bound<'_, PyAny>, scope: &Bound<'_, Scope>) -> PyResult<bool> {
    Ok(get::<Scope>(var)?.is_some_and(|found| found.is(scope)))
}

/// The runtime of the current code: by context, else by the running loop, since a variable that is set in a web
/// framework's lifespan does not reach its handlers.
#[pyfunction]
#[pyo3(name = "current_scope")]
pub(crate) fn current(py: Python<'_>) -> PyResult<Option<Bound<'_, Scope>>> {
    if let Some(scope) = get::<Scope>(scope_var(py)?)? {
        return Ok(Some(scope));
    }
    if !ENTERED.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let Some(port) = Port::existing(py)? else { return Ok(None) };
    let scope = port.get().scope.lock().as_ref().map(|s| s.clone_ref(py));
    Ok(scope.and_then(|s| s.into_bound(py).cast_into().ok()))
}

/// Where native work that is awaited here runs.
pub(crate) fn host(port: &Bound<'_, Port>) -> PyResult<Arc<Host>> {
    if OWN_WORKERS.load(Ordering::Relaxed)
        && let Some(scope) = current(port.py())?
    {
        return Ok(scope.get().host());
    }
    Ok(globals::default_host())
}
