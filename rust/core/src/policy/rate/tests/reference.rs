//! One key of the limiter, as plainly as possible: each start is kept, and time is stepped through nanosecond by
//! nanosecond. Costs are in quarters, times in nanoseconds: small enough that both are exact.

use std::collections::VecDeque;

use super::super::*;
use crate::schedule::PATIENCE;

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
    pub(super) priority: Priority,
}

/// Three plain lists, and how often each was passed over.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) lanes: [VecDeque<Waiting>; 3],
    passed: [u32; 3],
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }
    pub(super) fn push(&mut self, one: Waiting) {
        self.lanes[one.priority as usize].push_back(one);
    }
    /// The lane whose turn it is.
    fn turn(&self) -> Option<usize> {
        let waits = |lane: &usize| !self.lanes[*lane].is_empty();
        (0..3).find(|lane| waits(lane) && self.passed[*lane] >= PATIENCE[*lane]).or_else(|| (0..3).rev().find(waits))
    }
    pub(super) fn first(&self) -> Option<&Waiting> {
        self.lanes[self.turn()?].front()
    }
    /// Another call starts, which did not wait.
    pub(super) fn pass(&mut self, lane: usize) {
        (0..lane).filter(|lower| !self.lanes[*lower].is_empty()).for_each(|lower| self.passed[lower] += 1);
        self.passed[lane] = 0;
    }
    pub(super) fn start(&mut self) -> Option<Waiting> {
        let lane = self.turn()?;
        self.pass(lane);
        self.remove(lane, 0)
    }
    pub(super) fn remove(&mut self, lane: usize, i: usize) -> Option<Waiting> {
        let gone = self.lanes[lane].remove(i);
        self.settle();
        gone
    }
    pub(super) fn retain(&mut self, keep: impl Fn(&Waiting) -> bool) {
        self.lanes.iter_mut().for_each(|lane| lane.retain(&keep));
        self.settle();
    }
    fn settle(&mut self) {
        (0..3).filter(|lane| self.lanes[*lane].is_empty()).for_each(|lane| self.passed[lane] = 0);
    }
    pub(super) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.lanes.iter().flatten()
    }
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
    pub(super) line: Line,
}

impl Reference {
    pub(super) fn new(rule: Rule) -> Self {
        let level = i128::from(rule.burst.unwrap_or(0) * rule.per);
        Reference { rule, starts: VecDeque::new(), level, level_at: 0, reserved: 0, paused: 0, line: Line::default() }
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
    /// Whether a newcomer would be the next to start.
    pub(super) fn is_next(&self, priority: Priority) -> bool {
        let mut line = self.line.clone();
        line.push(Waiting { ticket: Ticket::NONE, cost: 0, give_up: 0, priority });
        line.first().is_some_and(|w| w.ticket == Ticket::NONE)
    }
    /// When a newcomer starts, if no other comes or leaves and each starts as soon as it can; and whether a lane goes
    /// only in part before.
    pub(super) fn turn(&self, cost: u64, priority: Priority, now: u64) -> (u64, bool) {
        let mut future = self.clone();
        let offered = std::mem::take(&mut future.reserved);
        future.start(offered, now);
        let mut t = now;
        future.line.lanes[priority as usize].push_back(Waiting { ticket: Ticket::NONE, cost, give_up: 0, priority });
        while let Some(next) = future.line.start() {
            while !future.fits(next.cost, t) {
                t += 1;
                assert!(t < HORIZON);
                while future.starts.front().is_some_and(|s| s.0 + self.rule.per <= t) {
                    future.starts.pop_front();
                }
            }
            if next.ticket == Ticket::NONE {
                break;
            }
            future.start(next.cost, t);
        }
        let whole = |(before, after): (&VecDeque<_>, &VecDeque<_>)| after.is_empty() || after.len() == before.len();
        (t, !self.line.lanes.iter().zip(&future.line.lanes).all(whole))
    }
    pub(super) fn is_idle(&self, t: u64) -> bool {
        let rests = match self.rule.burst {
            Some(burst) => self.level(t) == i128::from(burst * self.rule.per),
            None => self.used(t) == 0,
        };
        self.line.len() == 0 && self.reserved == 0 && self.paused <= t && rests
    }
}
