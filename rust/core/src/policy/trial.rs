//! A layer for tests: two runs of its inside at once. It shows what such a policy needs of the engine and of a host,
//! and uses nothing that is not public.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::effect::{Around, Call, Fault, Flight, Flights, Holder, Joined, Landed, Landing, Leaf};
use crate::error::Reason;
use crate::time::sleep_until;

/// Flies the inside of `layer`, and once more if that still flies after `wait`. The first success is the value; the
/// other flight is then asked to end, and waited for. Where none succeeds, the first failure is the outcome. Without
/// flights it calls `inner`.
pub async fn twice<'a, L, F>(
    call: &'a Call<'a, L>,
    layer: usize,
    wait: Duration,
    around: Around<'a>,
    inner: impl FnOnce() -> F + Send,
) -> Result<L::Ok, L::Err>
where
    L: Leaf,
    F: Future<Output = Result<L::Ok, L::Err>> + Send,
{
    let Some(flights) = call.leaf.flights() else { return inner().await };
    let mut flying = vec![fly(call, layer, flights, around)?];
    let mut again = Some(sleep_until(call.clock, call.now().after(wait)));
    let (mut value, mut failure) = (None, None);
    poll_fn(|cx| {
        loop {
            flying.retain(|joined| {
                // Once a flight is asked to end, no other begins.
                if joined.is_asked() {
                    again = None;
                }
                match joined.poll(cx) {
                    Poll::Pending => return true,
                    Poll::Ready(Some(Landed::Value(found))) => value = value.take().or(Some(found)),
                    Poll::Ready(Some(Landed::Failed(found))) => failure = failure.take().or(Some(found)),
                    Poll::Ready(Some(Landed::Lost) | None) => {}
                }
                false
            });
            if flying.is_empty() {
                return Poll::Ready(match (value.take(), failure.take()) {
                    (Some(value), _) => Ok(flights.shared(&value)),
                    (None, Some(failure)) => Err(flights.failed(&failure)),
                    (None, None) => Err(L::Err::stopped()),
                });
            }
            if value.is_some() {
                again = None;
                flying.iter().for_each(Joined::ask);
            }
            if again.as_mut().is_none_or(|again| Pin::new(again).poll(cx).is_pending()) {
                return Poll::Pending;
            }
            again = None;
            // One that cannot begin leaves the first as it is.
            flying.extend(fly(call, layer, flights, around));
        }
    })
    .await
}

/// One more run of the inside of `layer`, which this call alone waits for.
fn fly<'a, L: Leaf>(
    call: &Call<'a, L>,
    layer: usize,
    flights: &dyn Flights<Ok = L::Ok, Err = L::Err>,
    around: Around<'_>,
) -> Result<Joined<'a>, L::Err> {
    around.admit().map_err(L::Err::refused)?;
    let flight = Arc::new(Flight::default());
    let Some(joined) = Joined::new(call, &flight) else {
        return Err(L::Err::refused(call.refused(layer, Reason::Reentered)));
    };
    call.attempt();
    flights.fly(layer, Landing::new(flight, |_| ()), around.held.map(Holder::held), around.over)?;
    Ok(joined)
}
