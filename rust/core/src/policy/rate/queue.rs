//! Who waits: one slab for all keys, in which each key's waiters are a linked list, so that anybody leaves in O(1) and without a trace.

use crate::time::Instant;

const NIL: u32 = u32::MAX;
/// A slab larger than this goes back to the allocator when the last of a crowd has left.
const KEPT: usize = 1024;

/// Names somebody who waits. One whose wait is over names nobody: no two tickets of a limiter have the same serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    slot: u32,
    serial: u64,
}

impl Ticket {
    /// Small and dense, to index a table beside the limiter; another ticket's once this one's wait is over.
    #[must_use]
    pub fn index(self) -> usize {
        self.slot as usize
    }
}

#[derive(Debug)]
pub(super) struct Waiter {
    /// 0 when the slot is free; `next` is then the next free one.
    serial: u64,
    pub(super) cost: u64,
    /// The end of his `max_wait`.
    pub(super) give_up: Instant,
    pub(super) key: u32,
    previous: u32,
    next: u32,
}

/// The waiters of one key, first come first.
#[derive(Debug)]
pub(super) struct Line {
    head: u32,
    tail: u32,
    pub(super) len: u32,
    /// Of all of them.
    pub(super) cost: u128,
}

impl Default for Line {
    fn default() -> Self {
        Line { head: NIL, tail: NIL, len: 0, cost: 0 }
    }
}

#[derive(Debug)]
pub(super) struct Waiters {
    slots: Vec<Waiter>,
    free: u32,
    len: usize,
    /// The last serial number.
    serial: u64,
}

impl Default for Waiters {
    fn default() -> Self {
        Waiters { slots: Vec::new(), free: NIL, len: 0, serial: 0 }
    }
}

impl Waiters {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, ticket: Ticket) -> Option<&Waiter> {
        self.slots.get(ticket.index()).filter(|w| w.serial == ticket.serial)
    }

    pub(super) fn first(&self, line: &Line) -> Option<(Ticket, &Waiter)> {
        self.at(line.head)
    }

    /// The whole line, in order.
    pub(super) fn iter(&self, line: &Line) -> impl Iterator<Item = (Ticket, &Waiter)> {
        std::iter::successors(self.at(line.head), |(_, w)| self.at(w.next))
    }

    fn at(&self, slot: u32) -> Option<(Ticket, &Waiter)> {
        self.slots.get(slot as usize).map(|w| (Ticket { slot, serial: w.serial }, w))
    }

    pub(super) fn join(&mut self, line: &mut Line, key: u32, cost: u64, give_up: Instant) -> Ticket {
        self.serial += 1;
        let waiter = Waiter { serial: self.serial, cost, give_up, key, previous: line.tail, next: NIL };
        let slot = self.free;
        let slot = if let Some(vacant) = self.slots.get_mut(slot as usize) {
            self.free = vacant.next;
            *vacant = waiter;
            slot
        } else {
            self.slots.push(waiter);
            (self.slots.len() - 1) as u32
        };
        *self.next_of(line.tail, &mut line.head) = slot;
        line.tail = slot;
        line.len += 1;
        line.cost += u128::from(cost);
        self.len += 1;
        Ticket { slot, serial: self.serial }
    }

    /// Whoever stands behind moves up. The ticket is that of somebody in this line.
    pub(super) fn leave(&mut self, line: &mut Line, ticket: Ticket) {
        let gone = &mut self.slots[ticket.index()];
        let (previous, next, cost) = (gone.previous, gone.next, gone.cost);
        gone.serial = 0;
        gone.next = self.free;
        self.free = ticket.slot;
        *self.next_of(previous, &mut line.head) = next;
        match self.slots.get_mut(next as usize) {
            Some(behind) => behind.previous = previous,
            None => line.tail = previous,
        }
        line.len -= 1;
        line.cost -= u128::from(cost);
        self.len -= 1;
        if self.len == 0 && self.slots.len() > KEPT {
            self.clear();
        }
    }

    /// Nobody waits any more, and no ticket names anybody.
    pub(super) fn clear(&mut self) {
        *self = Waiters { serial: self.serial, ..Waiters::default() };
    }

    /// The link that leads on from `slot`; from nobody, it is the head of the line.
    fn next_of<'a>(&'a mut self, slot: u32, head: &'a mut u32) -> &'a mut u32 {
        self.slots.get_mut(slot as usize).map_or(head, |w| &mut w.next)
    }

    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }
}
