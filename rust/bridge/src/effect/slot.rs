//! A block of code under a limit, as an async context manager without a coroutine: both ends of the block await the
//! slot itself.
//!
//!  1. The first step takes a permit, if one is free and no caller waits, and the await is over. Otherwise it queues
//!     natively.
//!  2. The last step has the permit. From then on the task's context says that the block holds it.
//!  3. The step of `__aexit__` returns the permit.
//!
//! Races: a cancel or a closed loop, during a wait. Both end the native call, which returns a permit that it was
//! granted.

use std::sync::Arc;

use mountain_core::effect::{Flight, Use};
use mountain_core::policy::limit::Permit;
use mountain_core::runtime::{Queued, Then};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyWeakrefMethods, PyWeakrefReference};
use pyo3::{PyTraverseError, PyVisit, ffi};

use crate::context;
use crate::context::permit_context::PyPermitContext;
use crate::context::vars::permit_context_var;
use crate::convert::provided::Provided;
use crate::effect::{Effect, Work};
use crate::globals::clock;
use crate::handle::Handle;
use crate::plan::Plan;
use crate::policy::keyed;
use crate::policy::limit::{Granted, LimitState};
use crate::policy::reentry;
use crate::python::attached::Attached;
use crate::python::free_list::{Idle, Reused};
use crate::python::type_slots::{Step, Steps, thrown, track};

/// The message for a slot that is awaited or entered by `with`.
const NO_BLOCK: &str = "slot() is an asynchronous block: write `async with limit.slot():`";

impl Provided for Permit {
    fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok(Bound::new(py, Granted::new(self))?.into_any())
    }
}

#[derive(Default)]
enum State {
    #[default]
    New,
    Entering,
    Queued(Py<Handle>),
    Inside(Inside),
    Leaving(Inside),
    Left,
}

struct Inside {
    permit: Permit,
    within: Py<PyPermitContext>,
    /// Resets the context variable.
    token: Py<PyAny>,
}

/// `async with limit.slot():` holds a place for a block of code. It is entered once.
#[pyclass(frozen, freelist = 1024, module = "mountain_runtime._native")]
pub(crate) struct Slot {
    permits: Py<LimitState>,
    key: Option<Py<PyAny>>,
    user: User,
    state: Attached<State>,
}

/// The holder of the slot, by which errors name the call that waits for it.
enum User {
    /// A block of code. With the limit as Python has it.
    Block(Py<PyAny>),
    /// Work of that name, submitted to a runtime that limits how much of it runs.
    Submitted(String),
}

impl Reused for Slot {
    const MOST: usize = 1024;

    fn idle() -> &'static Idle {
        static IDLE: Idle = Idle::new();
        &IDLE
    }
}

impl Slot {
    fn set(&self, py: Python<'_>, state: State) {
        // Dropping the old state may run Python code: outside of the lock.
        let was = std::mem::replace(&mut *self.state.lock(py), state);
        drop(was);
    }

    /// The first step: takes a permit (`None`), or starts the call that waits for one.
    fn begin<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, Handle>>> {
        let permits = self.permits.get();
        let key = self.key.as_ref().map(|key| keyed::intern(&permits.keys, key.bind(py))).transpose()?;
        let number = key.as_ref().map_or(0, Use::number);
        let (held, flight) = context::held_and_flight(py)?;
        if let Some(permit) = permits.limit.try_permit(clock(), number, held.clone()) {
            return self.enter(py, permit, flight).map(|()| None);
        }
        if let Some(held) = &held {
            reentry::disown_abandoned(py, held, || permits.limit.reenters(number, held))?;
        }
        let (plan, priority) = (self.plan(py)?.unbind(), context::priority(py)?);
        let work = Work::native(Queued { limit: permits.limit.clone(), priority, held, then: Then::Hand(key) });
        Effect::of(py, work, plan)?.get().start(py).map(Some)
    }

