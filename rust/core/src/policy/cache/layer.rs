//! The layer of a cache: a value that is there, or a flight to wait for.

use std::future::Future;
use std::sync::Arc;

use super::Cache;
use super::store::Found;
use crate::effect::{Around, Call, Deadline, Fault, Flight, Joined, Landed, Landing, Leaf, Use};
use crate::error::Reason;
use crate::observe::{self, Event};

/// The value of `cache`, the layer at `layer` of the stack, for this call's key; that of `inner` without a key, or
/// where the host has no flights.
pub async fn cached<'a, L, F>(
    call: &'a Call<'a, L>,
    layer: usize,
    cache: &'a Arc<Cache>,
    around: Around<'a>,
    inner: impl FnOnce() -> F + Send,
) -> Result<L::Ok, L::Err>
where
    L: Leaf,
    F: Future<Output = Result<L::Ok, L::Err>> + Send,
{
    let (Some(key), Some(flights)) = (call.terms.used(layer), call.leaf.flights()) else { return inner().await };
    let mut waits = false;
    loop {
        let (flight, begins) = match cache.find(key.number(), call.now()) {
            Found::Fresh(value) => {
                call.tell(Event::Cache(layer, observe::Found::Hit));
                return Ok(flights.shared(&value));
            }
            Found::Stale(value, flight) => {
                call.tell(Event::Cache(layer, observe::Found::Stale));
                // A refresh that cannot begin is one that failed: the old value is still given out.
                let _ = flight
                    .map(|flight| flights.fly(layer, landing(call, cache, key, &flight), Some(flight.permits()), Deadline::NONE));
                return Ok(flights.shared(&value));
            }
            Found::Flying(flight) => (flight, false),
            Found::Missing(flight) => (flight, true),
        };
        call.tell(Event::Cache(layer, if begins { observe::Found::Missing } else { observe::Found::Flying }));
        // Made first: if this caller cannot begin the flight, dropping the landing wakes the others.
        let landing = begins.then(|| landing(call, cache, key, &flight));
        let Some(joined) = Joined::new(call, layer, &flight, around.held) else {
            return Err(L::Err::refused(call.refused(layer, Reason::Reentered)));
        };
        // The outcome is counted once, with the caller that begins the flight.
        if landing.is_some() {
            around.admit().map_err(L::Err::refused)?;
        }
        // Beginning a lost flight again is the same attempt.
        if !std::mem::replace(&mut waits, true) {
            call.attempt();
        }
        if let Some(landing) = landing {
            // A deadline over this caller is not one over the others.
            flights.fly(layer, landing, Some(flight.permits()), Deadline::NONE)?;
        }
        match joined.landed().await {
            Some(Landed::Value(value)) => return Ok(flights.shared(&value)),
            Some(Landed::Failed(fault)) => return Err(flights.failed(&fault)),
            Some(Landed::Lost) => {}
            None => return Err(L::Err::stopped()),
        }
    }
}

/// The landing of a flight of `inner`, as work of its own.
fn landing<L: Leaf>(call: &Call<'_, L>, cache: &Arc<Cache>, key: &Use, flight: &Arc<Flight>) -> Landing {
    let (cache, key, clock, of) = (cache.clone(), key.clone(), call.clock.clone(), flight.clone());
    let cleared = cache.cleared();
    Landing::new(flight.clone(), move |landed| {
        let value = if let Landed::Value(value) = landed { Some(value.clone()) } else { None };
        cache.landed(&of, &key, value, cleared, clock.now());
    })
}
