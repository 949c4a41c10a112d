//! A wait for a flight, as a layer holds it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Awaits, Call, Flight, Landed, Leaf, Shared};

/// A call's wait for one flight, of which it may have several. Dropping it leaves the flight, and does not wait for the
/// flight's end.
pub struct Joined<'a> {
    awaits: &'a Awaits,
    number: u32,
    flight: Arc<Flight>,
    /// The flight of which the call itself is a part.
    own: Option<&'a Arc<Flight>>,
}

impl<'a> Joined<'a> {
    /// Counts `call` among those that wait for `flight`: its layer at `layer` waits. `None`: the flight would wait for
    /// itself.
    pub fn new<L: Leaf>(call: &Call<'a, L>, layer: usize, flight: &Arc<Flight>) -> Option<Self> {
        let own = call.terms.flight.as_ref();
        if own.is_some_and(|own| !own.waits_for(flight)) {
            return None;
        }
        let awaits = &call.trace.awaits;
        Some(Joined { awaits, number: awaits.join(layer, flight), flight: flight.clone(), own })
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
    pub fn release(self) {
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
        self.awaits.end(self.number);
        if let Some(own) = self.own {
            own.waits_no_more(&self.flight);
        }
    }
}
