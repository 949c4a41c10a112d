//! The OSError of a system error, of the class that Python has for its errno.

use std::io;
use std::sync::OnceLock;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

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
