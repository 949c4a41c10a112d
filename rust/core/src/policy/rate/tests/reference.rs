//! What one key of the limiter has to do, told as plainly as possible: each start is kept, and time is stepped through nanosecond by
//! nanosecond. Costs are in quarters, times in nanoseconds: small enough that both are exact.

use std::collections::VecDeque;

use super::super::*;

/// Later than any turn in here.
pub(super) const HORIZON: u64 = 20_000;

#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) n: u64,
    pub(super) per: u64,
    pub(super) burst: Option<u64>,
}

#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) ticket: Ticket,
    pub(super) cost: u64,
    pub(super) give_up: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) rule: Rule,
    pub(super) starts: VecDeque<(u64, u64)>,
    /// In the bucket, in quarters times `per`.
    level: i128,
    level_at: u64,
    pub(super) reserved: u64,
    pub(super) paused: u64,
    pub(super) line: VecDeque<Waiting>,
}

impl Reference {
    pub(super) fn new(rule: Rule) -> Self {
        let level = i128::from(rule.burst.unwrap_or(0) * rule.per);
        Reference { rule, starts: VecDeque::new(), level, level_at: 0, reserved: 0, paused: 0, line: VecDeque::new() }
    }
    pub(super) fn most(&self) -> u64 {
        self.rule.burst.unwrap_or(self.rule.n)
    }
    fn level(&self, t: u64) -> i128 {
        let full = i128::from(self.most() * self.rule.per);
        full.min(self.level + i128::from((t - self.level_at) * self.rule.n))
    }
    fn used(&self, t: u64) -> u64 {
        self.starts.iter().filter(|s| s.0 + self.rule.per > t).map(|s| s.1).sum()
    }
    pub(super) fn fits(&self, cost: u64, t: u64) -> bool {
        let counted = self.reserved + cost;
        t >= self.paused
            && (cost == 0
                || match self.rule.burst {
                    Some(_) => self.level(t) >= i128::from(counted * self.rule.per),
                    None => self.used(t) + counted <= self.rule.n,
                })
    }
    pub(super) fn start(&mut self, cost: u64, t: u64) {
        (self.level, self.level_at) = (self.level(t) - i128::from(cost * self.rule.per), t);
        self.starts.push_back((t, cost));
    }
    pub(super) fn refund(&mut self, mut cost: u64, t: u64) {
        (self.level, self.level_at) = (self.level(t) + i128::from(cost * self.rule.per), t);
        self.level = self.level(t);
        for s in self.starts.iter_mut().filter(|s| s.0 + self.rule.per > t) {
            let part = cost.min(s.1);
            s.1 -= part;
            cost -= part;
        }
    }
    /// When a cost behind all who wait starts, if nobody comes or leaves and each starts as soon as he can.
    pub(super) fn turn(&self, cost: u64, now: u64) -> u64 {
        let mut future = self.clone();
        let offered = std::mem::take(&mut future.reserved);
        future.start(offered, now);
        let mut t = now;
        for cost in self.line.iter().map(|w| w.cost).chain([cost]) {
            while !future.fits(cost, t) {
                t += 1;
                assert!(t < HORIZON);
                while future.starts.front().is_some_and(|s| s.0 + self.rule.per <= t) {
                    future.starts.pop_front();
                }
            }
            future.start(cost, t);
        }
        t
    }
    pub(super) fn is_idle(&self, t: u64) -> bool {
        let rests = match self.rule.burst {
            Some(burst) => self.level(t) == i128::from(burst * self.rule.per),
            None => self.used(t) == 0,
        };
        self.line.is_empty() && self.reserved == 0 && self.paused <= t && rests
    }
}
