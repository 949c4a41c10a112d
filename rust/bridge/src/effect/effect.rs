//! The effect: work as a value. Building one runs nothing; each await runs it once more. To asyncio it is a coroutine.

use std::sync::Arc;

use mountain_core::effect::{Mode, Operation};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};

use crate::effect::coroutine::Driven;
use crate::effect::never_awaited::Used;
use crate::plan::Plan;
use crate::plan::signature;
use crate::python::api::api;
use crate::python::free_list::{Idle, Reused};
use crate::python::type_slots;

/// The work of one run of an effect.
pub(crate) enum Work {
    /// Calls a function that returns an awaitable.
    Call { callable: Py<PyAny>, args: Py<PyTuple>, kwargs: Option<Py<PyDict>> },
    /// Starts a native operation; `given` are the arguments of the call that made it, where those are known.
    Native { operation: Arc<dyn Operation>, given: Option<Box<Given>> },
    /// Runs native effects together.
    Group { children: Vec<Py<Effect>>, mode: Mode },
}

impl Work {
    /// A native operation without arguments for a policy's key.
    pub(crate) fn native(operation: impl Operation + 'static) -> Self {
        Work::Native { operation: Arc::new(operation), given: None }
    }

    fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Work::Call { callable, args, kwargs } => Work::Call {
                callable: callable.clone_ref(py),
                args: args.clone_ref(py),
                kwargs: kwargs.as_ref().map(|kwargs| kwargs.clone_ref(py)),
            },
            Work::Native { operation, given } => {
                Work::Native { operation: operation.clone(), given: given.as_ref().map(|given| Box::new(given.clone_ref(py))) }
            }
            Work::Group { children, mode } => {
                Work::Group { children: children.iter().map(|child| child.clone_ref(py)).collect(), mode: *mode }
            }
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Work::Call { callable, args, kwargs } => {
                visit.call(callable)?;
                visit.call(args)?;
                visit.call(kwargs)
            }
            Work::Native { given: None, .. } => Ok(()),
            Work::Native { given: Some(given), .. } => {
                visit.call(&given.args)?;
                visit.call(&given.options)
            }
            Work::Group { children, .. } => children.iter().try_for_each(|child| visit.call(child)),
        }
    }
}

/// The arguments of the call that made a native effect. A policy's key is made of `args`; a repr shows `options` too.
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
/// asyncio sees a coroutine, so `create_task`, `TaskGroup`, `asyncio.run` and `asyncio.gather` take it. Dropped without
/// ever having been run or composed, it warns as a coroutine does.
#[pyclass(frozen, freelist = 1024, weakref, module = "mountain_runtime")]
pub(crate) struct Effect {
    pub(crate) work: Work,
    pub(crate) plan: Py<Plan>,
    used: Used,
    driven: Driven,
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
        type_slots::tracked(py, Effect { work, plan, used: Used::default(), driven: Driven::default() })
    }

    /// An effect of a call. A call that policies may repeat takes no generator.
    pub(crate) fn of_call<'py>(
        py: Python<'py>,
        callable: Py<PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
        plan: Py<Plan>,
    ) -> PyResult<Bound<'py, Self>> {
        if plan.get().calls_again {
            signature::refuse_generators(&args, kwargs.as_ref(), plan.get())?;
        }
        Self::of(py, Work::Call { callable, args: args.unbind(), kwargs: kwargs.map(Bound::unbind) }, plan)
    }

    pub(crate) fn native<'py>(py: Python<'py>, name: &str, operation: impl Operation + 'static) -> PyResult<Bound<'py, Self>> {
        Effect::of(py, Work::native(operation), Plan::bare(py, name)?.unbind())
    }

    /// It will not warn when it is dropped.
    pub(crate) fn mark_used(&self) {
        self.used.mark();
    }

    /// An effect that passes this one and `with` to the function `by`.
    fn composed<'py>(slf: &Bound<'py, Self>, by: &Py<PyAny>, with: Bound<'py, PyAny>) -> PyResult<Bound<'py, Effect>> {
        let py = slf.py();
        slf.get().mark_used();
        let args = PyTuple::new(py, [slf.as_any(), &with])?.unbind();
        let plan = Plan::silent(py, &slf.get().plan.get().name)?.unbind();
        Effect::of(py, Work::Call { callable: by.clone_ref(py), args, kwargs: None }, plan)
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
        let me = slf.get();
        me.driven.send(slf.py(), &me.plan.get().name, || Self::begin(slf))
    }

    #[pyo3(signature = (typ, val = None, tb = None, /))]
    fn throw<'py>(
        slf: &Bound<'py, Self>,
        typ: Bound<'py, PyAny>,
        val: Option<Bound<'py, PyAny>>,
        tb: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = tb;
        let me = slf.get();
        me.mark_used();
        me.driven.throw(slf.py(), &me.plan.get().name, type_slots::thrown(typ, val))
    }

    /// End the run, cleanup included; an effect that never ran will not warn.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.mark_used();
        self.driven.close(py)
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
        let plan = Plan::under(me.plan.bind(py), policies, me.work.given(py))?;
        me.mark_used();
        if let Work::Call { args, kwargs, .. } = &me.work
            && plan.get().calls_again
        {
            signature::refuse_generators(args.bind(py), kwargs.as_ref().map(|kwargs| kwargs.bind(py)), plan.get())?;
        }
        Effect::of(py, me.work.clone_ref(py), plan.unbind())
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
        self.driven.run(py)
    }
    #[getter]
    fn cr_frame(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.driven.of_run(py, "cr_frame")
    }
    #[getter]
    fn cr_code(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.driven.of_run(py, "cr_code")
    }
    #[getter]
    fn cr_running(&self, py: Python<'_>) -> bool {
        self.driven.of_run(py, "cr_running").is_some_and(|r| r.is_truthy(py).unwrap_or(false))
    }

    /// The parts shown by its repr: a callable, arguments by position and by name; or the effects of a group.
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
        self.work.traverse(&visit)?;
        self.driven.traverse(&visit)
    }

    fn __clear__(&self) {
        self.driven.clear();
    }
}

impl Drop for Effect {
    fn drop(&mut self) {
        self.used.dropped(&self.plan.get().name);
    }
}

/// An effect of any callable that returns an awaitable.
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

/// Suppresses the never-awaited warning of an effect that is a part of another, even if that never comes to it.
#[pyfunction]
#[pyo3(signature = (effect, /))]
pub(crate) fn adopt(effect: &Bound<'_, Effect>) {
    effect.get().mark_used();
}
