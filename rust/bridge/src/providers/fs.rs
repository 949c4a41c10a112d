//! The effects of `mountain_runtime.fs`, by path and option.

use std::sync::Arc;

use mountain_core::effect::Operation;
use mountain_providers::fs::{self, Place};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::convert::error;
use crate::effect::{self, Effect, Work};
use crate::plan::{Plan, plan};
use crate::providers::beneath::Beneath;
use crate::providers::path::path;
use crate::python::payload::Payload;

/// A place, and the object that named its path, which is what a policy's key is asked about.
pub(crate) struct Given {
    pub(super) place: Place,
    object: Py<PyAny>,
}

impl<'py> FromPyObject<'_, 'py> for Given {
    type Error = PyErr;

    fn extract(object: pyo3::Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(beneath) = object.cast::<Beneath>() {
            let (place, object) = beneath.get().given(object.py());
            return Ok(Given { place, object });
        }
        Ok(Given { place: path(&object)?.into(), object: object.to_owned().unbind() })
    }
}

/// `args` are those that were given: what has its default is left out. `options` are shown only.
fn effect<'py>(
    py: Python<'py>,
    plan: PyResult<Py<Plan>>,
    args: impl IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
    options: &[(&str, bool)],
    operation: impl Operation + 'static,
) -> PyResult<Bound<'py, Effect>> {
    let mut given = effect::Given { args: args.into_pyobject(py)?.unbind(), options: None };
    if !options.is_empty() {
        let shown = PyDict::new(py);
        options.iter().try_for_each(|(name, value)| shown.set_item(name, value))?;
        given.options = Some(shown.unbind());
    }
    Effect::of(py, Work::Native { operation: Arc::new(operation), given: Some(Box::new(given)) }, plan?)
}

/// Those of some options that are not their default.
fn said<const N: usize>(options: [(&'static str, bool, bool); N]) -> Vec<(&'static str, bool)> {
    options.into_iter().filter(|(_, value, default)| value != default).map(|(name, value, _)| (name, value)).collect()
}

/// With an encoding, text.
#[pyfunction]
#[pyo3(signature = (path, encoding = None, errors = None, /))]
pub(crate) fn fs_read<'py>(
    py: Python<'py>,
    path: Given,
    encoding: Option<&str>,
    errors: Option<&str>,
) -> PyResult<Bound<'py, Effect>> {
    match encoding {
        Some(name) => {
            let encoding = fs::Encoding { name: name.into(), errors: errors.unwrap_or("strict").into() };
            let given = if name == "utf-8" && matches!(errors, None | Some("strict")) { None } else { Some((name, errors)) };
            let plan = plan!(py, "fs.read_text");
            match given {
                None => effect(py, plan, (path.object,), &[], fs::Read::text(path.place, encoding)),
                Some((name, errors)) => effect(py, plan, (path.object, name, errors), &[], fs::Read::text(path.place, encoding)),
            }
        }
        None => effect(py, plan!(py, "fs.read_bytes"), (path.object,), &[], fs::Read::bytes(path.place)),
    }
}

#[pyfunction]
#[pyo3(signature = (paths, /))]
pub(crate) fn fs_read_many<'py>(py: Python<'py>, paths: Bound<'py, PyAny>) -> PyResult<Bound<'py, Effect>> {
    let given = paths.try_iter()?.map(|each| each?.extract()).collect::<PyResult<Vec<Given>>>()?;
    let (places, objects): (Vec<_>, Vec<_>) = given.into_iter().map(|each| (each.place, each.object)).unzip();
    effect(py, plan!(py, "fs.read_many"), (objects,), &[], fs::ReadMany::new(places))
}

#[pyfunction]
#[pyo3(signature = (path, data, durable, text, /))]
pub(crate) fn fs_write<'py>(
    py: Python<'py>,
    path: Given,
    data: Bound<'_, PyAny>,
    durable: bool,
    text: bool,
) -> PyResult<Bound<'py, Effect>> {
    let data = Payload::of(&data)?;
    let plan = if text { plan!(py, "fs.write_text") } else { plan!(py, "fs.write_bytes") };
    effect(py, plan, (path.object,), &said([("durable", durable, true)]), fs::Write::new(path.place, data, durable))
}

