//! The stream: work that gives many items, as a value. Building one runs nothing; each block runs it once more.

use pyo3::exceptions::{PyAttributeError, PyException, PyGeneratorExit, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};

use crate::context::current::current_task;
use crate::plan::Plan;
use crate::plan::signature;
use crate::python::api::api;
use crate::python::attached::Attached;
use crate::python::free_list::{Idle, Reused};
use crate::python::type_slots;
use crate::run::pulls::Phase;
use crate::stream::items::Items;
use crate::stream::leaving::Leaving;
use crate::stream::over::Over;

/// Work that gives many items, as a value: immutable, and building one runs nothing.
///
/// Each `async with` runs it once more and gives its items, an async iterator; leaving the block ends it, and waits for
/// its cleanup. The work begins with the first pull.
#[pyclass(frozen, freelist = 1024, weakref, module = "mountain_runtime")]
pub(crate) struct Stream {
    callable: Py<PyAny>,
    args: Py<PyTuple>,
    kwargs: Option<Py<PyDict>>,
    plan: Py<Plan>,
    /// The runs of its blocks, each with the address of the task that entered the block.
    open: Attached<Vec<(usize, Py<Items>)>>,
}

impl Reused for Stream {
    const MOST: usize = 1024;

    fn idle() -> &'static Idle {
        static IDLE: Idle = Idle::new();
        &IDLE
    }
}

impl Stream {
    pub(crate) fn of<'py>(
        py: Python<'py>,
        callable: Py<PyAny>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
        plan: Py<Plan>,
    ) -> PyResult<Bound<'py, Self>> {
        if plan.get().calls_again {
            signature::refuse_generators(&args, kwargs.as_ref(), plan.get())?;
        }
        let kwargs = kwargs.map(Bound::unbind);
        type_slots::tracked(py, Stream { callable, args: args.unbind(), kwargs, plan, open: Attached::default() })
    }

    /// The run of the block that is left: one may be left in another task than the one that entered it.
    fn leave(&self, py: Python<'_>) -> PyResult<Option<Py<Items>>> {
        {
            let mut open = self.open.lock(py);
            if open.len() < 2 {
                return Ok(open.pop().map(|(_, items)| items));
            }
        }
        let task = current_task(py)?.as_ptr() as usize;
        let mut open = self.open.lock(py);
        let at = open.iter().rposition(|(of, _)| *of == task).or_else(|| open.len().checked_sub(1));
        Ok(at.map(|at| open.remove(at).1))
    }

    fn misused(&self, why: &str) -> PyErr {
        let of = &self.plan.get().name;
        PyTypeError::new_err(format!("stream '{of}' {why}: {}", way(of)))
    }

    fn open<'py>(&self, py: Python<'py>, task: &Bound<'py, PyAny>, entering: bool) -> PyResult<Bound<'py, Items>> {
        let kwargs = self.kwargs.as_ref().map(|kwargs| kwargs.clone_ref(py));
        Items::of((self.callable.clone_ref(py), self.args.clone_ref(py), kwargs, self.plan.clone_ref(py)), task, entering)
    }
}

/// How the items of a call of `of` are read, for messages.
pub(super) fn way(of: &str) -> String {
    format!("write `async with {of}(...) as items:`, and `async for item in items:`")
}

/// A stream of any callable that returns an async iterator.
#[pyfunction]
#[pyo3(signature = (callable, args, kwargs, plan, /))]
pub(crate) fn call_stream<'py>(
    py: Python<'py>,
    callable: Py<PyAny>,
    args: Bound<'py, PyTuple>,
    kwargs: Option<Bound<'py, PyDict>>,
    plan: Py<Plan>,
) -> PyResult<Bound<'py, Stream>> {
    Stream::of(py, callable, args, kwargs, plan)
}

