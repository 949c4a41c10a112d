//! What a decorator returns: called, it builds an effect. It binds as a method like a function, and has a `__dict__` for what it wraps.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit, ffi};

use crate::effect::{Effect, Work};
use crate::plan::Plan;

#[pyclass(frozen, dict, weakref, module = "mountain_runtime._native")]
pub(crate) struct EffectFunction {
    function: Py<PyAny>,
    plan: Py<Plan>,
    /// Calls the function, where it cannot be awaited itself.
    call: Option<Py<PyAny>>,
}

#[pymethods]
impl EffectFunction {
    #[new]
    #[pyo3(signature = (function, plan, call = None))]
    fn new(function: Py<PyAny>, plan: Py<Plan>, call: Option<Py<PyAny>>) -> Self {
        EffectFunction { function, plan, call }
    }

    #[pyo3(signature = (*args, **kwargs))]
    fn __call__(&self, py: Python<'_>, args: Bound<'_, PyTuple>, kwargs: Option<Bound<'_, PyDict>>) -> PyResult<Effect> {
        if self.plan.get().retries {
            refuse_generators(&args, kwargs.as_ref(), &self.plan.get().name)?;
        }
        let (callable, args) = match &self.call {
            None => (&self.function, args),
            Some(call) => {
                let first = std::iter::once(self.function.bind(py).clone());
                (call, PyTuple::new(py, first.chain(args.iter()).collect::<Vec<_>>())?)
            }
        };
        let work = Work::Call { callable: callable.clone_ref(py), args: args.unbind(), kwargs: kwargs.map(Bound::unbind) };
        Ok(Effect::of(work, self.plan.clone_ref(py)))
    }

    fn __get__<'py>(slf: Bound<'py, Self>, instance: Bound<'py, PyAny>, owner: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        static METHOD: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let _ = owner;
        if instance.is_none() {
            return Ok(slf.into_any());
        }
        METHOD.import(slf.py(), "types", "MethodType")?.call1((slf, instance))
    }

    #[getter]
    fn plan(&self, py: Python<'_>) -> Py<Plan> {
        self.plan.clone_ref(py)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("<effect function {}{}>", self.plan.get().name, self.plan.get().describe(py)?))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.function)?;
        visit.call(&self.plan)?;
        visit.call(&self.call)
    }
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
