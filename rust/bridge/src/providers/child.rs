//! A process as a Python object: one that has ended, one that lives, and one that failed.

use std::sync::Arc;
use std::time::Duration;

use mountain_core::effect::Operation;
use mountain_core::error::Error;
use mountain_core::schedule::Priority;
use mountain_providers::process::{
    CloseStdin, Completed as Ended, End, Failed, Live, Next, OneText, Part, Send, Size, Wait, Why,
};
use pyo3::exceptions::{PyFileNotFoundError, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::convert::provided::Failure;
use crate::convert::provided::Provided;
use crate::effect::{Effect, Work};
use crate::globals::default_host;
use crate::handle::Handle;
use crate::plan::{Plan, plan};
use crate::port::Port;
use crate::python::os_error::message;
use crate::python::payload::Payload;
use crate::python::seconds::to_seconds;

/// A program that has run to its end: its exit code (or the signal that ended it, as a negative number), and what it
/// wrote.
#[pyclass(frozen, module = "mountain_runtime.process")]
pub(crate) struct Completed {
    #[pyo3(get)]
    returncode: i32,
    #[pyo3(get)]
    stdout: Py<PyBytes>,
    #[pyo3(get)]
    stderr: Py<PyBytes>,
}

impl Provided for Ended {
    fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let bytes = |b: &[u8]| PyBytes::new(py, b).unbind();
        let completed = Completed { returncode: self.code, stdout: bytes(&self.stdout), stderr: bytes(&self.stderr) };
        Ok(Bound::new(py, completed)?.into_any())
    }
}

#[pymethods]
impl Completed {
    /// For tests, which answer with one.
    #[new]
    #[pyo3(signature = (returncode = 0, stdout = None, stderr = None))]
    #[pyo3(text_signature = "(returncode=0, stdout=b'', stderr=b'')")]
    fn new(py: Python<'_>, returncode: i32, stdout: Option<Py<PyBytes>>, stderr: Option<Py<PyBytes>>) -> Self {
        let bytes = |given: Option<Py<PyBytes>>| given.unwrap_or_else(|| PyBytes::new(py, b"").unbind());
        Completed { returncode, stdout: bytes(stdout), stderr: bytes(stderr) }
    }
    fn __repr__(&self, py: Python<'_>) -> String {
        let (out, err) = (self.stdout.as_bytes(py).len(), self.stderr.as_bytes(py).len());
        format!("<Completed returncode={} stdout={out} bytes stderr={err} bytes>", self.returncode)
    }
}

/// A process that lives. Dropped, its group is killed. What a test plays in its place has the same methods
/// (`mountain_runtime.process._live`).
#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct Child(pub(crate) Arc<Live>);

#[pymethods]
impl Child {
    #[getter]
    fn pid(&self) -> i32 {
        self.0.pid()
    }

    #[getter]
    fn returncode(&self) -> Option<i32> {
        self.0.code()
    }

    /// To the whole group.
    #[pyo3(signature = (number, /))]
    fn signal(&self, number: i32) -> PyResult<()> {
        self.0.signal(number).map_err(|errno| PyOSError::new_err((errno, message(errno))))
    }

    /// Of a terminal.
    #[pyo3(signature = (columns, rows, /))]
    fn resize(&self, py: Python<'_>, columns: u16, rows: u16) -> PyResult<()> {
        let size = size(columns, rows)?;
        py.detach(|| self.0.resize(size)).map_err(|errno| PyOSError::new_err((errno, message(errno))))
    }

    /// Of a terminal, as text.
    fn screen(&self, py: Python<'_>) -> String {
        // Not attached: the thread that draws holds it for as long as a step takes.
        py.detach(|| self.0.screen())
    }

