//! The close of a stream that has ended already.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::python::type_slots::{Step, Steps};

/// One object for all streams: an await of it is over at once.
#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct Over;

impl Over {
    pub(super) fn get(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        static OVER: PyOnceLock<Py<Over>> = PyOnceLock::new();
        OVER.get_or_try_init(py, || Py::new(py, Over)).map(|over| over.bind(py).clone().into_any())
    }
}

impl Steps for Over {
    fn step<'py>(slf: &Bound<'py, Self>) -> Step<'py> {
        Step::Return(slf.py().None().into_bound(slf.py()))
    }
}

#[pymethods]
impl Over {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }
    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::step(slf).into_next()
    }
}
