//! Fallback: when the inside fails with what `on` names, something else stands in. Ladders are several of them, the outermost last in turn.

use crate::effect::{Around, Call, Class, Fault, Leaf, call_instead};

use std::sync::atomic::Ordering;

/// Call `inner`; `layer` is this fallback's place in the stack.
pub async fn fallback<'a, L, F>(call: &'a Call<'a, L>, layer: usize, around: Around<'a>, inner: F) -> Result<L::Ok, L::Err>
where
    L: Leaf,
    F: Future<Output = Result<L::Ok, L::Err>> + Send,
{
    let mut fault = match inner.await {
        Ok(value) => return Ok(value),
        Err(fault) => fault,
    };
    if !is_ours(fault.class(), layer) || !call.leaf.names(layer, &mut fault) {
        return Err(fault);
    }
    call.leaf.instead(layer, fault);
    let value = call_instead(call, around).await?;
    call.trace.degraded.store(true, Ordering::Relaxed);
    Ok(value)
}

/// A fault of the inside: no cancel, no exit, no limit that stands around this fallback and has passed.
fn is_ours(class: Class, layer: usize) -> bool {
    match class {
        Class::Failure | Class::Refused => true,
        Class::TimedOut(owner) => owner.inside(layer),
        Class::Stopped | Class::Passes => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Owner;

    #[test]
    fn a_limit_around_is_not_for_it_to_mend() {
        assert!(is_ours(Class::TimedOut(Owner::Layer(2)), 1));
        assert!(!is_ours(Class::TimedOut(Owner::Layer(0)), 1));
        assert!(!is_ours(Class::TimedOut(Owner::Inherited), 1));
        assert!(is_ours(Class::Refused, 1) && is_ours(Class::Failure, 1));
        assert!(!is_ours(Class::Stopped, 1) && !is_ours(Class::Passes, 1));
    }
}
