//! The native side of an effect: what one run of it starts, how that is begun, and groups of effects that run as one
//! operation.

use std::sync::Arc;

use mountain_core::effect::{Deadline, Group, Holder, Host, Mode, Operation, PermitContext};
use mountain_core::error::{Origin, Owner};
use mountain_core::runtime::{Gate, Program};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{PyTraverseError, PyVisit};

use crate::context::deadline_source::DeadlineSource;
use crate::context::{self, Inherited, inherited};
use crate::convert::error::timed_out;
use crate::convert::fail::{RAISED_STOP, no_stop};
use crate::effect::{Effect, Work};
use crate::globals::clock;
use crate::handle::Handle;
use crate::observe::call_record::CallRecord;
use crate::observe::call_record::Watched;
use crate::observe::outgoing;
use crate::observe::retries;
use crate::observe::spans;
use crate::observe::watch;
use crate::observe::watchers;
use crate::plan::Plan;
use crate::port::Port;
use crate::python::expected::expected;
use crate::python::pyref::PyRef;
use crate::python::type_slots;
use crate::run::Run;
use crate::run::leaf::PyLeaf;
use crate::scope;

/// How a native effect is started.
pub(crate) enum Start {
    /// By code that waits for it.
    Awaited,
    /// By code that need not wait for it. The caller's deadline does not apply; where the runtime limits submitted
    /// work, it begins under a permit of `gate`.
    Submitted {
        gate: Option<Arc<Gate>>,
        /// The submitting work, which this is a part of once it is awaited; `None` where the submitter cannot wait for
        /// it.
        work: Option<Arc<PermitContext>>,
    },
}

impl Work {
    /// The operation that one run starts; `None` if the work is not native. The terms of a group's children are those
    /// of the code that starts the group.
    fn operation(&self, py: Python<'_>, start: &Start) -> PyResult<Option<Arc<dyn Operation>>> {
        match self {
            Work::Call { .. } => Ok(None),
            Work::Native { operation, .. } => Ok(Some(outgoing::traced(py, operation))),
            Work::Group { children, mode } => {
                let tallies = || children.iter().map(|child| child.get().plan.get().tally.clone()).collect();
                let told = CallRecord::of_parts(py, tallies)?;
                let children = children.iter().map(|child| child.get().child(py, start)).collect::<PyResult<Option<_>>>()?;
                Ok(children.map(|children| Arc::new(Group { children, mode: *mode, told }) as Arc<dyn Operation>))
            }
        }
    }
}

impl Effect {
    /// The whole effect as a native operation; `None` unless its leaf is native and its policies need no Python.
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
            // The submitter holds nothing for it, and counts as waiting only once it awaits.
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

    /// [`Effect::program`] as a part of another native effect: failures name the part.
    fn child(&self, py: Python<'_>, start: &Start) -> PyResult<Option<Arc<dyn Operation>>> {
        if self.plan.get().stack.is_empty() {
            return self.work.operation(py, start);
        }
        let origin = Origin(Arc::new(PyRef::new(self.plan.clone_ref(py))));
        let program = self.program(py, Deadline::NONE, start)?;
        let retries = retries::natively(py, self.plan.get(), None);
        Ok(program.map(|program| Arc::new(Program { origin: Some(origin), retries, ..program }) as Arc<dyn Operation>))
    }

    /// One run needs no Python.
    pub(crate) fn is_native(&self) -> bool {
        !matches!(self.work, Work::Call { .. }) && self.plan.get().native_on().is_some()
    }

    /// Start a native effect, whose handle belongs to `port`'s loop.
    pub(crate) fn launch<'py>(&self, port: &Bound<'py, Port>, host: &Arc<Host>, start: Start) -> PyResult<Bound<'py, Handle>> {
        let py = port.py();
        let priority = context::priority(py)?;
        let plan = self.plan.bind(py);
        // Submitted work carries no deadline; awaited work has the task's.
        let none = Inherited { over: Deadline::NONE, enforced_at: None, source: None };
        let Inherited { over, source, .. } = if let Start::Submitted { .. } = start { none } else { inherited(py)? };
        // It begins, and ends at once.
        let fails = |e: &PyErr, watched: Watched<'_>| {
            CallRecord::begins().failed(py, plan.get(), e, 0, watched);
        };
        if over.owner == Owner::Inherited && clock().now() >= over.at {
            let e = timed_out(py, plan.get(), Owner::Inherited, 0, None, || source.as_ref().map(|source| source.text(py)));
            fails(&e, None);
            return Err(e);
        }
        let watch =
            if !plan.get().silent && watchers::any(|| plan.get().is_first()) { watch::begin(py, plan.get(), over) } else { None };
        let observer = watch.as_ref().and_then(|watch| watch.observer()).cloned();
        let operation = if plan.get().stack.is_empty() && over.owner == Owner::None {
            self.work.operation(py, &start)?
        } else {
            let program = self.program(py, over, &start);
            let program = program.inspect_err(|e| fails(e, watch.as_deref().map(|watch| (watch, clock().now()))))?;
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

    /// Start one run natively, for the code that awaits it.
    pub(crate) fn start<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Handle>> {
        self.mark_used();
        let plan = self.plan.get();
        scope::admit(py, plan).inspect_err(|_| CallRecord::refused(plan))?;
        let port = Port::current(py)?;
        let host = scope::host(&port)?;
        self.launch(&port, &host, Start::Awaited)
    }

    /// Begin one run: the iterator that an await drives.
    pub(super) fn begin<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let me = slf.get();
        me.mark_used();
        if let Some((collector, args)) = me.collector(py)
            && let Some(handle) = me.collect(collector, args).map_err(|e| no_stop(py, e, RAISED_STOP))?
        {
            return Ok(handle.into_any());
        }
        let leaf = match &me.work {
            Work::Call { callable, args, kwargs } => {
                let kwargs = kwargs.as_ref().map(|k| k.clone_ref(py));
                PyLeaf::new(callable.clone_ref(py), args.clone_ref(py), kwargs, me.plan.clone_ref(py))
            }
            _ if me.is_native() => return Ok(me.start(py).map_err(|e| no_stop(py, e, RAISED_STOP))?.into_any()),
            // Native work under a policy that needs Python: its leaf returns a handle, which the run drives.
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
}

/// A callable that starts the native work of an effect and returns the handle.
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
                // The deadline is told to the parts; the run enforces it.
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

/// Whether one run of `effect` needs no Python.
#[pyfunction]
#[pyo3(signature = (effect, /))]
pub(crate) fn is_native(effect: &Bound<'_, Effect>) -> bool {
    effect.get().is_native()
}

/// One native effect of `effects`; `None` when one of them needs Python.
fn group<'py>(py: Python<'py>, effects: Vec<Bound<'py, PyAny>>, mode: Mode, name: &str) -> PyResult<Option<Bound<'py, Effect>>> {
    let mut children = Vec::with_capacity(effects.len());
    for effect in effects {
        children.push(effect.cast_into::<Effect>().map_err(|e| expected("an Effect", &e.into_inner()))?);
    }
    // The children are parts of a group now: none of them warns, even if the group never comes to it.
    for child in &children {
        child.get().mark_used();
    }
    // In a trace each child has a span, which Python's side makes.
    if spans::wanted(py).is_some() || !children.iter().all(|child| child.get().is_native()) {
        return Ok(None);
    }
    let children = children.into_iter().map(Bound::unbind).collect();
    Ok(Some(Effect::of(py, Work::Group { children, mode }, Plan::ours(py, name)?.unbind())?))
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