#[pymethods]
impl Stream {
    #[classmethod]
    fn __class_getitem__<'py>(cls: &Bound<'py, PyType>, item: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        type_slots::alias(cls, &item)
    }

    fn __aenter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Items>> {
        let py = slf.py();
        let task = current_task(py)?;
        let items = slf.get().open(py, &task, true)?;
        slf.get().open.lock(py).push((task.as_ptr() as usize, items.clone().unbind()));
        Ok(items)
    }

    #[pyo3(signature = (kind, _error, _traceback, /))]
    fn __aexit__<'py>(
        slf: &Bound<'py, Self>,
        kind: &Bound<'py, PyAny>,
        _error: &Bound<'py, PyAny>,
        _traceback: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let Some(items) = slf.get().leave(py)? else {
            return Err(PyRuntimeError::new_err("a stream is left when it has been entered"));
        };
        if items.get().leaf.phase(py) == Phase::Ended {
            return Over::get(py);
        }
        let at_once = kind.is(py.get_type::<PyGeneratorExit>());
        let passes = kind.cast::<PyType>().is_ok_and(|kind| !kind.is_subclass_of::<PyException>().unwrap_or(true));
        Leaving::of(items.into_bound(py), at_once, passes).map(Bound::into_any)
    }

    /// Runs it for a loop that reads it to its end.
    fn __aiter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Items>> {
        let py = slf.py();
        slf.get().open(py, &current_task(py)?, false)
    }

    // -- mistakes, which say what to write -------------------------------------------------------------------------

    fn __await__(&self) -> PyResult<Py<PyAny>> {
        Err(self.misused("cannot be awaited, since it gives many items"))
    }
    fn __anext__(&self) -> PyResult<Py<PyAny>> {
        Err(self.misused("gives its items once it is open"))
    }
    fn __iter__(&self) -> PyResult<Py<PyAny>> {
        Err(self.misused("gives its items asynchronously"))
    }
    fn __enter__(&self) -> PyResult<Py<PyAny>> {
        Err(self.misused("is opened by an asynchronous block"))
    }
    #[pyo3(signature = (*_of))]
    fn __exit__(&self, _of: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.__enter__().map(drop)
    }

    fn __getattr__(&self, name: &str) -> PyResult<()> {
        let of = &self.plan.get().name;
        Err(PyAttributeError::new_err(match name {
            "map" | "then" | "attempt" => {
                format!("stream '{of}' gives many items, and {name}() is for the one value of an effect: {}", way(of))
            }
            "close" | "aclose" => format!("stream '{of}' ends where its block is left: {}", way(of)),
            _ => format!("'Stream' object has no attribute '{name}'"),
        }))
    }

    /// The same work under more policies, outermost first, around those it has.
    #[pyo3(signature = (*policies))]
    fn under<'py>(slf: &Bound<'py, Self>, policies: Bound<'py, PyTuple>) -> PyResult<Bound<'py, Stream>> {
        let (py, me) = (slf.py(), slf.get());
        let plan = Plan::under(me.plan.bind(py), policies, None)?;
        let kwargs = me.kwargs.as_ref().map(|kwargs| kwargs.bind(py).clone());
        Stream::of(py, me.callable.clone_ref(py), me.args.bind(py).clone(), kwargs, plan.unbind())
    }

    #[getter]
    fn __name__(&self) -> &str {
        &self.plan.get().name
    }
    #[getter]
    fn __qualname__(&self) -> &str {
        &self.plan.get().name
    }
    /// The parts shown by its repr, as of an effect.
    #[getter]
    fn _made_of<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        (&self.callable, &self.args, &self.kwargs, py.None()).into_pyobject(py)
    }
    #[getter]
    fn _plan(&self, py: Python<'_>) -> Py<Plan> {
        self.plan.clone_ref(py)
    }

    fn __repr__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        api(slf.py()).shown.bind(slf.py()).call1((slf,))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.callable)?;
        visit.call(&self.args)?;
        visit.call(&self.kwargs)?;
        visit.call(&self.plan)?;
        // SAFETY: the collector runs on attached threads only.
        let py = unsafe { Python::assume_attached() };
        self.open.try_lock(py).map_or(Ok(()), |open| open.iter().try_for_each(|(_, items)| visit.call(items)))
    }

    fn __clear__(&self, py: Python<'_>) {
        let gone = std::mem::take(&mut *self.open.lock(py));
        drop(gone);
    }
}
