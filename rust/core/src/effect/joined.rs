//! A wait for a flight, as a layer holds it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Awaits, Call, Flight, Holder, Landed, Leaf, PermitContext, Shared};

/// A call's wait for one flight, of which it may have several. Dropping it leaves the flight, and does not wait for the
/// flight's end.
pub struct Joined<'a> {
    awaits: &'a Awaits,
    number: u32,
    flight: Arc<Flight>,
    /// The flight of which the call itself is a part.
    own: Option<&'a Arc<Flight>>,
    /// The call's permits, which wait for the flight.
    held: Option<Arc<PermitContext>>,
}

impl<'a> Joined<'a> {
    /// Counts `call` among those that wait for `flight`: its layer at `layer` waits, within `held`. `None`: the flight
    /// would wait for itself.
    pub fn new<L: Leaf>(call: &Call<'a, L>, layer: usize, flight: &Arc<Flight>, held: Option<&Holder<'_>>) -> Option<Self> {
        let own = call.terms.flight.as_ref();
        if own.is_some_and(|own| !own.waits_for(flight)) {
            return None;
        }
        let awaits = &call.trace.awaits;
        let number = awaits.join(layer, flight);
        // A call that joins too late does not wait.
        let held = held.filter(|_| !flight.is_over()).map(Holder::held);
        if held.is_some() {
            flight.work().awaited_by(held.as_ref(), None);
        }
        Some(Joined { awaits, number, flight: flight.clone(), own, held })
    }

    /// The outcome of the flight, once; `None` if the call was asked to stop, or has [asked](Joined::ask) the flight to
    /// end, and its outcome is unknown. The wait is given back with the outcome.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Landed>> {
        self.awaits.poll(self.number, cx)
    }

    /// Takes what the flight has given before its end. Polled before, the wait is woken when there is something.
    pub fn given(&self) -> Option<Shared> {
        self.flight.given()
    }

    /// Leaves the flight, which goes on to its own end.
    pub fn release(mut self) {
        // The caller waits for the items that follow.
        self.held = None;
        self.flight.release();
    }

    /// [`Joined::poll`] to its end.
    pub async fn landed(self) -> Option<Landed> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Asks the flight to end, unless other calls wait for it. Polled on, this says when it has ended.
    pub fn ask(&self) {
        self.awaits.ask(self.number);
    }

    /// Whether the flight was asked to end: by [`Joined::ask`], or because a deadline around the layer has passed or
    /// the caller is cancelled. Then a layer begins nothing more.
    pub fn is_asked(&self) -> bool {
        self.awaits.is_asked(self.number)
    }
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        if self.held.is_some() {
            self.flight.work().left_by(self.held.as_ref(), None);
        }
        self.awaits.end(self.number);
        if let Some(own) = self.own {
            own.waits_no_more(&self.flight);
        }
    }
}
