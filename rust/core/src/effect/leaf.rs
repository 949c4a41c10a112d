//! The leaf: what an effect finally calls, as the engine sees it. At most one call of a leaf is under way at a time.

use std::any::Any;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{Around, Landing, PermitContext, Shared};
use crate::error::{Misfit, Owner, Refused, TimedOut};

/// What an effect finally calls. The engine starts it, polls it, and may ask a running call to end; it never stops it
/// by force.
pub trait Leaf: Send + Sync {
    type Ok: Send;
    type Err: Fault;

    /// `begin` starts a call; later polls, without it, continue the call.
    fn poll(&self, begin: Option<Begin<'_>>, cx: &mut Context<'_>) -> Poll<Result<Self::Ok, Self::Err>>;

    /// Ask the running call to end, because that limit has passed; it is polled on until it has. False: none is
    /// running, and whoever asks may go.
    fn stop(&self, whose: Owner) -> bool;

    /// A call is under way.
    fn active(&self) -> bool;

    /// What the `on` of the retry at `layer` says of a fault. An error is one that `on` itself raised.
    fn verdict(&self, layer: usize, fault: &mut Self::Err) -> Result<Verdict, Self::Err>;

    /// The retry at `layer` has judged the fault of this attempt, and goes on so.
    fn retried(&self, layer: usize, attempt: u32, course: Course, fault: &mut Self::Err);

    /// The `on` of the breaker or fallback at `layer` names a fault.
    fn names(&self, layer: usize, fault: &mut Self::Err) -> bool;

    /// What the fallback at `layer` will give instead is of that fault: the next call is its.
    fn instead(&self, layer: usize, fault: Self::Err);

    /// A value that others have too, as this leaf's.
    fn shared(&self, value: &Shared) -> Self::Ok;
    /// Likewise a fault that others have too.
    fn failed(&self, fault: &Shared) -> Self::Err;

    /// What stands inside the cache at `layer` begins as work of its own, and goes on when this call has gone: it lands
    /// with `landing`. Who waits for it holds these permits.
    fn fly(&self, layer: usize, landing: Landing, held: Option<Arc<PermitContext>>) -> Result<(), Self::Err>;

    /// The last call has ended for its caller, but goes on, as a thread does that cannot be stopped: it then keeps this
    /// to its real end. Otherwise it is given back.
    fn outlives(&self) -> bool;
    fn keep(&self, what: Box<dyn Any + Send>);
}

/// A call that begins, with what stands around it.
#[derive(Clone, Copy)]
pub enum Begin<'a> {
    /// Of the function itself.
    Call(&'a Around<'a>),
    /// Of a fallback, for the fault that was left with [`Leaf::instead`].
    Instead(&'a Around<'a>),
}

/// What `on` says of a failure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    No,
    Yes,
    /// The delay in seconds that a server asked for; not yet checked.
    After(f64),
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
    /// The wait would end after the limit over it.
    TooLate(Misfit),
}

/// What the engine must know of a failure.
pub trait Fault: Any + Send + Sized {
    fn timed_out(t: TimedOut<Self>) -> Self;
    fn refused(r: Refused) -> Self;
    /// The answer of what was asked to stop: [`Class::Stopped`].
    fn stopped() -> Self;
    fn class(&self) -> Class;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// An ordinary failure.
    Failure,
    /// A policy did not let it begin: the one at that place of this stack, or one of a call inside.
    Refused(Option<usize>),
    /// The engine's own request to stop, come back.
    Stopped,
    /// A policy of this stack ran out of time.
    TimedOut(Owner),
    /// Must reach the caller whatever the policies say: a cancel from outside, an exit, memory gone.
    Passes,
}

impl Class {
    /// A failure of what stands inside the layer at that place: no cancel, no exit, nothing that was decided around it.
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
