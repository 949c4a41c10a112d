//! Policies, one folder each: settings, a pure machine of state, event and `now`, and the layer that obeys it. A policy
//! knows no other.

mod asked;
mod backoff;
pub mod breaker;
mod budget;
pub mod cache;
pub mod chaos;
pub mod fallback;
pub mod hedge;
pub mod idle;
pub mod limit;
pub mod rate;
pub mod retry;
pub mod timeout;
mod window;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::effect::{Around, Call, Deadline, Fault, Gate, Leaf, Shared, Terms, call_leaf};
use crate::error::{Owner, TimedOut};
use crate::sync::Mutex;
use crate::time::{Clock, Instant};

/// One policy of a stack, outermost first.
#[derive(Clone, Debug)]
pub enum Layer {
    Timeout(timeout::Settings),
    Retry(retry::Settings),
    Limit(Arc<limit::Limit>),
    Rate(Arc<rate::Rate>),
    Breaker(Arc<Mutex<breaker::Breaker>>),
    Cache(Arc<cache::Cache>),
    Fallback,
    Chaos(Arc<chaos::Chaos>),
    /// Of a stream only.
    Idle(idle::Settings),
    Hedge(Arc<hedge::Hedge>),
}

/// The shortest timeout that begins with the call: of those outside of every policy that makes it wait.
pub fn timeout_from_the_start(stack: &[Layer]) -> Duration {
    let waits = |layer: &&Layer| layer.queues() || layer.repeats() || layer.flies() || layer.holds_up();
    let limits = stack.iter().take_while(|layer| !waits(layer)).filter_map(|layer| match layer {
        Layer::Timeout(timeout) => Some(timeout.limit),
        _ => None,
    });
    limits.min().unwrap_or(Duration::MAX)
}

impl Layer {
    /// Calls wait in it for one another, so that their order matters.
    pub fn queues(&self) -> bool {
        matches!(self, Layer::Limit(_) | Layer::Rate(_))
    }

    /// It may call its inside more than once for one call: the leaf must be able to begin again, with the same
    /// arguments.
    pub fn repeats(&self) -> bool {
        matches!(self, Layer::Retry(_) | Layer::Hedge(_))
    }

    /// It gives something in place of its inside's failure.
    pub fn stands_in(&self) -> bool {
        matches!(self, Layer::Fallback)
    }

    /// It begins its inside as work of its own, where the host has [flights](Leaf::flights).
    pub fn flies(&self) -> bool {
        matches!(self, Layer::Cache(_) | Layer::Hedge(_))
    }

    /// It needs the terms of a call: its priority, key, cost, or the permits around it.
    pub fn takes_terms(&self) -> bool {
        !matches!(self, Layer::Timeout(_) | Layer::Retry(_) | Layer::Fallback | Layer::Idle(_) | Layer::Chaos(_))
    }

    /// It is chaos that is on.
    fn holds_up(&self) -> bool {
        matches!(self, Layer::Chaos(chaos) if chaos.is_on())
    }

    /// It is chaos that is off: its inside takes its place.
    fn is_off(&self) -> bool {
        matches!(self, Layer::Chaos(chaos) if !chaos.is_on())
    }

    /// Its inside begins as soon as it does, and a refusal of its inside passes through it unchanged.
    fn begins_at_once(&self) -> bool {
        matches!(self, Layer::Timeout(_) | Layer::Idle(_)) || self.is_off()
    }
}

/// Layers, with what they enclose.
pub type Boxed<'a, L> = Pin<Box<dyn Future<Output = Result<<L as Leaf>::Ok, <L as Leaf>::Err>> + Send + 'a>>;

