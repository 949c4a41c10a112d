//! The layer of chaos: the failure, the delay or the hang in front of a call.

use super::Chaos;
use crate::effect::{Around, Call, Fault, Leaf};
use crate::observe::{Event, Injected};
use crate::time::sleep_until;

/// Lets the call begin, at once or late, or fails it. What happens is of the call to all policies around: a breaker has
/// let it in, and it is an attempt. `layer` is the place of `chaos` in the stack.
pub async fn enter<L: Leaf>(call: &Call<'_, L>, layer: usize, chaos: &Chaos, around: Around<'_>) -> Result<(), L::Err> {
    let Some((injected, hang)) = chaos.next() else { return Ok(()) };
    around.admit().map_err(L::Err::refused)?;
    match injected {
        Injected::Failure => {
            call.attempt();
            call.tell(Event::Chaos(layer, injected));
            return Err(call.leaf.injected(layer, chaos.settings.errno));
        }
        Injected::Delay(delay) => {
            let until = call.now().after(delay);
            call.tell(Event::Chaos(layer, injected));
            call.trace.held_up(sleep_until(call.clock, until)).await;
        }
        Injected::Hang => {
            call.tell(Event::Chaos(layer, injected));
            call.trace.held_up(hang).await;
        }
    }
    call.tell(Event::Waited(layer));
    call.now();
    Ok(())
}
