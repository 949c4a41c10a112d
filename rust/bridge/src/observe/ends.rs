//! Counts how the parts of a native group ended. It does so on the workers, since Python sees the group only as a
//! whole.

use std::sync::Arc;

use mountain_core::effect::{Outcome, Told};
use mountain_core::error::Error;
use mountain_core::observe::{Count, Tally};
use pyo3::prelude::*;

use crate::convert::class::class;
use crate::globals::telemetry;
use crate::python::os_error::know_classes;

/// A callback that counts the end of each part in the tally at its place.
pub(crate) fn counted(py: Python<'_>, tallies: Vec<Arc<Tally>>) -> PyResult<Told> {
    know_classes(py)?;
    Ok(Arc::new(move |child, outcome: &Outcome, nanos| count(&tallies[child], outcome.as_ref().err(), nanos)))
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
