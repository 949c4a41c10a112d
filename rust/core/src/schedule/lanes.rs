//! Three lanes of waiting callers, served in the order of [`Turns`].

use slab::Slab;

use super::{Priority, Turns};

/// A caller's place, from its push until it is removed or taken.
pub type Place = u32;

const NIL: u32 = u32::MAX;

/// The order of turns. The callers are kept apart, in `nodes`, which each method is given.
pub struct Order {
    lanes: [Lane; 3],
    turns: Turns,
}

#[derive(Clone, Copy)]
struct Lane {
    first: u32,
    last: u32,
    length: u32,
}

/// The neighbours of a caller in its lane.
#[derive(Clone, Copy)]
pub struct Link {
    before: u32,
    after: u32,
}

impl Default for Link {
    fn default() -> Self {
        Link { before: NIL, after: NIL }
    }
}

/// Where callers are kept, by number.
pub trait Nodes {
    /// The neighbours of a caller that is in a lane.
    fn link(&mut self, place: Place) -> &mut Link;
}

impl Default for Order {
    fn default() -> Self {
        Order { lanes: [Lane { first: NIL, last: NIL, length: 0 }; 3], turns: Turns::default() }
    }
}

impl Order {
    pub fn len(&self) -> usize {
        self.lanes.iter().map(|lane| lane.length as usize).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.length == 0)
    }

    pub fn waiting(&self, priority: Priority) -> usize {
        self.lanes[priority as usize].length as usize
    }

    /// Adds a caller at the end of its lane. It is in `nodes` already.
    pub fn push(&mut self, nodes: &mut impl Nodes, priority: Priority, place: Place) {
        let lane = &mut self.lanes[priority as usize];
        let before = std::mem::replace(&mut lane.last, place);
        *nodes.link(place) = Link { before, after: NIL };
        match before {
            NIL => lane.first = place,
            before => nodes.link(before).after = place,
        }
        lane.length += 1;
    }

    /// Removes a caller that waits no more. It is still in `nodes`.
    pub fn remove(&mut self, nodes: &mut impl Nodes, priority: Priority, place: Place) {
        let Link { before, after } = *nodes.link(place);
        let lane = &mut self.lanes[priority as usize];
        match before {
            NIL => lane.first = after,
            before => nodes.link(before).after = after,
        }
        match after {
            NIL => lane.last = before,
            after => nodes.link(after).before = before,
        }
        lane.length -= 1;
        if lane.length == 0 {
            self.turns.emptied(priority);
        }
    }

    /// Takes out the caller whose turn it is.
    pub fn take_next(&mut self, nodes: &mut impl Nodes) -> Option<Place> {
        let waiting = self.lanes.map(|lane| lane.length);
        let turn = self.turns.next(waiting)?;
        self.turns.started(turn, waiting);
        let first = self.lanes[turn as usize].first;
        self.remove(nodes, turn, first);
        Some(first)
    }

    /// The newest caller of the lowest lane, if that lane is no higher than `than`: the one to refuse for a newcomer of
    /// that priority.
    pub fn newest_of_lowest(&self, than: Priority) -> Option<Place> {
        self.lanes[..=than as usize].iter().find(|lane| lane.length > 0).map(|lane| lane.last)
    }
}

/// An order together with its callers.
pub struct Lanes<T> {
    nodes: Slab<Node<T>>,
    order: Order,
}

struct Node<T> {
    link: Link,
    priority: Priority,
    item: T,
}

impl<T> Nodes for Slab<Node<T>> {
    fn link(&mut self, place: Place) -> &mut Link {
        &mut self[place as usize].link
    }
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Lanes { nodes: Slab::new(), order: Order::default() }
    }
}

impl<T> Lanes<T> {
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn waiting(&self, priority: Priority) -> usize {
        self.order.waiting(priority)
    }

    /// Adds a caller at the end of its lane.
    pub fn push(&mut self, priority: Priority, item: T) -> Place {
        let place = self.nodes.insert(Node { link: Link::default(), priority, item }) as u32;
        self.order.push(&mut self.nodes, priority, place);
        place
    }

    /// Removes a caller that waits no more.
    pub fn remove(&mut self, place: Place) -> T {
        let priority = self.nodes[place as usize].priority;
        self.order.remove(&mut self.nodes, priority, place);
        self.taken(place)
    }

