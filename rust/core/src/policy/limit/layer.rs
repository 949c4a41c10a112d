//! The layer of a limit: a permit to run inside. A call whose blocking thread outlives its caller keeps the permit
//! until the thread has ended.

use std::sync::Arc;

use super::machine::Caller;
use super::{Limit, Permit};
use crate::effect::{Around, Call, Fault, Holder, Leaf};

/// Waits for a permit of `limit`, the layer at `layer` of the stack.
pub async fn enter<'a, L: Leaf>(
    call: &'a Call<'a, L>,
    layer: usize,
    limit: &'a Arc<Limit>,
    around: Around<'a>,
) -> Result<Inside<'a, L>, L::Err> {
    let key = call.terms.key(layer);
    let caller = Caller { key, priority: call.terms.priority, until: around.over.at, held: around.held };
    if let Err(why) = call.wait(layer, &limit.waits, limit.acquire(call.clock, caller)).await {
        return Err(L::Err::refused(call.refused(layer, why)));
    }
    let inside = Inside { call, limit, key, holder: Holder::new(limit.name(), key, around.held) };
    // The permit may be that of the attempt that has won: it is given back before this one is asked to end.
    if call.terms.is_unwanted() { Err(L::Err::stopped()) } else { Ok(inside) }
}

/// The permit while the inside runs. It is given back whichever way the inside ends, dropped or not.
pub struct Inside<'a, L: Leaf> {
    call: &'a Call<'a, L>,
    limit: &'a Arc<Limit>,
    key: u32,
    holder: Holder<'a>,
}

impl<'a, L: Leaf> Inside<'a, L> {
    pub fn holder(&self) -> &Holder<'a> {
        &self.holder
    }
}

impl<L: Leaf> Drop for Inside<'_, L> {
    fn drop(&mut self) {
        if self.call.leaf.outlives() {
            self.call.leaf.keep(Box::new(Permit::of(self.limit, self.call.clock, self.holder.held())));
        } else {
            self.limit.give_back(self.holder.limit(), self.key, self.holder.told().map(|held| &**held), self.call.clock);
        }
    }
}
