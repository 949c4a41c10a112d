//! The effect: work as a value. Building one runs nothing; each await runs it once more. To asyncio it is a coroutine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mountain_core::effect::{Deadline, Group, Holder, Host, Mode, Operation, PermitContext};
use mountain_core::error::{Origin, Owner};
use mountain_core::runtime::{Gate, Program};
use mountain_core::sync::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit, ffi, intern};

use crate::context::current::current_task;
use crate::context::deadline_source::DeadlineSource;
use crate::context::{self, Inherited, inherited};
use crate::convert::error::timed_out;
use crate::globals::clock;
use crate::handle::Handle;
use crate::observe::ends;
use crate::observe::retries;
use crate::observe::spans;
use crate::observe::watch;
use crate::observe::watchers;
use crate::plan::Plan;
use crate::plan::signature;
use crate::port::Port;
use crate::python::api::api;
use crate::python::expected::expected;
use crate::python::free_list::{Idle, Reused};
use crate::python::pyref::PyRef;
use crate::python::type_slots;
use crate::run::Run;
use crate::run::leaf::PyLeaf;
use crate::scope;

/// How a native effect is started.
pub(crate) enum Start {
    /// By code that waits for it.
    Awaited,
    /// By code that may not wait for it: it stands under no deadline of the caller's, and begins under a permit of its runtime's, if that has a limit.
    Submitted {
        gate: Option<Arc<Gate>>,
        /// What it is a part of when it is awaited; None where nothing that could wait for it submits it.
        work: Option<Arc<PermitContext>>,
    },
}

pub(crate) enum Work {
    /// A function that gives an awaitable.
    Call { callable: Py<PyAny>, args: Py<PyTuple>, kwargs: Option<Py<PyDict>> },
    /// With the arguments of the call that made it, where there were some.
    Native { operation: Arc<dyn Operation>, given: Option<Box<Given>> },
    /// Native effects, run together.
    Group { children: Vec<Py<Effect>>, mode: Mode },
}

impl Work {
    /// Of no call that a policy's key could be asked about.
    pub(crate) fn native(operation: impl Operation + 'static) -> Self {
        Work::Native { operation: Arc::new(operation), given: None }
    }

    /// What one run of it starts, if it is native. A group's children bring to their policies what holds for whoever runs the group.
    fn operation(&self, py: Python<'_>, start: &Start) -> PyResult<Option<Arc<dyn Operation>>> {
        match self {
            Work::Call { .. } => Ok(None),
            Work::Native { operation, .. } => Ok(Some(operation.clone())),
            Work::Group { children, mode } => {
                let tallies = children.iter().map(|child| child.get().plan.get().tally.clone()).collect();
                let told = ends::counted(py, tallies)?;
                let children = children.iter().map(|child| child.get().child(py, start)).collect::<PyResult<Option<_>>>()?;
                Ok(children.map(|children| Arc::new(Group { children, mode: *mode, told: Some(told) }) as Arc<dyn Operation>))
            }
        }
    }
}

/// What a native effect was called with, as far as it was said: a policy's key asks for `args`, a repr for `options` too.
pub(crate) struct Given {
    pub(crate) args: Py<PyTuple>,
    pub(crate) options: Option<Py<PyDict>>,
}

impl Given {
    fn clone_ref(&self, py: Python<'_>) -> Self {
        Given { args: self.args.clone_ref(py), options: self.options.as_ref().map(|options| options.clone_ref(py)) }
    }
}

/// Work as a value: immutable, and building one runs nothing; each `await` runs it once more.
///
/// asyncio sees a coroutine, so `create_task`, `TaskGroup`, `asyncio.run` and `asyncio.gather` take it. Dropped without ever having been run
/// or composed, it warns as a coroutine does.
#[pyclass(frozen, freelist = 1024, weakref, module = "mountain_runtime")]
pub(crate) struct Effect {
    pub(crate) work: Work,
    pub(crate) plan: Py<Plan>,
    /// Awaited, composed or closed: nothing to warn of.
    used: AtomicBool,
    /// Driven as a coroutine: the run, and the task that it is bound to, or None.
    driven: Mutex<Option<(Py<PyAny>, Py<PyAny>)>>,
}