    /// Takes out the caller whose turn it is.
    pub fn take_next(&mut self) -> Option<T> {
        let place = self.order.take_next(&mut self.nodes)?;
        Some(self.taken(place))
    }

    fn taken(&mut self, place: Place) -> T {
        let item = self.nodes.remove(place as usize).item;
        if self.nodes.is_empty() && self.nodes.capacity() > 1024 {
            // A burst is over: its places go back to the allocator.
            self.nodes = Slab::new();
        }
        item
    }

    /// The newest caller of the lowest lane, if that lane is no higher than `than`: the one to refuse for a newcomer of
    /// that priority.
    pub fn newest_of_lowest(&self, than: Priority) -> Option<(Place, &T)> {
        let place = self.order.newest_of_lowest(than)?;
        Some((place, &self.nodes[place as usize].item))
    }

    /// All callers, in no order.
    pub fn items(&self) -> impl Iterator<Item = &T> {
        self.nodes.iter().map(|(_, node)| &node.item)
    }

    /// All callers, in no order.
    pub fn into_items(self) -> impl Iterator<Item = T> {
        self.nodes.into_iter().map(|(_, node)| node.item)
    }
}

#[cfg(test)]
mod tests {
    use super::Priority::{High, Low, Normal};
    use super::*;
    use crate::schedule::PATIENCE;
    use proptest::prelude::*;

    #[test]
    fn a_high_one_overtakes_five_thousand_low_ones() {
        let mut lanes = Lanes::default();
        for i in 0..5000 {
            lanes.push(Low, i);
        }
        assert_eq!(lanes.take_next(), Some(0));
        lanes.push(High, 9999);
        assert_eq!(lanes.take_next(), Some(9999));
        assert_eq!(lanes.take_next(), Some(1));
    }

    #[test]
    fn the_shares_of_busy_lanes_are_as_documented() {
        let mut lanes = Lanes::default();
        for priority in Priority::ALL {
            for _ in 0..1000 {
                lanes.push(priority, priority);
            }
        }
        let mut started = [0; 3];
        (0..170).for_each(|_| started[lanes.take_next().unwrap() as usize] += 1);
        assert_eq!(started, [10, 32, 128]);
    }

    proptest! {
        /// Against three plain lists: order within a lane, the bound on Low's wait, and no trace of callers that left.
        #[test]
        fn agrees_with_three_lists(ops in proptest::collection::vec((0u8..5, 0u8..3, 0usize..50), 1..400)) {
            let mut lanes = Lanes::default();
            let mut model: [Vec<(u32, Place)>; 3] = Default::default();
            let mut since_low = 0;
            for (n, (op, lane, x)) in ops.into_iter().enumerate() {
                let priority = Priority::ALL[usize::from(lane)];
                match op {
                    0 | 1 => {
                        let place = lanes.push(priority, n as u32);
                        model[priority as usize].push((n as u32, place));
                    }
                    2 if !model[priority as usize].is_empty() => {
                        let of = &mut model[priority as usize];
                        let (item, place) = of.remove(x % of.len());
                        prop_assert_eq!(lanes.remove(place), item);
                    }
                    _ => {
                        let next = lanes.take_next();
                        let heads: Vec<u32> = model.iter().filter_map(|of| of.first().map(|f| f.0)).collect();
                        prop_assert_eq!(next.is_none(), heads.is_empty());
                        let Some(next) = next else { continue };
                        prop_assert!(heads.contains(&next), "first come, first served");
                        let low_waits = !model[0].is_empty();
                        let is_low = model[0].first().is_some_and(|f| f.0 == next);
                        since_low = if is_low || !low_waits { 0 } else { since_low + 1 };
                        prop_assert!(since_low <= PATIENCE[0]);
                        for of in &mut model {
                            of.retain(|m| m.0 != next);
                        }
                    }
                }
                if model[0].is_empty() {
                    since_low = 0;
                }
                for priority in Priority::ALL {
                    prop_assert_eq!(lanes.waiting(priority), model[priority as usize].len());
                }
                let lowest = model.iter().take(2).find(|of| !of.is_empty()).and_then(|of| of.last()).map(|l| l.0);
                prop_assert_eq!(lanes.newest_of_lowest(Normal).map(|(_, item)| *item), lowest);
            }
        }
    }
}
