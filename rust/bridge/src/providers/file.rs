//! An open file as a Python object, and the calls on it.

use std::sync::Arc;

use mountain_core::effect::Operation;
use mountain_providers::fs::{self, Call, Mode, OnFile};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::convert::provided::Provided;
use crate::effect::{Effect, Work};
use crate::plan::{Plan, plan};
use crate::providers::fs::Given;
use crate::python::payload::Payload;

/// A file that is open. Dropped, it is closed, and a new content that has not taken its name is gone.
#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct OpenFile(Arc<fs::OpenFile>);

impl OpenFile {
    fn call(&self, call: Call) -> Work {
        Work::native(OnFile { file: self.0.clone(), call })
    }
}

#[pymethods]
impl OpenFile {
    /// None while a call has the file, and when it is closed.
    #[getter]
    fn position(&self) -> Option<u64> {
        self.0.position()
    }

    #[pyo3(signature = (size, /))]
    fn read<'py>(&self, py: Python<'py>, size: usize) -> PyResult<Bound<'py, Effect>> {
        Effect::of(py, self.call(Call::Read(size)), plan!(py, "fs.File.read")?)
    }

    #[pyo3(signature = (data, /))]
    fn write<'py>(&self, py: Python<'py>, data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Effect>> {
        Effect::of(py, self.call(Call::Write(Payload::of(data)?)), plan!(py, "fs.File.write")?)
    }

    #[pyo3(signature = (offset, from_end, /))]
    fn seek<'py>(&self, py: Python<'py>, offset: i64, from_end: bool) -> PyResult<Bound<'py, Effect>> {
        Effect::of(py, self.call(Call::Seek(offset, from_end)), plan!(py, "fs.File.seek")?)
    }

    #[pyo3(signature = (size, /))]
    fn truncate<'py>(&self, py: Python<'py>, size: u64) -> PyResult<Bound<'py, Effect>> {
        Effect::of(py, self.call(Call::Truncate(size)), plan!(py, "fs.File.truncate")?)
    }

    #[pyo3(signature = (keep, durable, /))]
    fn close<'py>(&self, py: Python<'py>, keep: bool, durable: bool) -> PyResult<Bound<'py, Effect>> {
        Effect::of(py, self.call(Call::Close(keep, durable)), plan!(py, "fs.File.close")?)
    }
}

impl Provided for fs::OpenFile {
    fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok(Bound::new(py, OpenFile(Arc::new(self)))?.into_any())
    }
}

/// A mode that is none is a ValueError.
#[pyfunction]
#[pyo3(signature = (path, mode, /))]
pub(crate) fn fs_open<'py>(py: Python<'py>, path: Given, mode: &str) -> PyResult<Bound<'py, Effect>> {
    let mode = match mode {
        "r" => Mode::Read,
        "w" => Mode::Replace,
        "x" => Mode::New,
        "r+" => Mode::Update,
        "a" => Mode::Append,
        other => return Err(PyValueError::new_err(format!("mode={other:?}"))),
    };
    let operation: Arc<dyn Operation> = Arc::new(fs::Open::new(path.place, mode));
    Effect::of(py, Work::Native { operation, given: None }, plan!(py, "fs.open")?)
}