    /// The block holds `permit` from now on, and the context of this task says so.
    fn enter(&self, py: Python<'_>, permit: Permit, flight: Option<Arc<Flight>>) -> PyResult<()> {
        let within = Bound::new(py, PyPermitContext::new(py, Some(permit.held().clone()), flight)?)?;
        // SAFETY: a context variable is set to a live object; the token is an owned reference, or null with an error.
        let token = unsafe {
            Bound::from_owned_ptr_or_err(py, ffi::PyContextVar_Set(permit_context_var(py)?.as_ptr(), within.as_ptr()))?.unbind()
        };
        self.set(py, State::Inside(Inside { permit, within: within.unbind(), token }));
        Ok(())
    }

    /// A place for submitted work of that name.
    pub(crate) fn for_submitted(permits: Py<LimitState>, name: String) -> Self {
        Slot { permits, key: None, user: User::Submitted(name), state: Attached::default() }
    }

    /// The plan of the call that waits. Blocks of one limit that wait together share it. The wait of submitted work is
    /// not counted, since the work is, and its errors name no policy.
    fn plan<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Plan>> {
        let permits = self.permits.get();
        let limit = match &self.user {
            User::Submitted(name) => return Plan::silent(py, name),
            User::Block(limit) => limit.bind(py),
        };
        let known = permits.plan.lock().as_ref().map(|plan| plan.clone_ref(py));
        if let Some(plan) = known.and_then(|plan| plan.bind(py).upgrade()).and_then(|plan| plan.cast_into::<Plan>().ok()) {
            return Ok(plan);
        }
        let plan = Plan::of_block(limit, &format!("{}.slot", permits.name.as_deref().unwrap_or("ConcurrencyLimit")))?;
        let replaced = permits.plan.lock().replace(PyWeakrefReference::new(&plan)?.unbind());
        drop(replaced);
        Ok(plan)
    }

    /// One step of the call that waits for a permit.
    fn wait<'py>(&self, handle: &Bound<'py, Handle>) -> PyResult<Step<'py>> {
        let py = handle.py();
        let granted = match Handle::step(handle) {
            Step::Return(granted) => granted,
            step => return Ok(step),
        };
        let permit = granted.cast::<Granted>().ok().and_then(|granted| granted.get().take());
        let permit = permit.ok_or_else(|| PyRuntimeError::new_err("a slot got no permit: this is a bug in mountain-runtime"))?;
        self.enter(py, permit, context::held_and_flight(py)?.1)?;
        Ok(Step::Return(py.None().into_bound(py)))
    }

    /// The await ends by an exception: whatever it holds or waits for is given up.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        let was = {
            let mut state = self.state.lock(py);
            if let State::Inside(_) = &*state {
                return Ok(());
            }
            std::mem::replace(&mut *state, State::Left)
        };
        match was {
            // Nothing awaits it any more: a waiter that it woke would be in the middle of its step.
            State::Queued(handle) => {
                handle.get().let_go();
                Ok(())
            }
            State::Leaving(inside) => inside.leave(py),
            _ => Ok(()),
        }
    }
}

impl Inside {
    fn leave(self, py: Python<'_>) -> PyResult<()> {
        self.within.get().over();
        drop(self.permit);
        // SAFETY: the variable and its token; an error is set when it fails.
        if unsafe { ffi::PyContextVar_Reset(permit_context_var(py)?.as_ptr(), self.token.as_ptr()) } == 0 {
            return Ok(());
        }
        let e = PyErr::fetch(py);
        // The block was entered in another context, as in a generator.
        if e.is_instance_of::<PyValueError>(py) { Ok(()) } else { Err(e) }
    }
}

impl Steps for Slot {
    fn step<'py>(slf: &Bound<'py, Self>) -> Step<'py> {
        let (py, me) = (slf.py(), slf.get());
        let over = || Step::Return(py.None().into_bound(py));
        let was = {
            let mut state = me.state.lock(py);
            match &*state {
                State::New => return Step::Error(PyTypeError::new_err(NO_BLOCK)),
                State::Inside(_) | State::Left => return over(),
                State::Queued(handle) => State::Queued(handle.clone_ref(py)),
                State::Entering | State::Leaving(_) => std::mem::replace(&mut *state, State::Left),
            }
        };
        let handle = match was {
            State::Queued(handle) => handle,
            State::Leaving(inside) => return inside.leave(py).map_or_else(Step::Error, |()| over()),
            _ => match me.begin(py) {
                Ok(Some(handle)) => {
                    me.set(py, State::Queued(handle.clone().unbind()));
                    handle.unbind()
                }
                Ok(None) => return over(),
                Err(e) => return Step::Error(e),
            },
        };
        let step = me.wait(handle.bind(py)).unwrap_or_else(Step::Error);
        if let Step::Error(_) = &step {
            me.set(py, State::Left);
        }
        step
    }
}

