//! The leaf: the call at the inside of an effect's stack, as the engine sees it.
//!
//! One call of a leaf is under way at a time: `poll`, `stop`, `active`, `is_ending`, `outlives` and `keep` are about
//! that call. This is the only place that says so. A policy that wants several runs of its inside at once has its host
//! fly the others ([`Flights::fly`]): each flight is a call of its own, with a leaf of its own, and the policy waits
//! for flights.

use std::any::Any;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{Around, Deadline, Landing, PermitContext, Shared};
use crate::error::{Misfit, Owner, Refused, TimedOut};
use crate::time::Instant;

/// The engine's requirements of a leaf. The engine begins calls, polls them, and may ask a running one to end; it never
/// stops one by force. Methods with a body are optional for a host.
pub trait Leaf: Send + Sync {
    type Ok: Send;
    type Err: Fault;

    /// `begin` starts a call; later polls, without it, continue the call.
    fn poll(&self, begin: Option<Begin<'_>>, cx: &mut Context<'_>) -> Poll<Result<Self::Ok, Self::Err>>;

    /// Ask the running call to end, because the deadline of `whose` has passed; the engine polls it until it has ended.
    /// False: no call is running, and there is nothing to wait for.
    fn stop(&self, whose: Owner) -> bool;

    /// Whether a call is under way.
    fn active(&self) -> bool;

    /// Whether the running call was asked to end, by [`Leaf::stop`] or by a cancel from outside: nothing more begins
    /// beside it.
    fn is_ending(&self) -> bool;

    /// The verdict of the `on` of the retry at `layer` on a fault; an error if `on` itself raised one.
    fn verdict(&self, layer: usize, fault: &mut Self::Err) -> Result<Verdict, Self::Err>;

    /// The fault that stands for a value which the `until` of the retry at `layer` does not accept; `None` if it
    /// accepts the value, and an error if `until` itself raised one. Asked of a retry that judges values.
    fn unaccepted(&self, _layer: usize, _value: &Self::Ok) -> Result<Option<Self::Err>, Self::Err> {
        Ok(None)
    }

    /// The wait after attempt number `attempt`, by the backoff function of the retry at `layer`; an error if that
    /// raised one. Asked of a retry without a backoff of its own.
    fn wait(&self, _layer: usize, _attempt: u32, _fault: &mut Self::Err) -> Result<Duration, Self::Err> {
        Ok(Duration::ZERO)
    }

    /// Hears how the retry at `layer` goes on from the fault of this attempt.
    fn retried(&self, layer: usize, attempt: u32, course: Course, fault: &mut Self::Err);

    /// Whether the `on` of the breaker or fallback at `layer` names a fault.
    fn names(&self, layer: usize, fault: &mut Self::Err) -> bool;

    /// Store the fault that the fallback at `layer` stands in for: the next `poll` with [`Begin::Instead`] runs that
    /// fallback with it. A host without fallbacks returns the fault, which is then the outcome.
    fn instead(&self, _layer: usize, fault: Self::Err) -> Result<(), Self::Err> {
        Err(fault)
    }

    /// The failure that the chaos at `layer` puts in place of a call: of that errno, or one that the host makes.
    fn injected(&self, layer: usize, errno: Option<i32>) -> Self::Err;

    /// Runs of the inside of a layer as work of their own; `None` where the host has none, so that a layer only
    /// calls its inside.
    fn flights(&self) -> Option<&dyn Flights<Ok = Self::Ok, Err = Self::Err>> {
        None
    }

    /// Since when the consumer of a stream waits for its next item; `None` while it does not, and for a call that gives
    /// one value.
    fn waiting(&self) -> Option<Instant> {
        None
    }

    /// Whether the running call is of a stream whose first item is out: no other run can stand in for it any more.
    fn is_out(&self) -> bool {
        false
    }

