//! The decisions of one key: when a cost may start, by the starts so far, the offers and `now`. All in whole numbers,
//! so that sums are exact and a caller can go at the time that it was given.

use std::time::Duration;

use super::Settings;
use super::log::{CAP, Log};
use super::queue::Line;
use crate::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    /// No limit.
    Open,
    /// No call ever goes.
    Shut,
    Counted,
}

/// The settings, in units: costs are counted in millionths (and coarser where the limit is above 1e12, in parts of
/// 1e-18 of it).
#[derive(Debug)]
pub(super) struct Limits {
    unit: f64,
    burst: Option<f64>,
    gate: Gate,
    /// The capacity of a window or of the bucket.
    most: u64,
    per: Duration,
    /// The time in which a bucket is given one unit, in 2^-64 ns.
    tick: u128,
}

impl Limits {
    pub(super) fn new(s: &Settings) -> Self {
        let most = s.burst.unwrap_or(s.n);
        let unit = if most > 1e12 && most.is_finite() { 1e18 / most } else { 1e6 };
        let mut limits = Limits { unit, burst: s.burst, gate: Gate::Open, most: 0, per: s.per, tick: 1 };
        limits.set(s.n, s.per);
        limits
    }

    /// Changes the settings. Returns the tick before, if a bucket's time in ticks is to be counted anew.
    pub(super) fn set(&mut self, n: f64, per: Duration) -> Option<u128> {
        let most = self.burst.unwrap_or(n);
        (self.per, self.most) = (per, self.units(most).min(CAP / 2));
        self.gate = if per.is_zero() || n == f64::INFINITY || most == f64::INFINITY {
            Gate::Open
        } else if n > 0.0 && most > 0.0 {
            Gate::Counted
        } else {
            Gate::Shut
        };
        if self.burst.is_none() || self.gate != Gate::Counted {
            return None;
        }
        let (rate, nanos) = (n * self.unit, u64::try_from(per.as_nanos()).unwrap_or(u64::MAX));
        let tick = if rate.fract() == 0.0 && (1.0..CAP as f64).contains(&rate) {
            (u128::from(nanos) << 64) / rate as u128
        } else {
            (nanos as f64 * 2f64.powi(64) / rate) as u128
        };
        if tick == 0 {
            self.gate = Gate::Open;
            return None;
        }
        // That the time to fill a bucket fits matters more than that a century is exact.
        Some(std::mem::replace(&mut self.tick, tick.min(u128::MAX / 4 / u128::from(self.most))))
    }

    pub(super) fn units(&self, cost: f64) -> u64 {
        // NaN and negative costs weigh nothing.
        if cost > 0.0 { ((cost * self.unit).round() as u64).clamp(1, CAP) } else { 0 }
    }

    /// Whether a cost is more than there can ever be room for.
    pub(super) fn never(&self, cost: u64) -> bool {
        self.gate == Gate::Shut || (self.gate == Gate::Counted && cost > self.most)
    }
}

/// The state that a key at rest does not need.
#[derive(Debug)]
pub(super) struct Busy {
    log: Log,
    /// While any call waits.
    pub(super) line: Option<Box<Line>>,
    /// Nothing starts before.
    paused: Instant,
    /// When the limiter looks at this key again.
    pub(super) timed: Instant,
}

/// The default is a full bucket or an empty window.
#[derive(Debug, Default)]
pub(super) struct State {
    /// When the bucket will be full, in 2^-64 ns: it lacks one unit for each tick until then. This is the virtual
    /// scheduling of the generic cell rate algorithm (ITU-T I.371), with the time since `full_at` forgotten.
    full_at: u128,
    /// The cost of the offers: it counts in every window, and is held in the bucket.
    reserved: u64,
    busy: Option<Box<Busy>>,
}

impl State {
    pub(super) fn busy(&mut self) -> Option<&mut Busy> {
        self.busy.as_deref_mut()
    }

    pub(super) fn busy_or_new(&mut self) -> &mut Busy {
        self.busy.get_or_insert_with(|| {
            let start = Instant::from_nanos(0);
            Box::new(Busy { log: Log::default(), line: None, paused: start, timed: Instant::NEVER })
        })
    }

    pub(super) fn forget_waiters(&mut self) {
        self.reserved = 0;
        if let Some(busy) = self.busy() {
            (busy.line, busy.timed) = (None, Instant::NEVER);
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.line().map_or(0, Line::len)
    }

    pub(super) fn line(&self) -> Option<&Line> {
        self.busy.as_ref()?.line.as_deref()
    }

    pub(super) fn line_mut(&mut self) -> Option<&mut Line> {
        self.busy.as_mut()?.line.as_deref_mut()
    }

    fn paused(&self) -> Instant {
        self.busy.as_ref().map_or(Instant::from_nanos(0), |b| b.paused)
    }

    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.paused() > now
    }