impl Reused for Effect {
    const MOST: usize = 1024;

    fn idle() -> &'static Idle {
        static IDLE: Idle = Idle::new();
        &IDLE
    }
}

impl Effect {
    pub(crate) fn of(py: Python<'_>, work: Work, plan: Py<Plan>) -> PyResult<Bound<'_, Self>> {
        type_slots::tracked(py, Effect { work, plan, used: AtomicBool::new(false), driven: Mutex::new(None) })
    }

    /// An effect of a call. One that may be made twice takes no generator.
    pub(crate) fn of_call<'py>(
        py: Python<'py>,
        callable: Py<PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
        plan: Py<Plan>,
    ) -> PyResult<Bound<'py, Self>> {
        if plan.get().retries {
            refuse_generators(&args, kwargs.as_ref(), &plan.get().name)?;
        }
        Self::of(py, Work::Call { callable, args: args.unbind(), kwargs: kwargs.map(Bound::unbind) }, plan)
    }

    pub(crate) fn native<'py>(py: Python<'py>, name: &str, operation: impl Operation + 'static) -> PyResult<Bound<'py, Self>> {
        Effect::of(py, Work::native(operation), Plan::bare(py, name)?.unbind())
    }

    pub(crate) fn mark_used(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    /// The whole effect as a native operation: its leaf is native, and so is what its policies ask.
    fn program(&self, py: Python<'_>, over: Deadline, start: &Start) -> PyResult<Option<Program>> {
        let plan = self.plan.get();
        let Some(on) = plan.native_on().cloned() else { return Ok(None) };
        let Some(operation) = self.work.operation(py, start)? else { return Ok(None) };
        let args = match &self.work {
            Work::Native { given: Some(given), .. } => given.args.bind(py).clone(),
            _ => PyTuple::empty(py),
        };
        let mut terms = plan.terms(&args, None)?;
        if let Start::Submitted { work, .. } = start {
            // Who submits it does not wait for it, unless he awaits it.
            terms.flight = work.as_ref().and_then(|held| held.work.as_ref()).and_then(|work| work.flight()).cloned();
            terms.held = work.clone().map(Holder::from);
        }
        Ok(Some(Program {
            operation,
            stack: plan.stack.clone(),
            on,
            inherited: over,
            watched: true,
            terms: Arc::new(terms),
            tally: Some(plan.tally.clone()),
            observer: None,
            retries: None,
            origin: None,
            limit: None,
        }))
    }

    /// The same, as a part of another native effect, whose failures name it.
    fn child(&self, py: Python<'_>, start: &Start) -> PyResult<Option<Arc<dyn Operation>>> {
        if self.plan.get().stack.is_empty() {
            return self.work.operation(py, start);
        }
        let origin = Origin(Arc::new(PyRef::new(self.plan.clone_ref(py))));
        let program = self.program(py, Deadline::NONE, start)?;
        let retries = retries::natively(py, self.plan.get(), None);
        Ok(program.map(|program| Arc::new(Program { origin: Some(origin), retries, ..program }) as Arc<dyn Operation>))
    }

    pub(crate) fn is_native(&self) -> bool {
        !matches!(self.work, Work::Call { .. }) && self.plan.get().native_on().is_some()
    }

    /// Start a native effect for whoever runs on `port`'s loop.
    pub(crate) fn launch<'py>(&self, port: &Bound<'py, Port>, host: &Arc<Host>, start: Start) -> PyResult<Bound<'py, Handle>> {
        let py = port.py();
        let priority = context::priority(py)?;
        let plan = self.plan.bind(py);
        // Submitted work carries no deadline; what a task awaits stands under the task's.
        let none = Inherited { over: Deadline::NONE, enforced_at: None, source: None };
        let Inherited { over, source, .. } = if let Start::Submitted { .. } = start { none } else { inherited(py)? };
        if over.owner == Owner::Inherited && clock().now() >= over.at {
            return Err(timed_out(py, plan.get(), Owner::Inherited, 0, None, || source.as_ref().map(|source| source.text(py))));
        }
        let watch = if watchers::any(|| plan.get().is_first()) { watch::begin(py, plan.get(), over) } else { None };
        let observer = watch.as_ref().and_then(|watch| watch.observer()).cloned();
        let operation = if plan.get().stack.is_empty() && over.owner == Owner::Nobody {
            self.work.operation(py, &start)?
        } else {
            let program = self.program(py, over, &start)?;
            let retries = retries::natively(py, plan.get(), source.as_ref());
            let limit = source.map(DeadlineSource::into_origin);
            program.map(|program| Arc::new(Program { observer, retries, limit, ..program }) as Arc<dyn Operation>)
        };
        let Some(operation) = operation else { return Err(PyRuntimeError::new_err("not a native effect")) };
        match start {
            Start::Submitted { gate: Some(gate), work } => {
                Handle::begin(port, plan, priority, true, watch, |done| gate.begin(operation, work, done))
            }
            _ => Handle::start(port, plan, host, operation, priority, true, watch),
        }
    }

    /// One run of it, natively, for the code that awaits it.
    pub(crate) fn start<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Handle>> {
        self.mark_used();
        scope::admit(py, &self.plan.get().name)?;
        let port = Port::current(py)?;
        let host = scope::host(&port)?;
        self.launch(&port, &host, Start::Awaited)
    }

    /// One run of it, as an iterator that an await drives.
    fn begin<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let me = slf.get();
        me.mark_used();
        let leaf = match &me.work {
            Work::Call { callable, args, kwargs } => {
                let kwargs = kwargs.as_ref().map(|k| k.clone_ref(py));
                PyLeaf::new(callable.clone_ref(py), args.clone_ref(py), kwargs, me.plan.clone_ref(py))
            }
            _ if me.is_native() => return Ok(me.start(py)?.into_any()),
            // Native work under a policy that asks Python: its leaf gives a handle, and the run drives that.
            work => {
                let args = match work {
                    Work::Native { given: Some(given), .. } => given.args.clone_ref(py),
                    _ => PyTuple::empty(py).unbind(),
                };
                let bare = Bound::new(py, NativeCall { effect: slf.clone().unbind() })?;
                PyLeaf::new(bare.into_any().unbind(), args, None, me.plan.clone_ref(py))
            }
        };
        Ok(type_slots::tracked(py, Run::new(leaf))?.into_any())
    }

    fn drive<'py>(
        slf: &Bound<'py, Self>,
        step: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let me = slf.get();
        let task = current_task(py)?;
        let taken = || {
            let name = &me.plan.get().name;
            PyRuntimeError::new_err(format!(
                "effect '{name}' is being driven by another task: build it anew for each task, or start it once with Runtime.submit"
            ))
        };
        let known = me.driven.lock().as_ref().map(|(run, of)| (run.clone_ref(py), of.is(&task)));
        let run = match known {
            Some((run, true)) => run.into_bound(py),
            Some(_) => return Err(taken()),
            None => {
                let run = Self::begin(slf)?;
                let mut driven = me.driven.lock();
                // Another thread's task may have come first. Its run is left where it is.
                if driven.is_some() {
                    drop(driven);
                    return Err(taken());
                }
                *driven = Some((run.clone().unbind(), task.unbind()));
                run
            }
        };
        let stepped = step(&run);
        if stepped.is_err() {
            // Ended, by a value or an error: it can be driven again.
            let ended = me.driven.lock().take();
            drop(ended);
        }
        stepped
    }

    fn composed<'py>(slf: &Bound<'py, Self>, by: &Py<PyAny>, with: Bound<'py, PyAny>) -> PyResult<Bound<'py, Effect>> {
        let py = slf.py();
        slf.get().mark_used();
        let args = PyTuple::new(py, [slf.as_any(), &with])?.unbind();
        let plan = Plan::silent(py, &slf.get().plan.get().name)?.unbind();
        Effect::of(py, Work::Call { callable: by.clone_ref(py), args, kwargs: None }, plan)
    }
}

