//! What the operating system refuses, as Python has it: an OSError of the class that its errno stands for. And what other native failures are called.

use std::io;
use std::sync::OnceLock;

use mountain_core::error::Error;
use mountain_providers::process::{Failed, Why};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

/// Python's classes of system errors, by errno.
static CLASSES: OnceLock<Vec<String>> = OnceLock::new();
/// Beyond it no system has one of its own.
const ERRNOS: i32 = 256;

/// What the system says of an errno.
pub(crate) fn message(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// An OSError with its errno, `about` a path or an address.
pub(crate) fn os_error(e: &io::Error, about: Option<&str>) -> PyErr {
    match (e.raw_os_error(), about) {
        (Some(errno), Some(about)) => PyOSError::new_err((errno, message(errno), about.to_owned())),
        (Some(errno), None) => PyOSError::new_err((errno, message(errno))),
        (None, _) => PyOSError::new_err(e.to_string()),
    }
}

/// From now on `class` knows the system's.
pub(crate) fn know_classes(py: Python<'_>) -> PyResult<()> {
    if CLASSES.get().is_none() {
        let class = |errno| PyOSError::new_err((errno, "")).value(py).get_type().name().map(|name| name.to_string());
        let classes = (0..ERRNOS).map(class).collect::<PyResult<_>>()?;
        let _ = CLASSES.set(classes);
    }
    Ok(())
}

/// The class that Python would raise.
pub(crate) fn class(e: &Error) -> &str {
    let of_errno = |errno: i32| CLASSES.get()?.get(usize::try_from(errno).ok()?);
    match e {
        Error::Os(os) => of_errno(os.errno).map_or("OSError", |class| class),
        Error::Attempted(_, e) | Error::Of(_, e) | Error::Under(_, e) | Error::Within(_, e) => class(e),
        Error::GaveUp(gave_up) => class(&gave_up.1),
        Error::Invalid(_) => "ValueError",
        Error::TimedOut(_) => "mountain_runtime.errors.TimedOut",
        Error::Refused(_) => "mountain_runtime.errors.Rejected",
        Error::All(_) => "ExceptionGroup",
        Error::Other(any) => match any.downcast_ref::<Failed>().map(|failed| &failed.why) {
            Some(Why::Code) => "subprocess.CalledProcessError",
            Some(Why::Stopped(_)) => "subprocess.TimeoutExpired",
            Some(Why::TooMuch(_)) => "subprocess.SubprocessError",
            None => "mountain_runtime.errors.InternalError",
        },
        _ => "mountain_runtime.errors.InternalError",
    }
}
