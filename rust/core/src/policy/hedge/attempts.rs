//! The attempts of one call that has waited: the first one, within the call, and flights beside it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Hedge;
use super::layer::{took, was_slow};
use super::machine::{Ended, Race};
use crate::effect::{Around, Call, Class, Fault, Flight, Joined, Landed, Landing, Leaf, Shared};
use crate::error::Owner;
use crate::observe::Event;
use crate::time::{Instant, Sleep, sleep_until};

/// The number of the first attempt.
const FIRST: u32 = 1;

pub(super) enum Outcome<T> {
    Value(T),
    /// The items of a flight, which go on.
    Goes(T),
}

/// The attempts of a call that has waited.
pub(super) struct Attempts<'a, L: Leaf> {
    call: &'a Call<'a, L>,
    layer: usize,
    hedge: &'a Hedge,
    around: Around<'a>,
    began: Instant,
    race: Race,
    timer: Option<Sleep<'a>>,
    /// By number, the oldest first.
    flying: Vec<(u32, Joined<'a>)>,
    /// The first attempt goes on: its first item is out.
    stays: bool,
    /// The flight that goes on, and its items.
    goes: Option<(Joined<'a>, Shared)>,
    /// A cancel of the caller's, or an exit: it reaches the caller whatever else ends.
    passes: Option<L::Err>,
    value: Option<L::Ok>,
    decided: Option<L::Err>,
    /// The failure of the first attempt, and those of the others.
    first: Option<L::Err>,
    others: Vec<L::Err>,
}

impl<'a, L: Leaf> Attempts<'a, L> {
    pub(super) fn new(call: &'a Call<'a, L>, layer: usize, hedge: &'a Hedge, around: Around<'a>, began: Instant) -> Self {
        let flights = call.leaf.flights();
        let every = flights.and_then(|_| hedge.delay(call.terms.key(layer)));
        let race = Race::new(hedge.settings.attempts, every, began);
        if let Some(flights) = flights.filter(|_| race.due() != Instant::NEVER) {
            flights.expect();
        }
        Attempts {
            call,
            layer,
            hedge,
            around,
            began,
            race,
            timer: None,
            flying: Vec::new(),
            stays: false,
            goes: None,
            passes: None,
            value: None,
            decided: None,
            first: None,
            others: Vec::new(),
        }
    }

    pub(super) fn poll<F>(&mut self, mut inner: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> Poll<Result<Outcome<L::Ok>, L::Err>>
    where
        F: Future<Output = Result<L::Ok, L::Err>>,
    {
        loop {
            if self.race.is_open() && self.flying.iter().any(|(_, joined)| joined.is_asked()) {
                self.race.close();
            }
            self.poll_first(inner.as_mut(), cx);
            if inner.is_some() && self.race.is_open() && self.call.leaf.is_out() {
                took(self.call, self.layer, self.hedge, self.began);
                self.won(FIRST);
                self.stays = true;
                self.race.settles();
            }
            self.poll_flights(cx);
            if self.race.asks() {
                self.flying.iter().for_each(|(_, joined)| joined.ask());
                if inner.is_some() && !self.stays {
                    // At least so long: were it not counted, the slow ones that lose would be unknown.
                    if self.passes.is_none() && (self.value.is_some() || self.goes.is_some()) {
                        took(self.call, self.layer, self.hedge, self.began);
                    }
                    self.call.stop(Owner::Layer(self.layer));
                }
                continue;
            }
            if self.race.is_over() {
                return self.poll_outcome(cx);
            }
            if !self.begin_due(cx) {
                return Poll::Pending;
            }
        }
    }

    fn poll_first<F>(&mut self, mut inner: Pin<&mut Option<F>>, cx: &mut Context<'_>)
    where
        F: Future<Output = Result<L::Ok, L::Err>>,
    {
        let Some(first) = inner.as_mut().as_pin_mut() else { return };
        let how = match first.poll(cx) {
            Poll::Pending if self.stays || self.race.is_open() || self.call.stopping(Owner::Layer(self.layer)) => return,
            // Nothing runs in it: a backoff, or a queue.
            Poll::Pending => Ended::Nothing,
            Poll::Ready(Ok(value)) => {
                if self.race.is_open() {
                    took(self.call, self.layer, self.hedge, self.began);
                }
                self.succeeded(FIRST, value);
                Ended::Well
            }
            Poll::Ready(Err(e)) => {
                if self.race.is_open() && was_slow(e.class()) {
                    took(self.call, self.layer, self.hedge, self.began);
                }
                let how = self.how(e.class());
                match how {
                    Ended::Failed => self.first = Some(e),
                    Ended::Decided if matches!(e.class(), Class::Passes) => self.passes = Some(e),
                    Ended::Decided => self.decided = Some(e),
                    Ended::Nothing | Ended::Well => {}
                }
                how
            }
        };
        inner.set(None);
        self.race.ended(how);
    }

    fn poll_flights(&mut self, cx: &mut Context<'_>) {
        let mut at = 0;
        while let Some((number, joined)) = self.flying.get(at) {
            let number = *number;
            let Poll::Ready(landed) = joined.poll(cx) else {
                match joined.given().filter(|_| self.race.is_open()) {
                    Some(given) => {
                        let (_, joined) = self.flying.remove(at);
                        self.won(number);
                        self.goes = Some((joined, given));
                        self.race.ended(Ended::Well);
                    }
                    None => at += 1,
                }
                continue;
            };
            let asked = joined.is_asked();
            self.flying.remove(at);
            let Some(flights) = self.call.leaf.flights() else { continue };
            let how = match landed {
                Some(Landed::Value(value)) => {
                    if self.value.is_none() {
                        self.succeeded(number, flights.shared(&value));
                    }
                    Ended::Well
                }
                Some(Landed::Failed(e)) => {
                    let e = flights.failed(&e);
                    // A cancel is the answer of one that was asked to end.
                    let how = match e.class() {
                        Class::Passes if asked => Ended::Nothing,
                        class => self.how(class),
                    };
                    match how {
                        Ended::Failed => self.others.push(e),
                        Ended::Decided => self.decided = self.decided.take().or(Some(e)),
                        Ended::Nothing | Ended::Well => {}
                    }
                    how
                }
                Some(Landed::Lost) | None => Ended::Nothing,
            };
            self.race.ended(how);
        }
    }

    fn how(&self, class: Class) -> Ended {
        match class {
            Class::Stopped => Ended::Nothing,
            class if class.is_inside(self.layer) => Ended::Failed,
            _ => Ended::Decided,
        }
    }

    fn succeeded(&mut self, number: u32, value: L::Ok) {
        if self.value.is_none() {
            self.value = Some(value);
            if !self.stays {
                self.won(number);
            }
        }
    }

    fn won(&self, number: u32) {
        if number > FIRST {
            self.hedge.won();
        }
        if self.race.is_hedged() {
            self.call.tell(Event::Won(self.layer, number));
        }
    }

    /// Begins the attempt that is due. False: none is.
    fn begin_due(&mut self, cx: &mut Context<'_>) -> bool {
        let due = self.race.due();
        if due == Instant::NEVER {
            self.timer = None;
            return false;
        }
        let timer = self.timer.get_or_insert_with(|| sleep_until(self.call.clock, due));
        if Pin::new(timer).poll(cx).is_pending() {
            return false;
        }
        self.timer = None;
        let now = self.call.now();
        let may =
            !self.call.leaf.is_ending() && now < self.around.over.at && self.around.admit().is_ok() && self.hedge.affords(now);
        let begun = if may { self.fly() } else { None };
        self.race.begins(now, begun.is_some());
        self.flying.extend(begun);
        true
    }

    /// One more run of the inside. `None` if it cannot begin, which leaves the others as they are.
    fn fly(&self) -> Option<(u32, Joined<'a>)> {
        let flights = self.call.leaf.flights()?;
        let flight = Arc::new(Flight::default());
        let joined = Joined::new(self.call, self.layer, &flight, self.around.held)?;
        let number = self.call.hedged(self.layer);
        let held = self.around.held.map(|_| flight.permits());
        flights.fly(self.layer, Landing::new(flight, |_| ()), held, self.around.over).ok()?;
        Some((number, joined))
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Result<Outcome<L::Ok>, L::Err>> {
        if let Some((joined, _)) = &self.goes {
            if self.passes.is_some() {
                joined.ask();
            }
            if joined.is_asked() {
                if joined.poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.goes = None;
            }
        }
        if let (Some((joined, given)), Some(flights)) = (self.goes.take(), self.call.leaf.flights()) {
            joined.release();
            return Poll::Ready(Ok(Outcome::Goes(flights.shared(&given))));
        }
        Poll::Ready(self.outcome().map(Outcome::Value))
    }

    fn outcome(&mut self) -> Result<L::Ok, L::Err> {
        if let Some(e) = self.passes.take() {
            return Err(e);
        }
        if let Some(value) = self.value.take() {
            return Ok(value);
        }
        if let Some(e) = self.decided.take() {
            return Err(e);
        }
        let mut others = std::mem::take(&mut self.others);
        if self.stays {
            // They have failed beside an attempt that did not.
            others.clear();
        }
        let first = match self.first.take() {
            Some(first) => first,
            None if others.is_empty() => return Err(L::Err::stopped()),
            None => others.remove(0),
        };
        match self.call.leaf.flights().filter(|_| !others.is_empty()) {
            Some(flights) => Err(flights.all_failed(first, others)),
            None => Err(first),
        }
    }
}