    /// The earliest time at which a cost behind `ahead` can start, if none arrives or leaves, and offers are taken up
    /// now. Never too late; exact for a bucket (to one nanosecond for each call ahead), and for a window as long as
    /// equal costs fill it.
    pub(super) fn turn(&mut self, limits: &Limits, ahead: u128, cost: u64, now: Instant) -> Instant {
        let start = now.max(self.paused());
        let total = ahead + u128::from(cost);
        if limits.gate == Gate::Shut {
            return Instant::NEVER;
        }
        if limits.gate == Gate::Open || total == 0 {
            return start;
        }
        let at = if limits.burst.is_some() {
            let held = u128::from(self.reserved).saturating_mul(limits.tick);
            let full_at = self.full_at.max(ticks(now)).saturating_add(held).max(ticks(start));
            let full_at = full_at.saturating_add(total.saturating_mul(limits.tick));
            instant(full_at.saturating_sub(u128::from(limits.most) * limits.tick))
        } else {
            // The start at which the cost just before a whole window's was reached has to leave the window. A start
            // that is itself ahead in the line comes a window after the one a window's cost before it, and so on back
            // to known starts.
            let most = u128::from(limits.most);
            let windows = (total - 1) / most;
            let rest = (total - windows * most) as u64;
            let known = match (limits.most - rest).checked_sub(self.reserved) {
                None => Some(now),
                Some(kept) => self.busy.as_mut().and_then(|b| {
                    b.log.expire(limits.per, now);
                    b.log.leaves(kept)
                }),
            };
            let first = known.map_or(start, |at| at.after(limits.per)).max(start);
            let more = windows.saturating_mul(limits.per.as_nanos());
            Instant::from_nanos(first.nanos().saturating_add(u64::try_from(more).unwrap_or(u64::MAX)))
        };
        at.max(start)
    }

    /// When a cost with none before it can start: now, if that is not later. Never, while the offers leave no room.
    pub(super) fn ready(&mut self, limits: &Limits, cost: u64, now: Instant) -> Instant {
        if limits.gate == Gate::Counted && cost != 0 && self.reserved + cost > limits.most {
            return Instant::NEVER;
        }
        self.turn(limits, 0, cost, now)
    }

    /// Reserves a cost for an offer. Returns the cost to be started or withdrawn.
    pub(super) fn reserve(&mut self, cost: u64) -> u64 {
        let cost = cost.min(CAP - self.reserved);
        self.reserved += cost;
        cost
    }

    pub(super) fn withdraw(&mut self, cost: u64) {
        self.reserved = self.reserved.saturating_sub(cost);
    }

    pub(super) fn count(&mut self, limits: &Limits, cost: u64, now: Instant) {
        if limits.gate == Gate::Open || cost == 0 {
            return;
        }
        if limits.burst.is_some() {
            let full_at = self.full_at.max(ticks(now));
            self.full_at = full_at.saturating_add(u128::from(cost).saturating_mul(limits.tick));
        } else {
            let log = &mut self.busy_or_new().log;
            log.expire(limits.per, now);
            log.push(now, cost);
        }
    }

    pub(super) fn refund(&mut self, limits: &Limits, cost: u64, now: Instant) {
        if limits.burst.is_some() {
            self.full_at = self.full_at.saturating_sub(u128::from(cost).saturating_mul(limits.tick));
        } else if let Some(busy) = &mut self.busy {
            // Starts that have left the window give nothing back.
            busy.log.expire(limits.per, now);
            busy.log.refund(cost);
        }
    }

    pub(super) fn pause(&mut self, until: Instant) {
        let busy = self.busy_or_new();
        busy.paused = busy.paused.max(until);
    }

    /// Drops the starts that have left the window, so that they stay gone whatever the limits are from now on.
    pub(super) fn expire(&mut self, limits: &Limits, now: Instant) {
        if let Some(busy) = &mut self.busy {
            busy.log.expire(limits.per, now);
        }
    }

    /// Counts anew what the bucket lacks, which is as much as before, now that a unit takes another time.
    pub(super) fn recount(&mut self, before: u128, limits: &Limits, now: Instant) {
        let lacks = self.full_at.saturating_sub(ticks(now));
        let part = (lacks % before) as f64 / before as f64 * limits.tick as f64;
        let lacks = (lacks / before).saturating_mul(limits.tick).saturating_add(part as u128);
        self.full_at = ticks(now).saturating_add(lacks);
    }

    /// Whether no call waits and nothing is remembered, so that a new state would do the same.
    pub(super) fn is_idle(&self, limits: &Limits, now: Instant) -> bool {
        let rests = |b: &Busy| b.line.is_none() && b.paused <= now && b.log.last().is_none_or(|at| at.after(limits.per) <= now);
        self.reserved == 0 && self.full_at <= ticks(now) && self.busy.as_deref().is_none_or(rests)
    }

    /// Whether calls wait here, or hold offers.
    pub(super) fn is_held(&self) -> bool {
        self.reserved != 0 || self.waiting() != 0
    }

    pub(super) fn tidy(&mut self, now: Instant) {
        if let Some(busy) = self.busy()
            && busy.line.as_ref().is_some_and(|line| line.len() == 0)
        {
            busy.line = None;
        }
        if self.busy.as_ref().is_some_and(|b| b.line.is_none() && b.paused <= now && b.log.is_empty()) {
            self.busy = None;
        }
    }
}

fn ticks(at: Instant) -> u128 {
    u128::from(at.nanos()) << 64
}

/// Rounded up, so that it is never too early.
fn instant(ticks: u128) -> Instant {
    Instant::from_nanos(((ticks >> 64) as u64).saturating_add(u64::from(ticks as u64 != 0)))
}
