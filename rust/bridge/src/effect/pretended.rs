//! A stand-in for native work in a test.

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{PyTraverseError, PyVisit};

use crate::effect::Work;
use crate::observe::outgoing;

/// A callable that a test answers: to policies it has the arguments of the call that made the native effect.
#[pyclass(frozen)]
pub(crate) struct Pretended {
    answer: Py<PyAny>,
    with: Py<PyTuple>,
}

impl Pretended {
    /// Each call is `answer(trace, *with)`, with the headers of the current span.
    #[cfg(feature = "http")]
    pub(crate) fn new(answer: Py<PyAny>, with: Bound<'_, PyTuple>) -> Self {
        Pretended { answer, with: with.unbind() }
    }
}

impl Work {
    /// The arguments of the call that made native work, or its stand-in, where they are known.
    pub(super) fn given<'a, 'py>(&'a self, py: Python<'py>) -> Option<&'a Bound<'py, PyTuple>> {
        match self {
            Work::Native { given, .. } => given.as_ref().map(|given| given.args.bind(py)),
            Work::Call { callable, args, .. } => callable.bind(py).is_exact_instance_of::<Pretended>().then(|| args.bind(py)),
            Work::Group { .. } => None,
        }
    }
}

#[pymethods]
impl Pretended {
    #[pyo3(signature = (*_args))]
    fn __call__<'py>(&self, py: Python<'py>, _args: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        let trace = (outgoing::current(py),).into_pyobject(py)?;
        self.answer.bind(py).call1(trace.as_any().add(self.with.bind(py))?.cast_into::<PyTuple>()?)
    }
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.answer)?;
        visit.call(&self.with)
    }
}