/// Starts the native work of an effect, and gives the handle.
#[pyclass(frozen)]
struct NativeCall {
    effect: Py<Effect>,
}

#[pymethods]
impl NativeCall {
    #[pyo3(signature = (*_args))]
    fn __call__<'py>(&self, py: Python<'py>, _args: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, Handle>> {
        let effect = self.effect.get();
        let Some(mut operation) = effect.work.operation(py, &Start::Awaited)? else {
            return Err(PyRuntimeError::new_err("not a native effect"));
        };
        if let Work::Group { .. } = effect.work {
            let Inherited { over, source, .. } = inherited(py)?;
            if over.owner == Owner::Inherited {
                // Its parts stand under the limit, on which the run acts.
                let limit = source.map(DeadlineSource::into_origin);
                operation = Arc::new(Program { limit, ..Program::passing(operation, over) });
            }
        }
        let port = Port::current(py)?;
        let host = scope::host(&port)?;
        Handle::start(&port, self.effect.get().plan.bind(py), &host, operation, context::priority(py)?, false, None)
    }
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.effect)
    }
}

#[pymethods]
impl Effect {
    #[classmethod]
    fn __class_getitem__<'py>(cls: &Bound<'py, PyType>, item: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        type_slots::alias(cls, &item)
    }

    fn __await__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::begin(slf)
    }

    /// As a coroutine: the first send binds it to the task that drives it, until that run has ended.
    #[pyo3(signature = (value, /))]
    fn send<'py>(slf: &Bound<'py, Self>, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let _ = value;
        Self::drive(slf, |run| {
            let py = run.py();
            let mut out = std::ptr::null_mut();
            // SAFETY: a live iterator is sent None; `out` is an owned reference unless an error is set.
            unsafe {
                match ffi::PyIter_Send(run.as_ptr(), ffi::Py_None(), &raw mut out) {
                    ffi::PySendResult::PYGEN_NEXT => Ok(Bound::from_owned_ptr(py, out)),
                    ffi::PySendResult::PYGEN_RETURN => type_slots::Step::Return(Bound::from_owned_ptr(py, out)).into_next(),
                    ffi::PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
                }
            }
        })
    }

    #[pyo3(signature = (typ, val = None, tb = None, /))]
    fn throw<'py>(
        slf: &Bound<'py, Self>,
        typ: Bound<'py, PyAny>,
        val: Option<Bound<'py, PyAny>>,
        tb: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = tb;
        let thrown = val.filter(|v| !v.is_none()).unwrap_or(typ);
        if slf.get().driven.lock().is_none() {
            // Nothing has begun: as with a coroutine, the exception is all that happens.
            slf.get().mark_used();
            return Err(PyErr::from_value(thrown));
        }
        Self::drive(slf, |run| match run.getattr_opt(intern!(run.py(), "throw"))? {
            Some(throw) => throw.call1((thrown,)),
            None => Err(PyErr::from_value(thrown)),
        })
    }

    /// End what it is doing, cleanup included; a value that never ran will not warn.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.mark_used();
        let driven = self.driven.lock().take();
        let Some((run, _)) = driven else { return Ok(()) };
        if let Some(close) = run.bind(py).getattr_opt(intern!(py, "close"))? {
            close.call0()?;
        } else {
            run.call_method0(py, intern!(py, "cancel"))?;
        }
        Ok(())
    }

    /// The same work, with `f` applied to its value.
    #[pyo3(signature = (f, /))]
    fn map<'py>(slf: &Bound<'py, Self>, f: Bound<'py, PyAny>) -> PyResult<Bound<'py, Effect>> {
        signature::check_one(&f, "map")?;
        Self::composed(slf, &api(slf.py()).map, f)
    }

    /// This, then the effect that `f` makes of its value.
    #[pyo3(signature = (f, /))]
    fn then<'py>(slf: &Bound<'py, Self>, f: Bound<'py, PyAny>) -> PyResult<Bound<'py, Effect>> {
        signature::check_one(&f, "then")?;
        Self::composed(slf, &api(slf.py()).then, f)
    }

    /// `Ok(value)`, or `Err(error)` for the named classes; other errors are raised.
    #[pyo3(signature = (*classes))]
    fn attempt<'py>(slf: &Bound<'py, Self>, classes: Bound<'py, PyTuple>) -> PyResult<Bound<'py, Effect>> {
        signature::check_errors(&classes)?;
        Self::composed(slf, &api(slf.py()).attempt, classes.into_any())
    }

    /// The same work under more policies, outermost first, around those it has.
    #[pyo3(signature = (*policies))]
    fn under<'py>(slf: &Bound<'py, Self>, policies: Bound<'py, PyTuple>) -> PyResult<Bound<'py, Effect>> {
        let py = slf.py();
        let me = slf.get();
        // Native work that knows its arguments has no function to ask about them.
        let native_call = matches!(&me.work, Work::Native { given: Some(_), .. });
        let plan = Plan::under(me.plan.bind(py), policies, native_call)?;
        me.mark_used();
        match &me.work {
            Work::Call { callable, args, kwargs } => {
                let kwargs = kwargs.as_ref().map(|k| k.bind(py).clone());
                Effect::of_call(py, callable.clone_ref(py), args.bind(py).clone(), kwargs, plan.unbind())
            }
            Work::Native { operation, given } => {
                let given = given.as_ref().map(|given| Box::new(given.clone_ref(py)));
                Effect::of(py, Work::Native { operation: operation.clone(), given }, plan.unbind())
            }
            Work::Group { children, mode } => {
                let children = children.iter().map(|child| child.clone_ref(py)).collect();
                Effect::of(py, Work::Group { children, mode: *mode }, plan.unbind())
            }
        }
    }

    #[getter]
    fn __name__(&self) -> &str {
        &self.plan.get().name
    }
    #[getter]
    fn __qualname__(&self) -> &str {
        &self.plan.get().name
    }
    #[getter]
    fn cr_await(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.driven.lock().as_ref().map(|(run, _)| run.clone_ref(py))
    }
    #[getter]
    fn cr_frame(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.of_run(py, "cr_frame")
    }
    #[getter]
    fn cr_code(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.of_run(py, "cr_code")
    }
    #[getter]
    fn cr_running(&self, py: Python<'_>) -> bool {
        self.of_run(py, "cr_running").is_some_and(|r| r.is_truthy(py).unwrap_or(false))
    }

    /// What it is made of, to be shown: a callable, arguments by position and by name; or the effects of a group.
    #[getter]
    fn _made_of<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let none = || py.None().into_bound(py);
        let of = |o: &Option<Py<PyDict>>| o.as_ref().map_or_else(none, |o| o.bind(py).clone().into_any());
        let parts = match &self.work {
            Work::Call { callable, args, kwargs } => {
                [callable.bind(py).clone(), args.bind(py).clone().into_any(), of(kwargs), none()]
            }
            Work::Native { given: None, .. } => [none(), none(), none(), none()],
            Work::Native { given: Some(given), .. } => {
                [none(), given.args.bind(py).clone().into_any(), of(&given.options), none()]
            }
            Work::Group { children, .. } => [none(), none(), none(), PyTuple::new(py, children)?.into_any()],
        };
        PyTuple::new(py, parts)
    }
    #[getter]
    fn _plan(&self, py: Python<'_>) -> Py<Plan> {
        self.plan.clone_ref(py)
    }

    fn __repr__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        api(slf.py()).shown.bind(slf.py()).call1((slf,))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.plan)?;
        match &self.work {
            Work::Call { callable, args, kwargs } => {
                visit.call(callable)?;
                visit.call(args)?;
                visit.call(kwargs)?;
            }
            Work::Native { given, .. } => {
                if let Some(given) = given {
                    visit.call(&given.args)?;
                    visit.call(&given.options)?;
                }
            }
            Work::Group { children, .. } => children.iter().try_for_each(|child| visit.call(child))?,
        }
        if let Some(driven) = self.driven.try_lock()
            && let Some((run, task)) = &*driven
        {
            visit.call(run)?;
            visit.call(task)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let driven = self.driven.lock().take();
        drop(driven);
    }
}

