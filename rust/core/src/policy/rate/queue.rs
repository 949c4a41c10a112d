//! The waiters: one slab for all keys, in which each lane of a key's waiters is a linked list, so that any of them
//! leaves in O(1) and without a trace.

use crate::schedule::{Priority, Turns};
use crate::time::Instant;

const NIL: u32 = u32::MAX;
/// A slab larger than this goes back to the allocator when the last of a crowd has left.
const KEPT: usize = 1024;

/// Names a waiter while it waits: no two tickets of a limiter have the same serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    cell: u32,
    serial: u64,
}

impl Ticket {
    #[cfg(test)]
    pub(super) const NONE: Ticket = Ticket { cell: NIL, serial: 0 };

    /// Small and dense, to index a table beside the limiter; another ticket's once this one's wait is over.
    #[must_use]
    pub fn index(self) -> usize {
        self.cell as usize
    }
}

#[derive(Debug)]
pub(super) struct Waiter {
    /// 0 when the cell is free; `next` is then the next free one.
    serial: u64,
    pub(super) cost: u64,
    /// The end of its `max_wait`.
    pub(super) give_up: Instant,
    pub(super) key: u32,
    pub(super) priority: Priority,
    previous: u32,
    next: u32,
}

/// The waiters of one key and priority, first come first.
#[derive(Debug)]
struct Lane {
    head: u32,
    tail: u32,
    len: u32,
    /// The smallest and the largest cost since the lane was empty.
    least: u64,
    most: u64,
    /// The cost of all of them.
    cost: u128,
}

impl Default for Lane {
    fn default() -> Self {
        Lane { head: NIL, tail: NIL, len: 0, least: u64::MAX, most: 0, cost: 0 }
    }
}

impl Lane {
    /// A lower bound of the cost of the first `n`; exact for all of them, and where all cost the same.
    fn first_cost(&self, n: u32) -> u128 {
        let (rest, each) = (u128::from(self.len - n) * u128::from(self.most), u128::from(self.least));
        if n == 0 { 0 } else { self.cost.saturating_sub(rest).max(u128::from(n) * each) }
    }
}

/// The waiters of one key, a lane for each priority.
#[derive(Debug, Default)]
pub(super) struct Line {
    lanes: [Lane; 3],
    turns: Turns,
}

impl Line {
    fn waiting(&self) -> [u32; 3] {
        [0, 1, 2].map(|lane| self.lanes[lane].len)
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.iter().map(|lane| lane.len as usize).sum()
    }

    /// A lower bound of the cost of the calls that start before a newcomer of that priority; `None` if there are none.
    /// Exact where lanes go whole or all cost the same.
    pub(super) fn ahead(&self, priority: Priority) -> Option<u128> {
        self.before(priority, self.lanes[priority as usize].len)
    }

    /// The same, before the first of that lane.
    pub(super) fn ahead_of_first(&self, priority: Priority) -> Option<u128> {
        self.before(priority, 0)
    }

    fn before(&self, priority: Priority, k: u32) -> Option<u128> {
        let before = self.turns.before(priority, k, self.waiting());
        let cost = |(lane, n): (&Lane, u32)| lane.first_cost(n);
        (before != [0; 3]).then(|| self.lanes.iter().zip(before).map(cost).sum())
    }

    /// Notes that one of that priority starts.
    pub(super) fn started(&mut self, priority: Priority) {
        self.turns.started(priority, self.waiting());
    }
}

#[derive(Debug)]
pub(super) struct Waiters {
    cells: Vec<Waiter>,
    free: u32,
    len: usize,
    /// The last serial number.
    serial: u64,
}

impl Default for Waiters {
    fn default() -> Self {
        Waiters { cells: Vec::new(), free: NIL, len: 0, serial: 0 }
    }
}

impl Waiters {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, ticket: Ticket) -> Option<&Waiter> {
        self.cells.get(ticket.index()).filter(|w| w.serial == ticket.serial)
    }

    /// The waiter whose turn it is.
    pub(super) fn first(&self, line: &Line) -> Option<(Ticket, &Waiter)> {
        self.at(line.lanes[line.turns.next(line.waiting())? as usize].head)
    }

    /// The first of each lane.
    pub(super) fn firsts(&self, line: &Line) -> impl Iterator<Item = (Ticket, &Waiter)> {
        line.lanes.iter().filter_map(|lane| self.at(lane.head))
    }

    /// All of them, lane by lane.
    pub(super) fn iter(&self, line: &Line) -> impl Iterator<Item = (Ticket, &Waiter)> {
        self.firsts(line).flat_map(|first| std::iter::successors(Some(first), |(_, w)| self.at(w.next)))
    }

    fn at(&self, cell: u32) -> Option<(Ticket, &Waiter)> {
        self.cells.get(cell as usize).map(|w| (Ticket { cell, serial: w.serial }, w))
    }

    pub(super) fn join(&mut self, line: &mut Line, key: u32, priority: Priority, cost: u64, give_up: Instant) -> Ticket {
        self.serial += 1;
        let own = &mut line.lanes[priority as usize];
        let waiter = Waiter { serial: self.serial, cost, give_up, key, priority, previous: own.tail, next: NIL };
        let cell = self.free;
        let cell = if let Some(vacant) = self.cells.get_mut(cell as usize) {
            self.free = vacant.next;
            *vacant = waiter;
            cell
        } else {
            self.cells.push(waiter);
            (self.cells.len() - 1) as u32
        };
        *self.next_of(own.tail, &mut own.head) = cell;
        own.tail = cell;
        own.len += 1;
        own.cost += u128::from(cost);
        (own.least, own.most) = (own.least.min(cost), own.most.max(cost));
        self.len += 1;
        Ticket { cell, serial: self.serial }
    }

    /// Removes a waiter of this line; those behind it move up.
    pub(super) fn leave(&mut self, line: &mut Line, ticket: Ticket) {
        let gone = &mut self.cells[ticket.index()];
        let (previous, next, cost, priority) = (gone.previous, gone.next, gone.cost, gone.priority);
        let own = &mut line.lanes[priority as usize];
        gone.serial = 0;
        gone.next = self.free;
        self.free = ticket.cell;
        *self.next_of(previous, &mut own.head) = next;
        match self.cells.get_mut(next as usize) {
            Some(behind) => behind.previous = previous,
            None => own.tail = previous,
        }
        own.len -= 1;
        own.cost -= u128::from(cost);
        if own.len == 0 {
            *own = Lane::default();
            line.turns.emptied(priority);
        }
        self.len -= 1;
        if self.len == 0 && self.cells.len() > KEPT {
            self.clear();
        }
    }

    /// Removes all waiters, so that no ticket names one.
    pub(super) fn clear(&mut self) {
        *self = Waiters { serial: self.serial, ..Waiters::default() };
    }

    /// The link that follows `cell`; without a cell, the head of the lane.
    fn next_of<'a>(&'a mut self, cell: u32, head: &'a mut u32) -> &'a mut u32 {
        self.cells.get_mut(cell as usize).map_or(head, |w| &mut w.next)
    }

    #[cfg(test)]
    pub(super) fn cells(&self) -> usize {
        self.cells.len()
    }
}
