//! The deadline heap: a binary heap that knows the place of each entry, so that a deadline can be taken back in O(log
//! n).
//!
//! Entries are (deadline, turn, cell); a cell remembers its place in the heap and the waker. 16 + 32 bytes an entry.
//! The turn counts up, so that equal deadlines, which are the rule where time jumps, fire in the order in which they
//! were armed.

use std::task::Waker;

/// Names an armed deadline. The generation keeps a stale key from touching the cell's next tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    cell: u32,
    generation: u32,
}

struct Cell {
    /// Index into the heap while armed, the next free cell otherwise.
    place: u32,
    generation: u32,
    waker: Option<Waker>,
}

const NIL: u32 = u32::MAX;

#[derive(Default)]
pub(super) struct Heap {
    entries: Vec<(u64, u32, u32)>,
    turn: u32,
    cells: Vec<Cell>,
    free: Option<u32>,
    /// The generation of a cell's first tenant: above that of every cell that was trimmed.
    first_generation: u32,
}

impl Heap {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.entries.first().map(|&(at, ..)| at)
    }

    pub(super) fn push(&mut self, at: u64, waker: Waker) -> Key {
        let place = self.entries.len() as u32;
        let cell = if let Some(cell) = self.free {
            let s = &mut self.cells[cell as usize];
            self.free = (s.place != NIL).then_some(s.place);
            (s.place, s.waker) = (place, Some(waker));
            cell
        } else {
            self.cells.push(Cell { place, generation: self.first_generation, waker: Some(waker) });
            (self.cells.len() - 1) as u32
        };
        self.entries.push((at, self.turn, cell));
        self.turn = self.turn.wrapping_add(1);
        self.up(place as usize);
        Key { cell, generation: self.cells[cell as usize].generation }
    }

    /// The waker of an armed deadline, to be changed. `None`: fired or taken back.
    pub(super) fn waker(&mut self, key: Key) -> Option<&mut Waker> {
        let s = self.cells.get_mut(key.cell as usize)?;
        if s.generation == key.generation { s.waker.as_mut() } else { None }
    }

    /// Takes a deadline back; a stale key does nothing. The waker is returned, to be dropped without the lock.
    pub(super) fn remove(&mut self, key: Key) -> Option<Waker> {
        let s = self.cells.get(key.cell as usize)?;
        if s.generation != key.generation || s.waker.is_none() {
            return None;
        }
        let place = s.place as usize;
        Some(self.take(place))
    }

    /// The first waker that is due.
    pub(super) fn pop(&mut self, now: u64) -> Option<Waker> {
        if self.first()? > now {
            return None;
        }
        Some(self.take(0))
    }

    fn take(&mut self, place: usize) -> Waker {
        let (.., cell) = self.entries.swap_remove(place);
        if place < self.entries.len() {
            self.settle(place);
            if self.up(place) == place {
                self.down(place);
            }
        }
        let free = self.free.unwrap_or(NIL);
        let s = &mut self.cells[cell as usize];
        s.generation = s.generation.wrapping_add(1);
        s.place = free;
        self.free = Some(cell);
        let waker = s.waker.take().expect("an armed cell has a waker");
        if self.entries.is_empty() && self.cells.len() > 1024 {
            // A burst is over: no deadline is armed, so all keys are stale and the cells can go back to the allocator.
            self.trim();
        }
        waker
    }

    /// Forgets all cells, and starts later generations above every old one so that stale keys stay stale.
    fn trim(&mut self) {
        let last = self.cells.iter().map(|s| s.generation).max().unwrap_or(0);
        self.first_generation = last.wrapping_add(1);
        (self.cells, self.entries, self.free) = (Vec::new(), Vec::new(), None);
    }

    fn settle(&mut self, place: usize) {
        let cell = self.entries[place].2;
        self.cells[cell as usize].place = place as u32;
    }

    fn up(&mut self, mut place: usize) -> usize {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.entries[parent] <= self.entries[place] {
                break;
            }
            self.entries.swap(parent, place);
            self.settle(place);
            place = parent;
        }
        self.settle(place);
        place
    }

    fn down(&mut self, mut place: usize) {
        loop {
            let left = 2 * place + 1;
            if left >= self.entries.len() {
                break;
            }
            let right = left + 1;
            let child = if right < self.entries.len() && self.entries[right] < self.entries[left] { right } else { left };
            if self.entries[place] <= self.entries[child] {
                break;
            }
            self.entries.swap(place, child);
            self.settle(place);
            place = child;
        }
        self.settle(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a list: any mix of arming, taking back and popping yields the same deadlines in the same order,
        /// equal ones as they came.
        #[test]
        fn agrees_with_a_sorted_list(ops in proptest::collection::vec((0u8..4, 0u64..50), 1..400)) {
            let mut heap = Heap::default();
            let mut model: Vec<(u64, Key)> = Vec::new();
            let mut stale: Vec<Key> = Vec::new();
            for (op, x) in ops {
                match op {
                    0 | 1 => {
                        let key = heap.push(x, Waker::noop().clone());
                        model.push((x, key));
                    }
                    2 if !model.is_empty() => {
                        let i = usize::try_from(x).unwrap() % model.len();
                        let (_, key) = model.remove(i);
                        prop_assert!(heap.remove(key).is_some());
                        stale.push(key);
                    }
                    _ => {
                        let due = model.iter().map(|m| m.0).filter(|&at| at <= x).min();
                        prop_assert_eq!(heap.first().filter(|&at| at <= x), due);
                        if let Some(at) = due {
                            let (_, first) = model.remove(model.iter().position(|m| m.0 == at).unwrap());
                            prop_assert!(heap.pop(x).is_some());
                            prop_assert!(heap.waker(first).is_none());
                            stale.push(first);
                        } else {
                            prop_assert!(heap.pop(x).is_none());
                        }
                    }
                }
                prop_assert_eq!(heap.len(), model.len());
                prop_assert!(stale.iter().all(|&k| heap.waker(k).is_none()));
                prop_assert!(model.iter().all(|m| heap.waker(m.1).is_some()));
            }
        }
    }

    #[test]
    fn a_key_from_before_a_trim_stays_stale() {
        let mut heap = Heap::default();
        let keys: Vec<Key> = (0..2000).map(|i| heap.push(i, Waker::noop().clone())).collect();
        while heap.pop(u64::MAX).is_some() {}
        let fresh = heap.push(1, Waker::noop().clone());
        assert!(keys.iter().all(|&k| heap.remove(k).is_none()));
        assert!(heap.remove(fresh).is_some());
    }
}
