//! The object that the decorator of streams returns. A call of it builds a stream. It binds as a method like a
//! function, and has a `__dict__` for the attributes of the wrapped function.

use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};

use crate::plan::Plan;
use crate::plan::signature::{self, Takes};
use crate::stream::Stream;
use crate::stream::value::way;

#[pyclass(frozen, dict, weakref, module = "mountain_runtime._native")]
pub(crate) struct StreamFunction {
    /// Only the collector may see `None`, as of an `EffectFunction`.
    made: Option<Made>,
}

struct Made {
    function: Py<PyAny>,
    plan: Py<Plan>,
    takes: Takes,
}

impl StreamFunction {
    fn made(&self) -> &Made {
        self.made.as_ref().expect("a stream function is made whole")
    }

    fn uncalled(&self) -> PyErr {
        let of = &self.made().plan.get().name;
        PyTypeError::new_err(format!("{of} is a function of streams, which was not called: {}", way(of)))
    }

    /// The user's function, whose signature counts.
    fn asked(&self) -> &Py<PyAny> {
        let made = self.made();
        made.plan.get().function.itself.as_ref().unwrap_or(&made.function)
    }
}

#[pymethods]
impl StreamFunction {
    #[new]
    #[pyo3(signature = (function, plan))]
    fn new(py: Python<'_>, function: Py<PyAny>, plan: Py<Plan>) -> PyResult<Self> {
        let takes = Takes::of(plan.get().function.itself.as_ref().unwrap_or(&function).bind(py))?;
        Ok(StreamFunction { made: Some(Made { function, plan, takes }) })
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        &self,
        py: Python<'py>,
        args: Bound<'py, PyTuple>,
        kwargs: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, Stream>> {
        let made = self.made();
        if !made.takes.is_sound(py, args.len(), kwargs.as_ref()) {
            signature::refuse(self.asked().bind(py), &args, kwargs.as_ref())?;
        }
        Stream::of(py, made.function.clone_ref(py), args, kwargs, made.plan.clone_ref(py))
    }

    fn __get__<'py>(slf: Bound<'py, Self>, instance: Bound<'py, PyAny>, owner: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        static METHOD: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let _ = owner;
        if instance.is_none() {
            return Ok(slf.into_any());
        }
        METHOD.import(slf.py(), "types", "MethodType")?.call1((slf, instance))
    }

    // -- mistakes, which say what to write -------------------------------------------------------------------------

    fn __aenter__(&self) -> PyResult<Py<PyAny>> {
        Err(self.uncalled())
    }
    #[pyo3(signature = (*_of))]
    fn __aexit__(&self, _of: &Bound<'_, PyTuple>) -> PyResult<()> {
        Err(self.uncalled())
    }
    fn __aiter__(&self) -> PyResult<Py<PyAny>> {
        Err(self.uncalled())
    }

    fn __getattr__(slf: &Bound<'_, Self>, name: &str) -> PyResult<()> {
        if name == "under" {
            let of = &slf.get().made().plan.get().name;
            let message = format!("{of} is a function of streams, which was not called: write {of}(...).under(...)");
            return Err(PyAttributeError::new_err(message));
        }
        Err(PyAttributeError::new_err(format!("'StreamFunction' object has no attribute '{name}'")))
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
        Ok(format!("<stream function {}{}>", self.made().plan.get().name, self.made().plan.get().describe(py)?))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(made) = &self.made else { return Ok(()) };
        visit.call(&made.function)?;
        visit.call(&made.plan)?;
        made.takes.traverse(&visit)
    }
}