/// Call the leaf under a stack. `inherited` is the deadline from outside; `watch` is the time to enforce it here, where
/// its owner does not. If it has passed already, nothing is started.
pub fn run<'a, L: Leaf>(
    call: &'a Call<'a, L>,
    stack: &'a [Layer],
    inherited: Deadline,
    watch: Option<Instant>,
) -> impl Future<Output = Result<L::Ok, L::Err>> + Send + 'a {
    let around = Around::call(call.terms, inherited);
    let first = acting(stack, 0);
    // No async function: those have room for each argument twice.
    async move {
        if inherited.owner == Owner::Inherited && inherited.at <= call.entered() {
            return Err(L::Err::timed_out(TimedOut { owner: inherited.owner, attempts: 0, cause: None }));
        }
        match (watch, &stack[first..]) {
            (Some(at), _) => {
                let inside = wrap(call, stack, first, around);
                Box::pin(timeout::hold_to(call, Deadline { at, ..inherited }, inside)).await
            }
            // The commonest stack needs no box of its own.
            (None, [Layer::Retry(settings), Layer::Timeout(each)]) => {
                attempts_in_time(call, first, settings, each, around, move |around| call_leaf(call, around)).await
            }
            (None, [Layer::Retry(settings), Layer::Timeout(each), Layer::Chaos(_)]) => {
                attempts_in_time(call, first, settings, each, around, move |around| next(call, stack, first + 1, around)).await
            }
            (None, _) => wrap(call, stack, first, around).await,
        }
    }
}

/// Call the leaf under the layers inside that at `layer`, as a flight does.
pub fn inside<'a, L: Leaf>(call: &'a Call<'a, L>, stack: &'a [Layer], layer: usize, around: Around<'a>) -> Boxed<'a, L> {
    wrap(call, stack, acting(stack, layer + 1), around)
}

/// The first layer from `at` on that is not chaos that is off.
fn acting(stack: &[Layer], at: usize) -> usize {
    at + stack[at..].iter().take_while(|layer| layer.is_off()).count()
}

/// A retry at `at` around a timeout around `inner`, as one future.
fn attempts_in_time<'a, L: Leaf, F: Future<Output = Result<L::Ok, L::Err>> + Send + Unpin + 'a>(
    call: &'a Call<'a, L>,
    at: usize,
    settings: &'a retry::Settings,
    each: &'a timeout::Settings,
    around: Around<'a>,
    inner: impl Fn(Around<'a>) -> F + Send + 'a,
) -> impl Future<Output = Result<L::Ok, L::Err>> + Send + 'a {
    retry::retry(call, at, settings, around.over, move || {
        let (mine, around) = limits(call, each, at + 1, around, None);
        timeout::hold_to(call, mine, inner(around))
    })
}

/// The fresh value of a cache that has only timeouts, retries, fallbacks and chaos that is off around it, none of which
/// has anything to do then.
pub fn at_hand(stack: &[Layer], terms: &Terms, clock: &Clock) -> Option<Shared> {
    let around = |layer: &Layer| match layer {
        Layer::Timeout(_) | Layer::Fallback => true,
        Layer::Retry(retry) => !retry.until,
        other => other.is_off(),
    };
    let at = stack.iter().position(|layer| !around(layer))?;
    let Layer::Cache(cache) = &stack[at] else { return None };
    cache.fresh(terms.used(at)?.number(), clock.now())
}

