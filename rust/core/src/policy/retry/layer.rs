//! The layer of a retry: call, ask `on`, decide, sleep, call again. What a failed attempt held is given back before the sleep.

use super::Settings;
use super::machine::{Decision, decide};
use crate::effect::{Call, Deadline, Fault, Leaf, Verdict};
use crate::error::TimedOut;
use crate::observe::Event;
use crate::time::{Instant, sleep_until};

/// Call `inner` anew for each attempt. `layer` is this retry's place in the stack, `over` the earliest limit around it.
pub async fn retry<'a, L, F, M>(
    call: &'a Call<'a, L>,
    layer: usize,
    settings: &Settings,
    over: Deadline,
    inner: M,
) -> Result<L::Ok, L::Err>
where
    L: Leaf,
    F: Future<Output = Result<L::Ok, L::Err>> + Send,
    M: Fn() -> F,
{
    if let Some(budget) = &settings.budget {
        budget.lock().deposit(call.entered());
    }
    let mut attempt = 0u32;
    loop {
        attempt = attempt.saturating_add(1);
        let again = match inner().await {
            Ok(value) => return Ok(value),
            Err(e) => judge(call, layer, settings, over, attempt, e)?,
        };
        if again > call.now() {
            sleep_until(call.clock, again).await;
            // Woken late, as by a stalled loop: nothing begins after the limit.
            if call.now() >= over.at {
                return Err(too_late(call, over, call.trace.take_last(over.owner)));
            }
        }
    }
}

/// When to call again after a failure, or what to raise. Apart from the loop, so that a future that never fails has no room for failures.
fn judge<L: Leaf>(
    call: &Call<'_, L>,
    layer: usize,
    settings: &Settings,
    over: Deadline,
    attempt: u32,
    mut e: L::Err,
) -> Result<Instant, L::Err> {
    let verdict = match e.class() {
        // A limit outside this retry has passed, a breaker outside is open, or the failure is nobody's to judge.
        class if !class.is_inside(layer) => Verdict::No,
        _ if settings.attempts.is_some_and(|most| attempt >= most) => Verdict::No,
        _ => call.leaf.verdict(layer, &mut e)?,
    };
    if verdict == Verdict::No {
        return Err(e);
    }
    match decide(settings, attempt, verdict, call.now(), over, fastrand::f64()) {
        Decision::GiveUp => Err(e),
        Decision::TooLate => Err(too_late(call, over, Some(e))),
        Decision::Again(_) if settings.budget.as_ref().is_some_and(|budget| !budget.lock().withdraw(call.now())) => Err(e),
        Decision::Again(at) => {
            call.trace.failed(layer, e);
            call.tell(Event::BacksOff(layer, at));
            Ok(at)
        }
    }
}

fn too_late<L: Leaf>(call: &Call<'_, L>, over: Deadline, cause: Option<L::Err>) -> L::Err {
    L::Err::timed_out(TimedOut { owner: over.owner, attempts: call.trace.attempts(), cause })
}
