//! How a block of code gets a permit of a limit: at once, or by an effect that waits for it on the native side.

use mountain_core::effect::Use;
use mountain_core::runtime::{Queued, Then};
use pyo3::prelude::*;

use crate::context;
use crate::effect::{Effect, Work};
use crate::keyed;
use crate::permits::{Permits, Slot};
use crate::plan::Plan;
use crate::process::clock;
use crate::reentry;

/// A permit, if there is one and nobody waits; else None.
#[pyfunction]
#[pyo3(signature = (permits, key, /))]
pub(crate) fn try_slot(py: Python<'_>, permits: &Bound<'_, Permits>, key: Option<Bound<'_, PyAny>>) -> PyResult<Option<Slot>> {
    let permits = permits.get();
    let used = key.map(|key| keyed::intern(&permits.keys, &key)).transpose()?;
    let number = used.as_ref().map_or(0, Use::number);
    Ok(permits.limit.try_permit(clock(), number, context::within(py)?.0).map(Slot::new))
}

/// An effect that waits for a permit.
#[pyfunction]
#[pyo3(signature = (permits, key, plan, /))]
pub(crate) fn wait_for_slot<'py>(
    py: Python<'py>,
    permits: &Bound<'py, Permits>,
    key: Option<Bound<'py, PyAny>>,
    plan: Py<Plan>,
) -> PyResult<Bound<'py, Effect>> {
    let permits = permits.get();
    let key = key.map(|key| keyed::intern(&permits.keys, &key)).transpose()?;
    let (priority, held) = (context::priority(py)?, context::within(py)?.0);
    if let Some(held) = &held {
        reentry::disown_abandoned(py, held, || permits.limit.reenters(key.as_ref().map_or(0, Use::number), held))?;
    }
    Effect::of(py, Work::native(Queued { limit: permits.limit.clone(), key, priority, held, then: Then::Hand }), plan)
}