impl Effect {
    fn of_run(&self, py: Python<'_>, name: &str) -> Option<Py<PyAny>> {
        let run = self.driven.lock().as_ref().map(|(run, _)| run.clone_ref(py))?;
        run.getattr(py, name).ok()
    }
}

impl Drop for Effect {
    fn drop(&mut self) {
        if *self.used.get_mut() {
            return;
        }
        Python::try_attach(|py| {
            let pending = PyErr::take(py);
            let message =
                std::ffi::CString::new(format!("effect '{}' was never awaited", self.plan.get().name)).unwrap_or_default();
            if let Err(e) = PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &message, 1) {
                e.write_unraisable(py, None);
            }
            if let Some(pending) = pending {
                pending.restore(py);
            }
        });
    }
}

/// An effect of anything callable that gives an awaitable.
#[pyfunction]
#[pyo3(signature = (callable, args, kwargs, plan, /))]
pub(crate) fn call_effect<'py>(
    py: Python<'py>,
    callable: Py<PyAny>,
    args: Bound<'py, PyTuple>,
    kwargs: Option<Bound<'py, PyDict>>,
    plan: Py<Plan>,
) -> PyResult<Bound<'py, Effect>> {
    Effect::of_call(py, callable, args, kwargs, plan)
}

/// It is a part of something now: one that is never come to, as its task was cancelled before, is not forgotten.
#[pyfunction]
#[pyo3(signature = (effect, /))]
pub(crate) fn adopt(effect: &Bound<'_, Effect>) {
    effect.get().mark_used();
}

