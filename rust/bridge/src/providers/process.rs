//! The effects of `mountain_runtime.process`.

use std::ffi::OsString;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mountain_core::effect::Operation;
use mountain_core::schedule::Priority;
use mountain_providers::process::{self, Command, Data, Part};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::effect::{Effect, Given, Work};
use crate::globals::default_host;
use crate::handle::Handle;
use crate::plan::{Plan, plan};
use crate::port::Port;
#[cfg(feature = "terminal")]
use crate::providers::child::size;
use crate::providers::child::{Child, invalid};
use crate::python::payload::Payload;
use crate::python::seconds::to_seconds;

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

fn part_of(name: &str) -> PyResult<Part> {
    match name {
        "line" => Ok(Part::Line),
        "lines" => Ok(Part::Lines),
        "chunk" => Ok(Part::Chunk),
        other => Err(PyValueError::new_err(format!("part is 'line', 'lines' or 'chunk', not {other:?}"))),
    }
}

/// Begin here and now, whatever deadline has passed and whatever drains.
fn begin(py: Python<'_>, plan: PyResult<Py<Plan>>, operation: impl Operation + 'static) -> PyResult<Bound<'_, Handle>> {
    Handle::start(&Port::current(py)?, plan?.bind(py), &default_host(), Arc::new(operation), Priority::default(), false, None)
}

/// The next of its stdout: `part` is "line", "lines" or "chunk"; None at the end.
#[pyfunction]
#[pyo3(signature = (child, part, /))]
pub(crate) fn process_next<'py>(py: Python<'py>, child: &Child, part: &str) -> PyResult<Bound<'py, Effect>> {
    let next = process::Next { live: child.0.clone(), part: part_of(part)?, stderr: false, watches: false };
    Effect::of(py, Work::native(next), plan!(py, "process.receive")?)
}

/// The next lines of what it writes, for code that watches it.
#[pyfunction]
#[pyo3(signature = (child, part, stderr, /))]
pub(crate) fn process_watch_output<'py>(
    py: Python<'py>,
    child: &Child,
    part: &str,
    stderr: bool,
) -> PyResult<Bound<'py, Handle>> {
    let next = process::Next { live: child.0.clone(), part: part_of(part)?, stderr, watches: true };
    begin(py, plan!(py, "process.watch"), next)
}

/// Its exit code, for code that watches it. With `waits`, virtual time waits for it.
#[pyfunction]
#[pyo3(signature = (child, waits = false, /))]
pub(crate) fn process_watch_end<'py>(py: Python<'py>, child: &Child, waits: bool) -> PyResult<Bound<'py, Handle>> {
    begin(py, plan!(py, "process.watch"), process::Wait { live: child.0.clone(), watches: !waits })
}

#[pyfunction]
#[pyo3(signature = (child, data, /))]
pub(crate) fn process_send<'py>(py: Python<'py>, child: &Child, data: Bound<'py, PyAny>) -> PyResult<Bound<'py, Effect>> {
    let data = Payload::of(&data)?;
    Effect::of(py, Work::native(process::Send { live: child.0.clone(), data }), plan!(py, "process.send")?)
}

#[pyfunction]
#[pyo3(signature = (child, /))]
pub(crate) fn process_close_stdin<'py>(py: Python<'py>, child: &Child) -> PyResult<Bound<'py, Effect>> {
    Effect::of(py, Work::native(process::CloseStdin(child.0.clone())), plan!(py, "process.close_stdin")?)
}

#[pyfunction]
#[pyo3(signature = (child, /))]
pub(crate) fn process_wait<'py>(py: Python<'py>, child: &Child) -> PyResult<Bound<'py, Effect>> {
    Effect::of(py, Work::native(process::Wait { live: child.0.clone(), watches: false }), plan!(py, "process.wait")?)
}

/// SIGTERM, and after `grace` seconds SIGKILL, to the whole group; done when it has been reaped. It begins here and
/// now, whatever deadline has passed and whatever drains: it is how a process goes.
#[pyfunction]
#[pyo3(signature = (child, grace, /))]
pub(crate) fn process_end<'py>(
    py: Python<'py>,
    child: &Child,
    #[pyo3(from_py_with = to_seconds)] grace: Duration,
) -> PyResult<Bound<'py, Handle>> {
    begin(py, plan!(py, "process.end"), process::End { live: child.0.clone(), grace })
}

/// Kill the groups that were opened under `owner`, or all there are: what was killed, by number and command line.
#[pyfunction]
#[pyo3(signature = (owner = None, /))]
pub(crate) fn sweep_groups(owner: Option<usize>) -> Vec<(i32, String)> {
    process::sweep(owner)
}
