//! A bounded table of things by name: a program that makes up names does not use memory without bound.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::OTHER;
use crate::sync::Mutex;

/// Bytes of a name that are kept. A longer one ends in a number that tells it from others with the same beginning.
const LONGEST: usize = 200;

/// A name as it is exported.
pub fn shortened(name: &str) -> Cow<'_, str> {
    if name.len() <= LONGEST {
        return name.into();
    }
    let end = name.char_indices().map(|(at, _)| at).take_while(|at| *at <= LONGEST - 20).last().unwrap_or(0);
    // The same in each process, so that a series goes on after a restart.
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    format!("{}…{:08x}", &name[..end], hasher.finish() as u32).into()
}

pub struct Names<T> {
    most: usize,
    state: Mutex<State<T>>,
}

struct State<T> {
    known: BTreeMap<String, Arc<T>>,
    other: Option<Arc<T>>,
    /// Requests of names for which there was no room.
    folded: u64,
}

impl<T: Default> Names<T> {
    pub fn new(most: usize) -> Self {
        Names { most, state: Mutex::new(State { known: BTreeMap::new(), other: None, folded: 0 }) }
    }

    /// The entry of a name, new or known; beyond the bound, the entry that all other names share.
    pub fn of(&self, name: &str) -> Arc<T> {
        let name = shortened(name);
        let mut state = self.state.lock();
        if let Some(known) = state.known.get(&*name) {
            return known.clone();
        }
        if state.known.len() >= self.most || name == OTHER {
            state.folded += u64::from(name != OTHER);
            return state.other.get_or_insert_default().clone();
        }
        let new = Arc::<T>::default();
        state.known.insert(name.into_owned(), new.clone());
        new
    }

    /// The entry of a name that the package gives itself. There are few of these, and each has its own, beyond the
    /// bound too.
    pub fn ours(&self, name: &str) -> Arc<T> {
        self.state.lock().known.entry(name.to_owned()).or_default().clone()
    }

    /// All entries, in the order of their names; the shared one comes last.
    pub fn all(&self) -> Vec<(String, Arc<T>)> {
        let state = self.state.lock();
        let other = state.other.iter().map(|other| (OTHER.to_owned(), other.clone()));
        state.known.iter().map(|(name, t)| (name.clone(), t.clone())).chain(other).collect()
    }

    /// Removes the entries that are no longer in use.
    pub fn forget_unused(&self) {
        self.state.lock().known.retain(|_, known| Arc::strong_count(known) > 1);
    }

    pub(super) fn inherit(&self, parent: &Names<T>) {
        if let Some(parent) = parent.state.try_lock() {
            let mut state = self.state.lock();
            state.known.clone_from(&parent.known);
            state.other.clone_from(&parent.other);
        }
    }

    pub fn folded(&self) -> u64 {
        self.state.lock().folded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_bound_share_one() {
        let names = Names::<u8>::new(10);
        let first = names.of("name 0");
        for n in 0..100_000 {
            names.of(&format!("name {n}"));
        }
        assert_eq!((names.all().len(), names.folded()), (11, 99_990));
        assert!(Arc::ptr_eq(&first, &names.of("name 0")));
        assert!(Arc::ptr_eq(&names.of("new"), &names.of(OTHER)));
        assert_eq!(names.all()[10].0, OTHER);
    }

    #[test]
    fn names_of_ours_have_a_place_beyond_the_bound() {
        let names = Names::<u8>::new(1);
        names.of("first");
        let ours = names.ours("fs.watch");
        assert!(Arc::ptr_eq(&ours, &names.ours("fs.watch")));
        assert!(Arc::ptr_eq(&ours, &names.of("fs.watch")));
        assert!(Arc::ptr_eq(&names.of("second"), &names.of(OTHER)));
        assert_eq!(names.folded(), 1);
    }

    #[test]
    fn what_is_used_is_not_forgotten() {
        let names = Names::<u8>::new(10);
        let kept = names.of("kept");
        names.of("gone");
        names.forget_unused();
        assert!(names.all().iter().map(|(name, _)| name).eq(["kept"]));
        assert!(Arc::ptr_eq(&kept, &names.of("kept")));
    }

    #[test]
    fn long_names_are_short_and_still_apart() {
        let long = |end: &str| format!("{}{end}", "é".repeat(10_000));
        let (a, b) = (long("a"), long("b"));
        assert!(shortened(&a).len() <= LONGEST);
        assert_ne!(shortened(&a), shortened(&b));
        assert_eq!(shortened(&a), shortened(&a));
        assert_eq!(shortened("short"), "short");
    }
}
