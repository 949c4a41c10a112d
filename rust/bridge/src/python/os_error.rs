//! The OSError of a system error, of the class that Python has for its errno.

use std::io;
use std::sync::OnceLock;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyType;

/// Python's classes of system errors, by errno.
static CLASSES: OnceLock<Vec<String>> = OnceLock::new();
/// The table's length: no platform has a class of its own for a larger errno.
const ERRNOS: i32 = 256;

/// The system's message for an errno.
pub(crate) fn message(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// An OSError with its errno; `about` is a path or an address.
pub(crate) fn os_error(e: &io::Error, about: Option<&str>) -> PyErr {
    match (e.raw_os_error(), about) {
        (Some(errno), Some(about)) => PyOSError::new_err((errno, message(errno), about.to_owned())),
        (Some(errno), None) => PyOSError::new_err((errno, message(errno))),
        (None, _) => PyOSError::new_err(e.to_string()),
    }
}

/// Reads Python's classes once. `class` answers with them from then on.
pub(crate) fn know_classes(py: Python<'_>) -> PyResult<()> {
    if CLASSES.get().is_none() {
        let class = |errno| PyOSError::new_err((errno, "")).value(py).get_type().name().map(|name| name.to_string());
        let classes = (0..ERRNOS).map(class).collect::<PyResult<_>>()?;
        let _ = CLASSES.set(classes);
    }
    Ok(())
}

/// The class that Python raises for an errno; `OSError` before `know_classes`.
pub(crate) fn class(errno: i32) -> &'static str {
    let known = || CLASSES.get()?.get(usize::try_from(errno).ok()?);
    known().map_or("OSError", |class| class)
}

/// The errnos that CPython maps to each subclass of OSError (PEP 3151), the commonest first; of OSError itself one that
/// has no subclass.
const OF_CLASSES: &[(&str, &[i32])] = &[
    ("OSError", &[libc::EIO]),
    ("BlockingIOError", &[libc::EAGAIN, libc::EALREADY, libc::EWOULDBLOCK, libc::EINPROGRESS]),
    ("ChildProcessError", &[libc::ECHILD]),
    ("ConnectionError", &[libc::ECONNRESET, libc::EPIPE, libc::ESHUTDOWN, libc::ECONNABORTED, libc::ECONNREFUSED]),
    ("BrokenPipeError", &[libc::EPIPE, libc::ESHUTDOWN]),
    ("ConnectionAbortedError", &[libc::ECONNABORTED]),
    ("ConnectionRefusedError", &[libc::ECONNREFUSED]),
    ("ConnectionResetError", &[libc::ECONNRESET]),
    ("FileExistsError", &[libc::EEXIST]),
    ("FileNotFoundError", &[libc::ENOENT]),
    ("InterruptedError", &[libc::EINTR]),
    ("IsADirectoryError", &[libc::EISDIR]),
    ("NotADirectoryError", &[libc::ENOTDIR]),
    ("PermissionError", &[libc::EACCES, libc::EPERM]),
    ("ProcessLookupError", &[libc::ESRCH]),
    ("TimeoutError", &[libc::ETIMEDOUT]),
];

/// The errnos of OSError or a builtin subclass of it. `None`: another class. A user's subclass of the same name is not
/// what an errno makes.
pub(crate) fn errnos_of(class: &Bound<'_, PyType>) -> PyResult<Option<&'static [i32]>> {
    if !class.is_subclass_of::<PyOSError>()? || class.module()?.to_str()? != "builtins" {
        return Ok(None);
    }
    let name = class.name()?;
    let name = name.to_str()?;
    Ok(OF_CLASSES.iter().find(|(of, _)| *of == name).map(|(_, errnos)| *errnos))
}
