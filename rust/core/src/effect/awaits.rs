//! Ends a call's wait for a flight.
//!
//!  1. While other calls wait, it leaves at once.
//!  2. The last call asks the flight to end, and waits until it has ended: whatever the flight holds is given back by
//!     then.
//!  3. A call that a deadline stopped takes the outcome of the flight, as that of a leaf that was asked to stop: a late
//!     value wins.
//!  4. A cancelled call takes no outcome: no layer goes on, and the owner of the call drops the engine.
//!
//! Only the owner of the call and the engine that it polls call these functions, never at the same time.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Flight, Landed};
use crate::sync::Mutex;

/// The flight that the call waits for, if any.
#[derive(Default)]
pub struct Awaits(Mutex<Option<Box<Wait>>>);

struct Wait {
    flight: Arc<Flight>,
    place: u32,
    leaves: Leaves,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaves {
    No,
    /// A deadline has passed.
    Asked,
    Cancelled,
    /// Cancelled, and the flight has ended.
    Ended,
}

impl Awaits {
    pub(crate) fn join(&self, flight: &Arc<Flight>) {
        let wait = Box::new(Wait { flight: flight.clone(), place: flight.join(), leaves: Leaves::No });
        let old = self.0.lock().replace(wait);
        debug_assert!(old.is_none(), "a call waits for one flight at a time");
    }

    /// Ends the wait, whatever becomes of the flight.
    pub(crate) fn end(&self) {
        let wait = self.0.lock().take();
        if let Some(wait) = wait {
            wait.flight.leave(wait.place);
        }
    }

    /// The outcome of the flight; `None` if the call was asked to stop and the flight's outcome is unknown.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Landed>> {
        let waits = self.0.lock().as_ref().map(|wait| (wait.flight.clone(), wait.place));
        let Some((flight, place)) = waits else { return Poll::Pending };
        let Some(landed) = flight.look(place, cx.waker()) else { return Poll::Pending };
        let mut wait = self.0.lock();
        let Some(wait) = wait.as_mut() else { return Poll::Pending };
        match (wait.leaves, landed) {
            (Leaves::Cancelled | Leaves::Ended, _) => {
                wait.leaves = Leaves::Ended;
                Poll::Pending
            }
            (Leaves::Asked, Landed::Lost) => Poll::Ready(None),
            (_, landed) => Poll::Ready(Some(landed)),
        }
    }

    /// Records that a deadline over the call has passed. False: the call waits for no flight.
    pub(crate) fn stop(&self) -> bool {
        self.leave(Leaves::Asked)
    }

    /// Records that the caller is cancelled. False: the call waits for no flight; otherwise [`Awaits::has_ended`] says
    /// when to go on.
    pub fn cancel(&self) -> bool {
        self.leave(Leaves::Cancelled)
    }

    fn leave(&self, how: Leaves) -> bool {
        let waits = self.0.lock().as_ref().map(|wait| (wait.flight.clone(), wait.place));
        let Some((flight, place)) = waits else { return false };
        let stays = flight.ask(place);
        let mut wait = self.0.lock();
        let gone = if stays {
            // A cancel outweighs any deadline that passes after it.
            if let Some(wait) = wait.as_mut().filter(|wait| matches!(wait.leaves, Leaves::No | Leaves::Asked)) {
                wait.leaves = how;
            }
            None
        } else {
            wait.take()
        };
        drop(wait);
        drop(gone);
        stays
    }

    /// Whether the call was asked to leave and waits for the flight's end.
    pub(crate) fn leaves(&self) -> bool {
        self.0.lock().as_ref().is_some_and(|wait| wait.leaves != Leaves::No)
    }

    /// Whether the call was cancelled and the flight has ended.
    pub fn has_ended(&self) -> bool {
        self.0.lock().as_ref().is_none_or(|wait| wait.leaves == Leaves::Ended)
    }
}
