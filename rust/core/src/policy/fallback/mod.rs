//! Fallback: when the inside fails with what `on` names, something else gives the result. In a stack of several, each
//! replaces a failure of those inside it.

use crate::effect::{Around, Call, Fault, Leaf, call_instead};
use crate::observe::Event;

/// Calls `inner`; `layer` is this fallback's place in the stack.
pub async fn fallback<'a, L, F>(call: &'a Call<'a, L>, layer: usize, around: Around<'a>, inner: F) -> Result<L::Ok, L::Err>
where
    L: Leaf,
    F: Future<Output = Result<L::Ok, L::Err>> + Send,
{
    let mut fault = match inner.await {
        Ok(value) => return Ok(value),
        Err(fault) => fault,
    };
    if !fault.class().is_inside(layer) || !call.leaf.names(layer, &mut fault) {
        return Err(fault);
    }
    call.leaf.instead(layer, fault)?;
    call.tell(Event::Degraded(layer));
    let value = call_instead(call, around).await?;
    call.trace.stand_in(Some(layer));
    Ok(value)
}
