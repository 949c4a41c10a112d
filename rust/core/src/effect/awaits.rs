//! A call's waits for flights, one or several at once, and how it leaves them.
//!
//!  1. The call joins a flight, and waits for it until it takes the outcome, leaves the flight, or ends the wait.
//!  2. Where other calls wait for the flight, the call leaves at once.
//!  3. The last call asks the flight to end, and waits until it has ended: whatever the flight holds is given back by
//!     then.
//!  4. A layer may ask one of the flights to end, by 2 and 3. A deadline that passes asks those that layers inside it
//!     wait for.
//!  5. A call that asked takes the outcome of the flight, as that of a leaf that was asked to stop: a late value wins.
//!  6. A cancel asks all flights. The call takes no outcome: no layer goes on, and the owner of the call drops the
//!     engine once all of them have ended.
//!
//! Only the owner of the call and the engine that it polls call these functions, never at the same time. No lock of
//! the call is held while a flight is asked or looked at.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Flight, Landed};
use crate::error::Owner;
use crate::sync::Mutex;

/// The flights that the call waits for. The first wait is the one that began last.
#[derive(Default)]
pub struct Awaits(Mutex<Option<Box<Wait>>>);

struct Wait {
    /// Tells it from the call's others: larger than those of all that follow.
    number: u32,
    /// The place of the layer that waits.
    layer: usize,
    flight: Arc<Flight>,
    /// The place among the flight's waiters; `None` once the call has left it.
    place: Option<u32>,
    leaves: Leaves,
    next: Option<Box<Wait>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Leaves {
    No,
    /// By a deadline that has passed, or by its layer.
    Asked,
    Cancelled,
}

impl Wait {
    /// Waits for the flight, which was asked to end.
    fn leaves(&self) -> bool {
        self.place.is_some() && self.leaves != Leaves::No
    }
}

fn each(first: Option<&Wait>) -> impl Iterator<Item = &Wait> {
    std::iter::successors(first, |wait| wait.next.as_deref())
}

fn find(mut wait: &mut Option<Box<Wait>>, number: u32) -> Option<&mut Wait> {
    while let Some(found) = wait {
        if found.number == number {
            return Some(found);
        }
        wait = &mut found.next;
    }
    None
}

impl Awaits {
    /// Joins `flight` for the layer at `layer`, and gives the number of the wait.
    pub(super) fn join(&self, layer: usize, flight: &Arc<Flight>) -> u32 {
        let place = Some(flight.join());
        let mut first = self.0.lock();
        let number = first.as_ref().map_or(0, |wait| wait.number + 1);
        let next = first.take();
        *first = Some(Box::new(Wait { number, layer, flight: flight.clone(), place, leaves: Leaves::No, next }));
        number
    }

    /// Ends the wait, whatever becomes of the flight.
    pub(super) fn end(&self, number: u32) {
        let mut first = self.0.lock();
        let mut at = &mut *first;
        while at.as_ref().is_some_and(|wait| wait.number != number) {
            let Some(wait) = at else { break };
            at = &mut wait.next;
        }
        let Some(mut wait) = at.take() else { return };
        *at = wait.next.take();
        drop(first);
        if let Some(place) = wait.place {
            wait.flight.leave(place);
        }
    }

    /// The outcome of the flight, once; `None` if the call has left it, or asked it to end and its outcome is unknown.
    pub(super) fn poll(&self, number: u32, cx: &mut Context<'_>) -> Poll<Option<Landed>> {
        let waits = self.with(number, |wait| (wait.flight.clone(), wait.place, wait.leaves));
        let Some((flight, place, leaves)) = waits else { return Poll::Pending };
        let landed = place.map(|place| flight.look(place, cx.waker()));
        match (leaves, place.zip(landed)) {
            (Leaves::Cancelled, _) | (_, Some((_, None))) => Poll::Pending,
            (_, None) => Poll::Ready(None),
            (leaves, Some((place, Some(landed)))) => {
                self.with(number, |wait| wait.place = None);
                flight.leave(place);
                let unknown = leaves == Leaves::Asked && matches!(landed, Landed::Lost);
                Poll::Ready((!unknown).then_some(landed))
            }
        }
    }

    /// Asks the flight to end, for a layer that has no more use for it.
    pub(super) fn ask(&self, number: u32) {
        self.leave(number, Leaves::Asked);
    }

    /// Records that the inside of `whose` is to end. False: there is no flight to wait for.
    pub(crate) fn stop(&self, whose: Owner) -> bool {
        self.leave_all(Leaves::Asked, whose)
    }

    /// Records that the caller is cancelled. False: there is no flight to wait for; otherwise [`Awaits::has_ended`]
    /// says when to go on.
    pub fn cancel(&self) -> bool {
        self.leave_all(Leaves::Cancelled, Owner::Inherited)
    }

    fn leave_all(&self, how: Leaves, whose: Owner) -> bool {
        let mut stays = false;
        let mut last = u32::MAX;
        loop {
            let next = each(self.0.lock().as_deref())
                .find(|wait| wait.number < last && whose.encloses(wait.layer))
                .map(|wait| wait.number);
            let Some(number) = next else { return stays };
            stays |= self.leave(number, how);
            last = number;
        }
    }

    /// Whether the call waits for the flight's end.
    fn leave(&self, number: u32, how: Leaves) -> bool {
        // A cancel outweighs any deadline that passes after it.
        let waits = self.with(number, |wait| {
            wait.leaves = wait.leaves.max(how);
            wait.place.map(|place| (wait.flight.clone(), place))
        });
        let Some((flight, place)) = waits.flatten() else { return false };
        let stays = flight.ask(place);
        if !stays {
            self.with(number, |wait| wait.place = None);
        }
        stays
    }

    fn with<T>(&self, number: u32, what: impl FnOnce(&mut Wait) -> T) -> Option<T> {
        find(&mut self.0.lock(), number).map(what)
    }

    /// Whether the flight was asked to end.
    pub(super) fn is_asked(&self, number: u32) -> bool {
        self.with(number, |wait| wait.leaves != Leaves::No).unwrap_or(false)
    }

    /// Whether the call waits for no flight.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_none()
    }

    /// Whether the inside of `whose` waits for the end of a flight that was asked to end.
    pub(crate) fn leaves(&self, whose: Owner) -> bool {
        each(self.0.lock().as_deref()).any(|wait| whose.encloses(wait.layer) && wait.leaves())
    }

    /// Whether a call that was cancelled has nothing to wait for any more.
    pub fn has_ended(&self) -> bool {
        each(self.0.lock().as_deref()).all(|wait| wait.place.is_none() || wait.flight.has_landed())
    }
}
