//! The name of the exception class that a native failure becomes, found on any thread and without Python.

use mountain_core::error::Error;

use crate::convert::provided;
use crate::python::os_error;

/// The full name, without a module where the class is a builtin.
pub(crate) fn class(e: &Error) -> &str {
    const BUG: &str = "mountain_runtime.errors.InternalError";
    match e {
        Error::Os(os) => os_error::class(os.errno),
        Error::Attempted(_, e) | Error::Of(_, e) | Error::Under(_, e) | Error::Within(_, e) | Error::Injected(_, e) => class(e),
        Error::GaveUp(gave_up) => class(&gave_up.1),
        Error::Beside(all) => class(&all.0),
        Error::Invalid(_) => "ValueError",
        Error::TimedOut(_) => "mountain_runtime.errors.TimedOut",
        Error::Refused(_) => "mountain_runtime.errors.Rejected",
        Error::All(_) => "ExceptionGroup",
        Error::Other(failure) => provided::class(&**failure).unwrap_or(BUG),
        Error::Cancelled | Error::Panic(_) => BUG,
    }
}
