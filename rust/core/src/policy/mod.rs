//! Policies, one folder each: settings, a pure machine of state, event and `now`, and the layer that obeys it. A policy knows no other.

mod backoff;
pub mod breaker;
pub mod retry;
pub mod timeout;
mod window;

use std::future::{Future, ready};
use std::pin::Pin;

use crate::effect::{Call, Deadline, Fault, Leaf, call_leaf};
use crate::error::{Owner, TimedOut};
use crate::time::Instant;

/// One policy of a stack, outermost first.
#[derive(Clone, Debug)]
pub enum Layer {
    Timeout(timeout::Settings),
    Retry(retry::Settings),
}

type Boxed<'a, L> = Pin<Box<dyn Future<Output = Result<<L as Leaf>::Ok, <L as Leaf>::Err>> + Send + 'a>>;

/// The leaf under a stack. `inherited` is the limit from outside; `watch` is when to act on it here, for want of somebody who does so where
/// the limit stands. When it has passed already, nothing is started.
pub fn run<'a, L: Leaf>(call: &'a Call<'a, L>, stack: &'a [Layer], inherited: Deadline, watch: Option<Instant>) -> Boxed<'a, L> {
    if inherited.owner == Owner::Inherited && inherited.at <= call.entered() {
        let late = TimedOut { owner: inherited.owner, attempts: 0, cause: None };
        return Box::pin(ready(Err(L::Err::timed_out(late))));
    }
    match watch {
        Some(at) => Box::pin(timeout::limit(call, Deadline { at, ..inherited }, wrap(call, stack, 0, inherited))),
        None => wrap(call, stack, 0, inherited),
    }
}

/// The layers from `at` inwards; `over` is the earliest limit that stands around them.
fn wrap<'a, L: Leaf>(call: &'a Call<'a, L>, stack: &'a [Layer], at: usize, over: Deadline) -> Boxed<'a, L> {
    match stack.get(at) {
        None => Box::pin(call_leaf(call, over)),
        Some(Layer::Timeout(settings)) => {
            let (mine, over) = limits(call, settings, at, over);
            // The innermost limit and the leaf are one future: a box less for the commonest stack.
            if at + 1 == stack.len() {
                Box::pin(timeout::limit(call, mine, call_leaf(call, over)))
            } else {
                Box::pin(timeout::limit(call, mine, wrap(call, stack, at + 1, over)))
            }
        }
        Some(Layer::Retry(settings)) => match &stack[at + 1..] {
            // So are its attempts, for the second commonest.
            [Layer::Timeout(each)] => Box::pin(retry::retry(call, at, settings, over, move || {
                let (mine, over) = limits(call, each, at + 1, over);
                timeout::limit(call, mine, call_leaf(call, over))
            })),
            _ => Box::pin(retry::retry(call, at, settings, over, move || wrap(call, stack, at + 1, over))),
        },
    }
}

/// The limit of the timeout at `at`, which begins now, and the earliest of it and those around it. It has none where a limit of somebody
/// else's passes first: were both to ask, the second would cut short the cleanup that the first asked for.
fn limits<L: Leaf>(call: &Call<'_, L>, settings: &timeout::Settings, at: usize, over: Deadline) -> (Deadline, Deadline) {
    let mine = Deadline { at: call.entered().after(settings.limit), owner: Owner::Layer(at) };
    if over.owner == Owner::Inherited && over.at <= mine.at {
        return (Deadline { at: Instant::NEVER, ..mine }, over);
    }
    (mine, over.earliest(mine))
}
