//! The object that a decorator returns. A call of it builds an effect. It binds as a method like a function, and has a
//! `__dict__` for the attributes of the wrapped function.

use pyo3::exceptions::PyAttributeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};

use crate::effect::Effect;
use crate::plan::Plan;
use crate::plan::signature::{self, Takes};
use crate::python::api::api;

#[pyclass(frozen, dict, weakref, module = "mountain_runtime._native")]
pub(crate) struct EffectFunction {
    /// Only the collector may see `None`: CPython makes the `__dict__` of a tracked object before its fields are
    /// written, and a collection at that moment finds zeros, which must be a valid value.
    made: Option<Made>,
}

struct Made {
    function: Py<PyAny>,
    plan: Py<Plan>,
    takes: Takes,
    /// Calls the function where its result is no awaitable; the function is its first argument.
    call: Option<Py<PyAny>>,
}

impl EffectFunction {
    fn made(&self) -> &Made {
        self.made.as_ref().expect("an effect function is made whole")
    }

    fn uncalled(&self, then: &str) -> String {
        let name = &self.made().plan.get().name;
        format!("{name} is a function of effects, which was not called: write {name}(...){then}")
    }

    /// The user's function, whose signature counts.
    fn asked(&self) -> &Py<PyAny> {
        let made = self.made();
        made.plan.get().function.itself.as_ref().unwrap_or(&made.function)
    }
}

#[pymethods]
impl EffectFunction {
    #[new]
    #[pyo3(signature = (function, plan, call = None))]
    fn new(py: Python<'_>, function: Py<PyAny>, plan: Py<Plan>, call: Option<Py<PyAny>>) -> PyResult<Self> {
        // The function that is called may be a wrapper that injects services, and takes any arguments.
        let takes = Takes::of(plan.get().function.itself.as_ref().unwrap_or(&function).bind(py))?;
        Ok(EffectFunction { made: Some(Made { function, plan, takes, call }) })
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        &self,
        py: Python<'py>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, Effect>> {
        let made = self.made();
        if !made.takes.is_sound(py, args.len(), kwargs.as_ref()) {
            signature::refuse(self.asked().bind(py), &args, kwargs.as_ref())?;
        }
        let (callable, args) = match &made.call {
            None => (&made.function, args),
            Some(call) => {
                let first = std::iter::once(made.function.bind(py).clone());
                (call, PyTuple::new(py, first.chain(args.iter()).collect::<Vec<_>>())?)
            }
        };
        Effect::of_call(py, callable.clone_ref(py), args, kwargs, made.plan.clone_ref(py))
    }

    fn __get__<'py>(slf: Bound<'py, Self>, instance: Bound<'py, PyAny>, owner: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        static METHOD: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let _ = owner;
        if instance.is_none() {
            return Ok(slf.into_any());
        }
        METHOD.import(slf.py(), "types", "MethodType")?.call1((slf, instance))
    }

    // `inspect.iscoroutinefunction` looks at the code of any object that resembles a function, on every Python. A
    // marker attribute would be copied with the `__dict__` by `functools.wraps`, to functions that are not coroutine
    // functions.

    #[getter]
    fn __code__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        api(py).code_of.bind(py).call1((self.asked(),))
    }
    #[getter]
    fn __defaults__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.asked().bind(py).getattr_opt(intern!(py, "__defaults__"))
    }
    #[getter]
    fn __kwdefaults__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.asked().bind(py).getattr_opt(intern!(py, "__kwdefaults__"))
    }

    /// Explains `f.map(str)`, written for `f().map(str)`. `await f` keeps Python's message: an `__await__` that only
    /// explains would make libraries await the function.
    fn __getattr__(slf: &Bound<'_, Self>, name: &str) -> PyResult<()> {
        if matches!(name, "map" | "then" | "attempt" | "under") {
            return Err(PyAttributeError::new_err(slf.get().uncalled(&format!(".{name}(...)"))));
        }
        Err(PyAttributeError::new_err(format!("'EffectFunction' object has no attribute '{name}'")))
    }

    /// Pickled by its name, and its own copy, as a function is.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.getattr(intern!(slf.py(), "__qualname__"))
    }

    #[getter]
    fn plan(&self, py: Python<'_>) -> Py<Plan> {
        self.made().plan.clone_ref(py)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<effect function {}{}>", self.made().plan.get().name, self.made().plan.get().describe(py)?))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(made) = &self.made else { return Ok(()) };
        visit.call(&made.function)?;
        visit.call(&made.plan)?;
        made.takes.traverse(&visit)?;
        visit.call(&made.call)
    }
}
