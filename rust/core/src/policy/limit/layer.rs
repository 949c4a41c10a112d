//! The layer of a limit: a permit to run inside. A call whose thread goes on without its caller keeps it until that ends.

use std::sync::Arc;

use super::{Limit, Permit};
use crate::effect::{Around, Call, Fault, Held, Leaf};
use crate::error::Refused;

/// Wait for a permit of `limit`, which stands at `layer` of the stack.
pub async fn enter<'a, L: Leaf>(
    call: &'a Call<'a, L>,
    layer: usize,
    limit: &'a Arc<Limit>,
    around: Around<'a>,
) -> Result<Inside<'a, L>, L::Err> {
    let terms = call.terms;
    match limit.acquire(call.clock, terms.key(layer), terms.priority, around.over.at, around.held).await {
        Ok(permit) => Ok(Inside { leaf: call.leaf, permit: Some(permit) }),
        Err(why) => Err(L::Err::refused(Refused { layer, why })),
    }
}

/// The permit while the inside runs. It goes whichever way the inside ends, dropped or not.
pub struct Inside<'a, L: Leaf> {
    leaf: &'a L,
    permit: Option<Permit>,
}

impl<L: Leaf> Inside<'_, L> {
    pub fn held(&self) -> Option<&Arc<Held>> {
        self.permit.as_ref().map(Permit::held)
    }
}

impl<L: Leaf> Drop for Inside<'_, L> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take()
            && self.leaf.outlives()
        {
            self.leaf.keep(Box::new(permit));
        }
    }
}