/// It would run wholly on the native side.
#[pyfunction]
#[pyo3(signature = (effect, /))]
pub(crate) fn is_native(effect: &Bound<'_, Effect>) -> bool {
    effect.get().is_native()
}

fn group<'py>(py: Python<'py>, effects: Vec<Bound<'py, PyAny>>, mode: Mode, name: &str) -> PyResult<Option<Bound<'py, Effect>>> {
    let mut children = Vec::with_capacity(effects.len());
    for effect in effects {
        children.push(effect.cast_into::<Effect>().map_err(|e| expected("an Effect", &e.into_inner()))?);
    }
    // Whoever runs them, they are a part of something now: one that is never come to is not forgotten.
    for child in &children {
        child.get().mark_used();
    }
    // In a trace each of them has a span, which is what Python's side of it makes.
    if spans::wanted(py).is_some() || !children.iter().all(|child| child.get().is_native()) {
        return Ok(None);
    }
    let children = children.into_iter().map(Bound::unbind).collect();
    Ok(Some(Effect::of(py, Work::Group { children, mode }, Plan::bare(py, name)?.unbind())?))
}

/// All of them as one native effect that yields a list; `None` when one of them needs Python.
#[pyfunction]
#[pyo3(signature = (effects, /))]
pub(crate) fn gather_native<'py>(py: Python<'py>, effects: Vec<Bound<'py, PyAny>>) -> PyResult<Option<Bound<'py, Effect>>> {
    group(py, effects, Mode::All, "gather")
}

/// The first success of them as one native effect; `None` when one of them needs Python.
#[pyfunction]
#[pyo3(signature = (effects, /))]
pub(crate) fn race_native<'py>(py: Python<'py>, effects: Vec<Bound<'py, PyAny>>) -> PyResult<Option<Bound<'py, Effect>>> {
    group(py, effects, Mode::Race, "race")
}

/// A generator is empty for the second attempt: better no call than a silently different one.
fn refuse_generators(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>, name: &str) -> PyResult<()> {
    // SAFETY: asks for the type only.
    let generator =
        |v: &Bound<'_, PyAny>| unsafe { ffi::PyGen_CheckExact(v.as_ptr()) != 0 || ffi::PyAsyncGen_CheckExact(v.as_ptr()) != 0 };
    let refuse = || {
        PyTypeError::new_err(format!(
            "effect '{name}' may be retried and was given a generator, which would be empty the second time: pass a list, or make the generator inside"
        ))
    };
    if args.iter().any(|a| generator(&a)) || kwargs.is_some_and(|k| k.values().iter().any(|v| generator(&v))) {
        return Err(refuse());
    }
    Ok(())
}