    /// The next of its stdout: `part` is "line", "lines" or "chunk"; None at the end.
    #[pyo3(signature = (part, /))]
    fn next<'py>(&self, py: Python<'py>, part: &str) -> PyResult<Bound<'py, Effect>> {
        let next = Next { live: self.0.clone(), part: part_of(part)?, stderr: false, watches: false };
        Effect::of(py, Work::native(next), plan!(py, "process.receive")?)
    }

    /// The next lines of what it writes, for code that watches it.
    #[pyo3(signature = (part, stderr, /))]
    fn watch_output<'py>(&self, py: Python<'py>, part: &str, stderr: bool) -> PyResult<Bound<'py, Handle>> {
        let next = Next { live: self.0.clone(), part: part_of(part)?, stderr, watches: true };
        begin(py, plan!(py, "process.watch"), next)
    }

    /// Its exit code, for code that watches it. With `waits`, virtual time waits for it.
    #[pyo3(signature = (waits = false, /))]
    fn watch_end<'py>(&self, py: Python<'py>, waits: bool) -> PyResult<Bound<'py, Handle>> {
        begin(py, plan!(py, "process.watch"), Wait { live: self.0.clone(), watches: !waits })
    }

    #[pyo3(signature = (data, /))]
    fn send<'py>(&self, py: Python<'py>, data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Effect>> {
        let data = Payload::of(data)?;
        Effect::of(py, Work::native(Send { live: self.0.clone(), data }), plan!(py, "process.send")?)
    }

    fn close_stdin<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Effect>> {
        Effect::of(py, Work::native(CloseStdin(self.0.clone())), plan!(py, "process.close_stdin")?)
    }

    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Effect>> {
        Effect::of(py, Work::native(Wait { live: self.0.clone(), watches: false }), plan!(py, "process.wait")?)
    }

    /// SIGTERM, and after `grace` seconds SIGKILL, to the whole group; done when it has been reaped. It begins here and
    /// now, whatever deadline has passed and whatever drains: it is how a process goes.
    #[pyo3(signature = (grace, /))]
    fn end<'py>(&self, py: Python<'py>, #[pyo3(from_py_with = to_seconds)] grace: Duration) -> PyResult<Bound<'py, Handle>> {
        begin(py, plan!(py, "process.end"), End { live: self.0.clone(), grace })
    }
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

/// For what a process cannot be given.
pub(crate) fn invalid(e: Error) -> PyErr {
    PyValueError::new_err(match e {
        Error::Invalid(what) => what,
        e => format!("{e:?}"),
    })
}

pub(crate) fn size(columns: u16, rows: u16) -> PyResult<Size> {
    Size::new(columns, rows).map_err(invalid)
}

impl Provided for Live {
    fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok(Bound::new(py, Child(Arc::new(self)))?.into_any())
    }
}

impl Failure for OneText {
    fn into_exception(self, py: Python<'_>) -> PyResult<PyErr> {
        let e = PyFileNotFoundError::new_err((libc::ENOENT, message(libc::ENOENT), self.0));
        let way = "no shell reads a line: write each argument as a text of its own, or 'sh', '-c', line";
        e.value(py).call_method1("add_note", (way,))?;
        Ok(e)
    }

    fn class(&self) -> &'static str {
        "FileNotFoundError"
    }
}

/// The exceptions are those of `subprocess`.
impl Failure for Failed {
    fn into_exception(self, py: Python<'_>) -> PyResult<PyErr> {
        let subprocess = py.import("subprocess")?;
        let Failed { command, completed, why } = self;
        let argv = PyList::new(py, command.argv())?;
        let output = || -> PyResult<Bound<'_, PyDict>> {
            let kwargs = PyDict::new(py);
            kwargs.set_item("output", PyBytes::new(py, &completed.stdout))?;
            kwargs.set_item("stderr", PyBytes::new(py, &completed.stderr))?;
            Ok(kwargs)
        };
        let e = match why {
            Why::Code => subprocess.getattr("CalledProcessError")?.call((completed.code, argv), Some(&output()?))?,
            Why::Stopped(after) => subprocess.getattr("TimeoutExpired")?.call((argv, after.as_secs_f64()), Some(&output()?))?,
            Why::TooMuch(most) => {
                let argv = argv.repr()?;
                let message = format!(
                    "command {argv} wrote more than max_output={most} bytes, and its process group was killed. It ran: \
                     retry only what may run twice, raise max_output, or read its output as it comes with process.open"
                );
                subprocess.getattr("SubprocessError")?.call1((message,))?
            }
        };
        Ok(PyErr::from_value(e))
    }

    fn class(&self) -> &'static str {
        match self.why {
            Why::Code => "subprocess.CalledProcessError",
            Why::Stopped(_) => "subprocess.TimeoutExpired",
            Why::TooMuch(_) => "subprocess.SubprocessError",
        }
    }
}
