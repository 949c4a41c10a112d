//! How the parts of a native group ended: counted on the workers where they end, since Python sees the whole only.

use std::sync::{Arc, OnceLock};

use mountain_core::effect::{Outcome, Told};
use mountain_core::error::Error;
use mountain_core::observe::{Count, Tally};
use mountain_providers::process::{Failed, Why};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use crate::process::telemetry;

/// Python's classes of system errors, by errno.
static CLASSES: OnceLock<Vec<String>> = OnceLock::new();
/// Beyond it no system has one of its own.
const ERRNOS: i32 = 256;

/// Who counts the ends of parts, each on the tally of its place.
pub(crate) fn counted(py: Python<'_>, tallies: Vec<Arc<Tally>>) -> PyResult<Told> {
    know_classes(py)?;
    Ok(Arc::new(move |child, outcome: &Outcome, nanos| count(&tallies[child], outcome.as_ref().err(), nanos)))
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

fn count(tally: &Tally, error: Option<&Error>, nanos: u64) {
    match error {
        None => tally.began_and_ended(Count::Succeeded, nanos),
        Some(Error::Cancelled) => tally.began_and_ended(Count::Cancelled, nanos),
        Some(Error::TimedOut(_)) => tally.began_and_ended(Count::TimedOut, nanos),
        Some(Error::Refused(_)) => tally.began_and_ended(Count::Rejected, nanos),
        Some(Error::Attempted(_, e) | Error::Of(_, e) | Error::Under(_, e) | Error::Within(_, e)) => count(tally, Some(e), nanos),
        Some(Error::GaveUp(gave_up)) => count(tally, Some(&gave_up.1), nanos),
        Some(e) => {
            tally.count(Count::Started);
            tally.took(nanos);
            telemetry().failed(tally, class(e));
        }
    }
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
