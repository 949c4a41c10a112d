//! The layer of a rate limit: wait for a turn, then go on.

use std::sync::Arc;

use super::Rate;
use crate::effect::{Around, Call, Fault, Leaf};
use crate::error::Reason;

/// Waits for a turn at `rate`, the layer at `layer` of the stack.
pub async fn enter<'a, L: Leaf>(
    call: &'a Call<'a, L>,
    layer: usize,
    rate: &'a Arc<Rate>,
    around: Around<'a>,
) -> Result<(), L::Err> {
    let (key, cost) = (call.terms.key(layer), call.terms.cost(layer));
    let turn = rate.acquire(call.clock, key, call.terms.priority, cost, around.over.at);
    let turn = call.wait(layer, &rate.waits, turn).await;
    turn.map_err(|after| L::Err::refused(call.refused(layer, Reason::Limited(after))))
}
