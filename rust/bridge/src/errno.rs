//! What the operating system refuses, as Python has it: an OSError of the class that its errno stands for.

use std::io;

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

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