/// A slot of `limit`, whose state is `permits`. A function takes 380 instructions less than a class that is called.
#[pyfunction]
#[pyo3(signature = (permits, limit, key = None, /))]
pub(crate) fn slot(
    py: Python<'_>,
    permits: Py<LimitState>,
    limit: Py<PyAny>,
    key: Option<Py<PyAny>>,
) -> PyResult<Bound<'_, Slot>> {
    if permits.get().keyed != key.is_some() {
        return Err(PyErr::from_value(limit.bind(py).call_method1(intern!(py, "_wrong_key"), (key,))?));
    }
    Bound::new(py, Slot { permits, key, user: User::Block(limit), state: Attached::default() })
}

#[pymethods]
impl Slot {
    /// Explains `with`, written for `async with`.
    fn __enter__(_slf: &Bound<'_, Self>) -> PyResult<()> {
        Err(PyTypeError::new_err(NO_BLOCK))
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(_slf: &Bound<'_, Self>, _raised: &Bound<'_, PyTuple>) {}

    fn __aenter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        {
            let mut state = slf.get().state.lock(slf.py());
            let State::New = &*state else { return Err(PyRuntimeError::new_err("a slot is entered once: ask for another")) };
            *state = State::Entering;
        }
        // From here on the slot may be part of a cycle.
        track(&slf);
        Ok(slf)
    }

    #[pyo3(signature = (_kind, _error, _traceback, /))]
    fn __aexit__<'py>(
        slf: Bound<'py, Self>,
        _kind: &Bound<'py, PyAny>,
        _error: &Bound<'py, PyAny>,
        _traceback: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Self>> {
        {
            let mut state = slf.get().state.lock(slf.py());
            *state = match std::mem::replace(&mut *state, State::Left) {
                State::Inside(inside) => State::Leaving(inside),
                left @ (State::Leaving(_) | State::Left) => left,
                entering => {
                    *state = entering;
                    return Err(PyRuntimeError::new_err("a slot is left when it has been entered"));
                }
            };
        }
        Ok(slf)
    }

    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }
    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::step(slf).into_next()
    }

    #[pyo3(signature = (value, /))]
    fn send<'py>(slf: &Bound<'py, Self>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let _ = value;
        Self::step(slf).into_next()
    }

    #[pyo3(signature = (typ, val = None, tb = None, /))]
    fn throw<'py>(
        &self,
        py: Python<'py>,
        typ: Bound<'py, PyAny>,
        val: Option<Bound<'py, PyAny>>,
        tb: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = tb;
        self.stop(py)?;
        Err(thrown(typ, val))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.stop(py)
    }

    /// The handle that it waits for.
    #[getter]
    fn cr_await(&self, py: Python<'_>) -> Option<Py<Handle>> {
        match &*self.state.lock(py) {
            State::Queued(handle) => Some(handle.clone_ref(py)),
            _ => None,
        }
    }

    /// The block was abandoned: its permit no longer counts as held by the code that left it.
    fn disown(&self, py: Python<'_>) {
        if let State::Inside(inside) | State::Leaving(inside) = &*self.state.lock(py) {
            inside.permit.disown();
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.permits)?;
        visit.call(&self.key)?;
        if let User::Block(limit) = &self.user {
            visit.call(limit)?;
        }
        // SAFETY: the collector is attached, and nothing of Python's runs here.
        let py = unsafe { Python::assume_attached() };
        match self.state.try_lock(py).as_deref() {
            Some(State::Queued(handle)) => visit.call(handle),
            Some(State::Inside(inside) | State::Leaving(inside)) => {
                visit.call(&inside.within).and_then(|()| visit.call(&inside.token))
            }
            _ => Ok(()),
        }
    }

    fn __clear__(&self, py: Python<'_>) {
        self.set(py, State::Left);
    }
}