#[pyfunction]
#[pyo3(signature = (path, algorithm, /))]
pub(crate) fn fs_hash<'py>(py: Python<'py>, path: Given, algorithm: &str) -> PyResult<Bound<'py, Effect>> {
    let plan = plan!(py, "fs.hash");
    match algorithm {
        "blake3" => effect(py, plan, (path.object,), &[], fs::Hash::new(path.place, fs::Algorithm::Blake3)),
        "sha256" => effect(py, plan, (path.object, algorithm), &[], fs::Hash::new(path.place, fs::Algorithm::Sha256)),
        other => Err(PyValueError::new_err(format!("algorithm is 'blake3' or 'sha256', not {other:?}"))),
    }
}

#[pyfunction]
#[pyo3(signature = (path, follow_symlinks, /))]
pub(crate) fn fs_stat(py: Python<'_>, path: Given, follow_symlinks: bool) -> PyResult<Bound<'_, Effect>> {
    let plan = plan!(py, "fs.stat");
    let operation = fs::Stat::new(path.place, follow_symlinks);
    if follow_symlinks {
        effect(py, plan, (path.object,), &[], operation)
    } else {
        effect(py, plan, (path.object, false), &[], operation)
    }
}

#[pyfunction]
#[pyo3(signature = (path, parents, exist_ok, /))]
pub(crate) fn fs_mkdir(py: Python<'_>, path: Given, parents: bool, exist_ok: bool) -> PyResult<Bound<'_, Effect>> {
    effect(
        py,
        plan!(py, "fs.mkdir"),
        (path.object,),
        &said([("parents", parents, false), ("exist_ok", exist_ok, false)]),
        fs::Mkdir::new(path.place, parents, exist_ok),
    )
}

#[pyfunction]
#[pyo3(signature = (path, tree, missing_ok, /))]
pub(crate) fn fs_remove(py: Python<'_>, path: Given, tree: bool, missing_ok: bool) -> PyResult<Bound<'_, Effect>> {
    effect(
        py,
        plan!(py, "fs.remove"),
        (path.object,),
        &said([("tree", tree, false), ("missing_ok", missing_ok, false)]),
        fs::Remove::new(path.place, tree, missing_ok),
    )
}

#[pyfunction]
#[pyo3(signature = (path, data, durable, /))]
pub(crate) fn fs_append<'py>(
    py: Python<'py>,
    path: Given,
    data: Bound<'_, PyAny>,
    durable: bool,
) -> PyResult<Bound<'py, Effect>> {
    let data = Payload::of(&data)?;
    let operation = fs::Append::new(path.place, data, durable);
    effect(py, plan!(py, "fs.append"), (path.object,), &said([("durable", durable, true)]), operation)
}

#[pyfunction]
#[pyo3(signature = (source, target, durable, /))]
pub(crate) fn fs_copy(py: Python<'_>, source: Given, target: Given, durable: bool) -> PyResult<Bound<'_, Effect>> {
    let operation = fs::Copy::new(source.place, target.place, durable);
    effect(py, plan!(py, "fs.copy"), (source.object, target.object), &said([("durable", durable, true)]), operation)
}

#[pyfunction]
#[pyo3(signature = (source, target, durable, /))]
pub(crate) fn fs_move(py: Python<'_>, source: Given, target: Given, durable: bool) -> PyResult<Bound<'_, Effect>> {
    let operation = fs::Move::new(source.place, target.place, durable);
    effect(py, plan!(py, "fs.move"), (source.object, target.object), &said([("durable", durable, true)]), operation)
}

/// A folder for its owner only.
#[pyfunction]
#[pyo3(signature = (path, /))]
pub(crate) fn fs_private_folder(py: Python<'_>, path: Given) -> PyResult<Bound<'_, Effect>> {
    effect(py, plan!(py, "fs.temporary"), (path.object,), &[], fs::Mkdir::private(path.place))
}

/// Removes such a folder with all that is in it, if it is there.
#[pyfunction]
#[pyo3(signature = (path, /))]
pub(crate) fn fs_remove_private(py: Python<'_>, path: Given) -> PyResult<Bound<'_, Effect>> {
    effect(py, plan!(py, "fs.remove"), (path.object,), &[], fs::Remove::own(path.place))
}

/// The same at once, on this thread: for code that is closed, and cannot wait for an effect.
#[pyfunction]
#[pyo3(signature = (path, /))]
pub(crate) fn fs_remove_private_now(py: Python<'_>, path: Given) -> PyResult<()> {
    let removal = fs::Remove::own(path.place);
    py.detach(|| removal.now()).map_err(|e| error::to_python(py, e, None))
}