/// The layers from `at` inwards.
fn wrap<'a, L: Leaf>(call: &'a Call<'a, L>, stack: &'a [Layer], at: usize, around: Around<'a>) -> Boxed<'a, L> {
    match stack.get(at) {
        None => Box::pin(call_leaf(call, around)),
        Some(Layer::Timeout(settings)) => {
            let from = opened(call, &stack[..at]);
            let (mine, around) = limits(call, settings, at, around, from);
            if from.is_some() && mine.at <= call.entered() {
                // The stream was opened, and not read until now.
                let late = TimedOut { owner: mine.owner, attempts: 0, cause: None };
                return Box::pin(std::future::ready(Err(L::Err::timed_out(late))));
            }
            Box::pin(timeout::hold_to(call, mine, next(call, stack, at, around)))
        }
        Some(Layer::Idle(settings)) => Box::pin(idle::watch(call, at, settings, next(call, stack, at, around))),
        Some(Layer::Retry(settings)) => match &stack[at + 1..] {
            [Layer::Timeout(each)] => {
                Box::pin(attempts_in_time(call, at, settings, each, around, move |around| call_leaf(call, around)))
            }
            // Off, the chaos inside takes no box.
            [Layer::Timeout(each), Layer::Chaos(_)] => {
                Box::pin(attempts_in_time(call, at, settings, each, around, move |around| next(call, stack, at + 1, around)))
            }
            _ => Box::pin(retry::retry(call, at, settings, around.over, move || next(call, stack, at, around))),
        },
        Some(Layer::Limit(limit)) => Box::pin(async move {
            let inside = limit::enter(call, at, limit, around).await?;
            next(call, stack, at, Around { held: Some(inside.holder()), ..around }).await
        }),
        Some(Layer::Rate(rate)) => Box::pin(async move {
            rate::enter(call, at, rate, around).await?;
            next(call, stack, at, around).await
        }),
        Some(Layer::Cache(cache)) => Box::pin(cache::cached(call, at, cache, around, move || next(call, stack, at, around))),
        Some(Layer::Hedge(hedge)) => Box::pin(hedge::hedged(call, at, hedge, around, next(call, stack, at, around))),
        Some(Layer::Fallback) => Box::pin(fallback::fallback(call, at, around, next(call, stack, at, around))),
        Some(Layer::Chaos(chaos)) => Box::pin(async move {
            chaos::enter(call, at, chaos, around).await?;
            next(call, stack, at, around).await
        }),
        Some(Layer::Breaker(breaker)) => Box::pin(async move {
            let waits = !stack[at + 1..].iter().all(Layer::begins_at_once);
            let inside = breaker::enter(call, at, breaker, waits, around)?;
            let admit = || inside.admit();
            let gate = Gate { admit: &admit, out: around.gate };
            let result = next(call, stack, at, Around { gate: Some(&gate), ..around }).await;
            inside.settle(result)
        }),
    }
}

/// The inside of the layer at `at`.
fn next<'a, L: Leaf>(
    call: &'a Call<'a, L>,
    stack: &'a [Layer],
    at: usize,
    around: Around<'a>,
) -> impl Future<Output = Result<L::Ok, L::Err>> + Send + Unpin + use<'a, L> {
    let inner = acting(stack, at + 1);
    if inner == stack.len() {
        Next::<'a, L, _>::Leaf(call_leaf(call, around))
    } else {
        Next::Layers(wrap(call, stack, inner, around))
    }
}

/// The leaf itself, or more layers in a box of their own.
enum Next<'a, L: Leaf, F> {
    Leaf(F),
    Layers(Boxed<'a, L>),
}

impl<L: Leaf, F: Future<Output = Result<L::Ok, L::Err>> + Unpin> Future for Next<'_, L, F> {
    type Output = Result<L::Ok, L::Err>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Next::Leaf(leaf) => Pin::new(leaf).poll(cx),
            Next::Layers(layers) => layers.as_mut().poll(cx),
        }
    }
}

/// When a stream was opened, for a timeout that begins with it: only timeouts are `around` it.
fn opened<L: Leaf>(call: &Call<'_, L>, around: &[Layer]) -> Option<Instant> {
    call.opened.filter(|_| around.iter().all(Layer::begins_at_once))
}

/// The deadline of the timeout at `at`, which begins now, or `from` an earlier time, and the surroundings of its
/// inside. It is never where an inherited deadline passes first: were both to ask the leaf to stop, the second would
/// cut short the cleanup of the first.
fn limits<'a, L: Leaf>(
    call: &Call<'_, L>,
    settings: &timeout::Settings,
    at: usize,
    around: Around<'a>,
    from: Option<Instant>,
) -> (Deadline, Around<'a>) {
    let from = from.unwrap_or_else(|| call.entered());
    let (over, mine) = (around.over, Deadline { at: from.after(settings.limit), owner: Owner::Layer(at) });
    if over.owner == Owner::Inherited && over.at <= mine.at {
        return (Deadline { at: Instant::NEVER, ..mine }, around);
    }
    (mine, Around { over: over.earliest(mine), ..around })
}
