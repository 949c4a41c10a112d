//! The effects of `mountain_runtime.process`.

use std::ffi::OsString;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

use mountain_core::effect::Operation;
use mountain_providers::process::{self, Command, Data};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::effect::{Effect, Given, Work};
use crate::plan::{Plan, plan};
use crate::providers::child::invalid;
#[cfg(feature = "terminal")]
use crate::providers::child::size;
use crate::python::payload::Payload;

type Environment = Option<Vec<(OsString, OsString)>>;

/// Without an environment, this process's own as it is now: read here, where no other Python code can change it
/// meanwhile.
fn command(argv: &Bound<'_, PyTuple>, cwd: Option<PathBuf>, env: Environment, stderr: bool) -> PyResult<Arc<Command>> {
    program(argv, cwd, env, stderr).map(Arc::new)
}

fn program(argv: &Bound<'_, PyTuple>, cwd: Option<PathBuf>, env: Environment, stderr: bool) -> PyResult<Command> {
    let argv = argv.iter().map(|a| a.extract::<PathBuf>().map(PathBuf::into_os_string)).collect::<PyResult<_>>()?;
    let cwd = cwd.map(PathBuf::into_os_string);
    let command = match env {
        Some(env) => Command::new(argv, cwd, env, stderr),
        None => Command::new(argv, cwd, std::env::vars_os(), stderr),
    };
    command.map_err(invalid)
}

/// Those of its options that a repr shows: neither its input nor an environment, which may be secret.
fn shown(
    py: Python<'_>,
    data: Option<&Bound<'_, PyAny>>,
    check: bool,
    cwd: Option<&PathBuf>,
    max_output: Option<usize>,
) -> PyResult<Option<Py<PyDict>>> {
    if data.is_none() && check && cwd.is_none() && max_output.is_none() {
        return Ok(None);
    }
    let options = PyDict::new(py);
    if data.is_some() {
        options.set_item("input", py.Ellipsis())?;
    }
    if !check {
        options.set_item("check", false)?;
    }
    if let Some(cwd) = cwd {
        options.set_item("cwd", cwd.as_os_str())?;
    }
    if let Some(most) = max_output {
        options.set_item("max_output", most)?;
    }
    Ok(Some(options.unbind()))
}

#[pyfunction]
#[pyo3(signature = (argv, data, check, cwd, env, max_output, /))]
pub(crate) fn process_run<'py>(
    py: Python<'py>,
    argv: Bound<'py, PyTuple>,
    data: Option<Bound<'py, PyAny>>,
    check: bool,
    cwd: Option<PathBuf>,
    env: Environment,
    max_output: Option<usize>,
) -> PyResult<Bound<'py, Effect>> {
    let options = shown(py, data.as_ref(), check, cwd.as_ref(), max_output)?;
    let command = command(&argv, cwd, env, true)?;
    let input = data.map(|data| Payload::of(&data).map(|payload| payload as Data)).transpose()?;
    let operation: Arc<dyn Operation> = Arc::new(process::Run { command, input, check, max_output });
    let given = Given { args: argv.unbind(), options };
    Effect::of(py, Work::Native { operation, given: Some(Box::new(given)) }, plan!(py, "process.run")?)
}

#[pyfunction]
#[pyo3(signature = (argv, cwd, env, stderr, owner, /))]
pub(crate) fn process_open<'py>(
    py: Python<'py>,
    argv: Bound<'py, PyTuple>,
    cwd: Option<PathBuf>,
    env: Environment,
    stderr: bool,
    owner: Option<usize>,
) -> PyResult<Bound<'py, Effect>> {
    let command = command(&argv, cwd, env, stderr)?;
    Effect::of(py, Work::native(process::Open { command, owner, terminal: None }), plan!(py, "process.open")?)
}

/// Python of this package at the other end of a socket: copies of `socket` and `stderr` are its stdin and its stderr;
/// its stdout is this process's.
#[pyfunction]
#[pyo3(signature = (argv, socket, stderr, owner, /))]
pub(crate) fn process_worker<'py>(
    py: Python<'py>,
    argv: Bound<'py, PyTuple>,
    socket: RawFd,
    stderr: RawFd,
    owner: Option<usize>,
) -> PyResult<Bound<'py, Effect>> {
    // SAFETY: the caller holds both open during the call.
    let copy = |fd| unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned();
    let command = Arc::new(program(&argv, None, None, false)?.with_given(copy(socket)?, copy(stderr)?));
    Effect::of(py, Work::native(process::Open { command, owner, terminal: None }), plan!(py, "process.worker")?)
}

#[cfg(feature = "terminal")]
#[pyfunction]
#[pyo3(signature = (argv, cwd, columns, rows, owner, /))]
pub(crate) fn process_terminal<'py>(
    py: Python<'py>,
    argv: Bound<'py, PyTuple>,
    cwd: Option<PathBuf>,
    columns: u16,
    rows: u16,
    owner: Option<usize>,
) -> PyResult<Bound<'py, Effect>> {
    let terminal = Some(size(columns, rows)?);
    let environment = process::environment(std::env::vars_os()).collect();
    let command = command(&argv, cwd, Some(environment), false)?;
    Effect::of(py, Work::native(process::Open { command, owner, terminal }), plan!(py, "process.terminal")?)
}

/// Kill the groups that were opened under `owner`, or all there are: what was killed, by number and command line.
#[pyfunction]
#[pyo3(signature = (owner = None, /))]
pub(crate) fn sweep_groups(owner: Option<usize>) -> Vec<(i32, String)> {
    process::sweep(owner)
}