    /// Go on with the items that a flight [gave](Landing::gives), in place of a call: the next `poll` is of them.
    fn follow(&self, _items: Self::Ok, _around: &Around<'_>) {}

    /// Whether the last call has ended for its caller but goes on, as a thread does that cannot be stopped.
    fn outlives(&self) -> bool {
        false
    }

    /// Keep `what` until the real end of a call that [outlives](Leaf::outlives) its caller; of another call, drop it.
    fn keep(&self, what: Box<dyn Any + Send>) {
        drop(what);
    }
}

/// Runs of the inside of a layer as work of their own: several at once for one call, or one whose outcome many calls
/// share. A run is over when its flight has landed, and not with the call that began it.
pub trait Flights: Send + Sync {
    type Ok;
    type Err;

    /// Begin the inside of `layer` as work of its own, which says by `landing` how it ended. The calls that wait for it
    /// hold the permits `held`. The work inherits the deadline `over`, on which the waiting calls act.
    fn fly(&self, layer: usize, landing: Landing, held: Option<Arc<PermitContext>>, over: Deadline) -> Result<(), Self::Err>;

    /// A shared value, as a value of this leaf.
    fn shared(&self, value: &Shared) -> Self::Ok;

    /// A shared failure, as a failure of this leaf.
    fn failed(&self, fault: &Shared) -> Self::Err;

    /// Called in the call's own step: a flight may begin later, in a step that is not the call's.
    fn expect(&self) {}

    /// The failure of a call whose attempts have all failed: that of the first, which tells of the others.
    fn all_failed(&self, first: Self::Err, _others: Vec<Self::Err>) -> Self::Err {
        first
    }
}

/// A call that begins, with the deadlines, gates and permits around it.
#[derive(Clone, Copy)]
pub enum Begin<'a> {
    /// A call of the function itself.
    Call(&'a Around<'a>),
    /// A run of a fallback, for the fault that [`Leaf::instead`] stored.
    Instead(&'a Around<'a>),
}

/// The answer of `on` to a failure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    No,
    Yes,
    /// The delay in seconds that a server asked for; not yet checked.
    After(f64),
    /// After that wait, which a backoff function gave.
    Wait(Duration),
}

/// How a retry goes on from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// It calls again after that wait.
    Again(Duration),
    /// It raises the failure.
    GivesUp(GaveUp),
}

/// Why a retry does not call again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaveUp {
    /// There were as many attempts as there may be.
    Attempts,
    /// Its `on` says no.
    Unnamed,
    /// The next attempt was refused by a policy inside, before it began, and a refusal is not to be tried again.
    Refused,
    /// Its budget is used up.
    Budget,
    /// The wait would end after the deadline over it.
    TooLate(Misfit),
}

/// A failure, as the engine must know it.
pub trait Fault: Any + Send + Sized {
    fn timed_out(t: TimedOut<Self>) -> Self;
    fn refused(r: Refused) -> Self;
    /// The outcome of a call that was asked to stop: [`Class::Stopped`].
    fn stopped() -> Self;
    fn class(&self) -> Class;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// An ordinary failure.
    Failure,
    /// A policy refused it: the one at that place of this stack, or with `None` one of a call inside.
    Refused(Option<usize>),
    /// The answer to the engine's own request to stop.
    Stopped,
    /// A policy of this stack ran out of time.
    TimedOut(Owner),
    /// Must reach the caller whatever the policies say: a cancel from outside, an exit, memory gone.
    Passes,
}

impl Class {
    /// Whether it is a failure of the inside of `layer`: no cancel, no exit, no decision of a policy around that.
    pub fn is_inside(self, layer: usize) -> bool {
        match self {
            Class::Failure => true,
            Class::Refused(at) => at.is_none_or(|at| at > layer),
            Class::TimedOut(owner) => owner.inside(layer),
            Class::Stopped | Class::Passes => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Owner;

    #[test]
    fn what_was_decided_around_a_layer_is_not_of_its_inside() {
        let of = |owner| Class::TimedOut(owner).is_inside(1);
        assert!(of(Owner::Layer(2)) && !of(Owner::Layer(0)) && !of(Owner::Inherited));
        let of = |layer| Class::Refused(layer).is_inside(1);
        assert!(of(Some(2)) && of(None) && !of(Some(0)));
        assert!(Class::Failure.is_inside(1));
        assert!(!Class::Stopped.is_inside(1) && !Class::Passes.is_inside(1));
    }
}
