//! The layer of a retry: call, ask `on`, decide, sleep, call again. What a failed attempt held is given back before the sleep.

use super::Settings;
use super::machine::{Decision, decide};
use crate::effect::{Call, Class, Deadline, Fault, Leaf, Verdict};
use crate::error::TimedOut;
use crate::time::sleep_until;

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
    let mut attempt = 0u32;
    loop {
        attempt = attempt.saturating_add(1);
        let mut e = match inner().await {
            Ok(value) => return Ok(value),
            Err(e) => e,
        };
        let verdict = match e.class() {
            // A limit outside this retry has passed, or the failure is nobody's to judge.
            Class::Stopped | Class::Passes => Verdict::No,
            Class::TimedOut(owner) if !owner.inside(layer) => Verdict::No,
            _ if settings.attempts.is_some_and(|most| attempt >= most) => Verdict::No,
            _ => call.leaf.verdict(layer, &mut e)?,
        };
        if verdict == Verdict::No {
            return Err(e);
        }
        let too_late = |cause| Err(L::Err::timed_out(TimedOut { owner: over.owner, attempts: call.trace.attempts(), cause }));
        match decide(settings, attempt, verdict, call.now(), over, fastrand::f64()) {
            Decision::GiveUp => return Err(e),
            Decision::TooLate => return too_late(Some(e)),
            Decision::Again(at) => {
                call.trace.failed(layer, e);
                if at > call.now() {
                    sleep_until(call.clock, at).await;
                    // Woken late, as by a stalled loop: nothing begins after the limit.
                    if call.now() >= over.at {
                        return too_late(call.trace.take_last(over.owner));
                    }
                }
            }
        }
    }
}
