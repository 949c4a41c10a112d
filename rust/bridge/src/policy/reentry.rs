//! Finds out, before a call is refused because it would wait for itself, whether the blocks that hold permits still
//! belong to the running code.

use std::sync::Arc;

use mountain_core::effect::{PermitContext, Terms};
use mountain_core::policy::Layer;
use pyo3::prelude::*;

use crate::python::api::api;

/// Whether a limit of the stack would refuse the call.
pub(crate) fn reenters(stack: &[Layer], terms: &Terms, held: &Arc<PermitContext>) -> bool {
    let refuses = |(layer, each): (usize, &Layer)| matches!(each, Layer::Limit(limit) if limit.reenters(terms.key(layer), held));
    stack.iter().enumerate().any(refuses)
}

/// Gives up the permits of generators that were left by `break`: such a block stays in the context of the code that
/// left it until the event loop closes the generator. Finding them takes a pass over every object, so it is done only
/// where a call is about to be refused.
pub(crate) fn disown_abandoned(py: Python<'_>, held: &PermitContext, is_refused: impl FnOnce() -> bool) -> PyResult<()> {
    if held.by_block() && is_refused() {
        api(py).disown_abandoned.bind(py).call0()?;
    }
    Ok(())
}
