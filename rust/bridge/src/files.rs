//! The effects of `mountain_runtime.fs`, by path and option.

use std::path::PathBuf;
use std::sync::Arc;

use mountain_core::effect::Operation;
use mountain_providers::fs;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::effect::{Effect, Work};
use crate::plan::Plan;
use crate::pyref::PyRef;

/// One plan a function: its effects share a name and its counters.
macro_rules! plan {
    ($py:expr, $name:literal) => {{
        static PLAN: pyo3::sync::PyOnceLock<Py<Plan>> = pyo3::sync::PyOnceLock::new();
        PLAN.get_or_try_init($py, || Plan::bare($py, $name).map(Bound::unbind)).map(|p| p.clone_ref($py))
    }};
}

fn effect(py: Python<'_>, plan: PyResult<Py<Plan>>, operation: impl Operation + 'static) -> PyResult<Bound<'_, Effect>> {
    Effect::of(py, Work::Native(Arc::new(operation)), plan?)
}

/// With an encoding, text.
#[pyfunction]
#[pyo3(signature = (path, encoding = None, errors = None, /))]
pub(crate) fn fs_read<'py>(
    py: Python<'py>,
    path: PathBuf,
    encoding: Option<&str>,
    errors: Option<&str>,
) -> PyResult<Bound<'py, Effect>> {
    match encoding {
        Some(name) => {
            let encoding = fs::Encoding { name: name.into(), errors: errors.unwrap_or("strict").into() };
            effect(py, plan!(py, "fs.read_text"), fs::Read::text(path, encoding))
        }
        None => effect(py, plan!(py, "fs.read_bytes"), fs::Read::bytes(path)),
    }
}

#[pyfunction]
#[pyo3(signature = (paths, /))]
pub(crate) fn fs_read_many(py: Python<'_>, paths: Vec<PathBuf>) -> PyResult<Bound<'_, Effect>> {
    effect(py, plan!(py, "fs.read_many"), fs::ReadMany::new(paths))
}

/// The payload of a `bytes` object, for a worker to read. The object is immutable and kept alive.
struct Payload {
    _object: PyRef,
    start: *const u8,
    length: usize,
}
// SAFETY: the bytes never change and never move while `_object` lives, and that reference may be dropped anywhere.
unsafe impl Send for Payload {}
// SAFETY: as above.
unsafe impl Sync for Payload {}
impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

#[pyfunction]
#[pyo3(signature = (path, data, durable, /))]
pub(crate) fn fs_write<'py>(
    py: Python<'py>,
    path: PathBuf,
    data: Bound<'_, PyAny>,
    durable: bool,
) -> PyResult<Bound<'py, Effect>> {
    // Whatever may change under our hands (a bytearray, an array) is copied; bytes are not.
    let bytes = match data.cast::<PyBytes>() {
        Ok(bytes) => bytes.clone(),
        Err(_) => PyBytes::new(py, &PyBuffer::<u8>::get(&data)?.to_vec(py)?),
    };
    let (start, length) = (bytes.as_bytes().as_ptr(), bytes.as_bytes().len());
    let data = Arc::new(Payload { _object: PyRef::new(bytes.unbind()), start, length });
    effect(py, plan!(py, "fs.write"), fs::Write::new(path, data, durable))
}

#[pyfunction]
#[pyo3(signature = (path, algorithm, /))]
pub(crate) fn fs_hash<'py>(py: Python<'py>, path: PathBuf, algorithm: &str) -> PyResult<Bound<'py, Effect>> {
    let algorithm = match algorithm {
        "blake3" => fs::Algorithm::Blake3,
        "sha256" => fs::Algorithm::Sha256,
        other => return Err(PyValueError::new_err(format!("algorithm is 'blake3' or 'sha256', not {other:?}"))),
    };
    effect(py, plan!(py, "fs.hash"), fs::Hash::new(path, algorithm))
}

#[pyfunction]
#[pyo3(signature = (path, follow_symlinks, /))]
pub(crate) fn fs_stat(py: Python<'_>, path: PathBuf, follow_symlinks: bool) -> PyResult<Bound<'_, Effect>> {
    effect(py, plan!(py, "fs.stat"), fs::Stat::new(path, follow_symlinks))
}

#[pyfunction]
#[pyo3(signature = (path, parents, exist_ok, /))]
pub(crate) fn fs_mkdir(py: Python<'_>, path: PathBuf, parents: bool, exist_ok: bool) -> PyResult<Bound<'_, Effect>> {
    effect(py, plan!(py, "fs.mkdir"), fs::Mkdir::new(path, parents, exist_ok))
}

#[pyfunction]
#[pyo3(signature = (path, tree, missing_ok, /))]
pub(crate) fn fs_remove(py: Python<'_>, path: PathBuf, tree: bool, missing_ok: bool) -> PyResult<Bound<'_, Effect>> {
    effect(py, plan!(py, "fs.remove"), fs::Remove::new(path, tree, missing_ok))
}
