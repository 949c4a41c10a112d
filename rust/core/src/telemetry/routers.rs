//! Figures of routers, by their names: the requests of each command by what became of them, and the callers that are
//! there. Commands are few and kept; a caller is here from its beginning to its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::{OTHER, shortened};
use crate::observe::{Summary, Times};
use crate::sync::Mutex;

/// The ends of requests, as they are exported. The first is a success.
pub const ENDS: [&str; 9] =
    ["succeeded", "failed", "rejected", "timed_out", "cancelled", "shutting_down", "wrong_params", "unknown", "invalid"];

/// The requests of one command, notifications among them.
#[derive(Default)]
pub struct CommandTally {
    begun: AtomicU64,
    /// By [`ENDS`].
    ended: [AtomicU64; ENDS.len()],
    times: Times,
}

impl CommandTally {
    /// Requests by what became of them, in the order of [`ENDS`].
    pub fn ended(&self) -> [u64; ENDS.len()] {
        self.ended.each_ref().map(|n| n.load(Ordering::Relaxed))
    }

    /// Requests that have come.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Requests that have come and not ended.
    pub fn running(&self) -> u64 {
        let ended: u64 = self.ended().iter().sum();
        self.begun().saturating_sub(ended)
    }

    /// From when requests came to their ends. Those that were refused at once are not among them.
    pub fn times(&self) -> Summary {
        self.times.summary()
    }
}

/// The sender of requests: a connection, or the program itself.
#[derive(Debug, Default)]
pub struct CallerTally {
    /// As the program has it, and where it is.
    pub id: String,
    pub address: String,
    requests: AtomicU64,
    ended: AtomicU64,
    errors: AtomicU64,
}

impl CallerTally {
    /// Requests, those of them that have not ended, and those that ended with an error.
    pub fn now(&self) -> [u64; 3] {
        let ended = self.ended.load(Ordering::Relaxed);
        let requests = self.requests.load(Ordering::Relaxed);
        [requests, requests.saturating_sub(ended), self.errors.load(Ordering::Relaxed)]
    }

    /// A request of it has come.
    pub fn begin(&self, command: &CommandTally) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        command.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// That request has ended as [`ENDS`] says, after so many nanoseconds.
    pub fn end(&self, command: &CommandTally, end: usize, nanos: u64) {
        command.times.record(nanos);
        self.ends(command, end);
    }

    /// A request of it was refused at once.
    pub fn refuse(&self, command: &CommandTally, end: usize) {
        self.begin(command);
        self.ends(command, end);
    }

    fn ends(&self, command: &CommandTally, end: usize) {
        if let Some(n) = command.ended.get(end) {
            n.fetch_add(1, Ordering::Relaxed);
        }
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.errors.fetch_add(u64::from(end > 0), Ordering::Relaxed);
    }
}

/// The routers of one name.
#[derive(Default)]
pub struct RouterTally {
    /// Routers that the program has.
    there: AtomicUsize,
    commands: Mutex<BTreeMap<String, Arc<CommandTally>>>,
    callers: Mutex<(u64, BTreeMap<u64, Arc<CallerTally>>)>,
    /// The program, which calls without a connection.
    here: Arc<CallerTally>,
}

impl RouterTally {
    /// The program has made one.
    pub fn open(&self) {
        self.there.fetch_add(1, Ordering::Relaxed);
    }

    /// It has dropped one.
    pub fn close(&self) {
        self.there.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether the program has one.
    pub fn is_there(&self) -> bool {
        self.there.load(Ordering::Relaxed) > 0
    }

    /// A connection begins; it is there until `leave` of its number.
    pub fn enter(&self, id: &str, address: &str) -> (u64, Arc<CallerTally>) {
        let [id, address] = [id, address].map(|text| shortened(text).into_owned());
        let caller = Arc::new(CallerTally { id, address, ..CallerTally::default() });
        let mut callers = self.callers.lock();
        callers.0 += 1;
        let number = callers.0;
        callers.1.insert(number, caller.clone());
        (number, caller)
    }

    pub fn leave(&self, number: u64) {
        let left = self.callers.lock().1.remove(&number);
        drop(left);
    }

    /// The program, which calls without a connection.
    pub fn here(&self) -> Arc<CallerTally> {
        self.here.clone()
    }

    /// The number of connections.
    pub fn callers(&self) -> usize {
        self.callers.lock().1.len()
    }

    /// The callers with most at work, then those that have asked most, and the number of the others.
    pub fn busiest(&self, most: usize) -> (Vec<Arc<CallerTally>>, usize) {
        let mut all: Vec<_> = self.callers.lock().1.values().map(|caller| (caller.now(), caller.clone())).collect();
        if self.here.now()[0] > 0 {
            all.push((self.here.now(), self.here.clone()));
        }
        all.sort_by_key(|([requests, running, _], _)| std::cmp::Reverse((*running, *requests)));
        let others = all.len().saturating_sub(most);
        all.truncate(most);
        (all.into_iter().map(|(_, caller)| caller).collect(), others)
    }

    /// The commands, in the order of their names; that of all others once it was asked for.
    pub fn commands(&self) -> Vec<(String, Arc<CommandTally>)> {
        let commands = self.commands.lock();
        let there = commands.iter().filter(|(name, tally)| *name != OTHER || tally.begun() > 0);
        there.map(|(name, tally)| (name.clone(), tally.clone())).collect()
    }

    /// One command's; of one that is new, and that `more` does not allow, the figures that all others share, as do
    /// requests that name no command.
    pub(super) fn command(&self, name: &str, more: impl FnOnce() -> bool) -> Arc<CommandTally> {
        let name = shortened(name);
        let mut commands = self.commands.lock();
        if let Some(known) = commands.get(&*name) {
            return known.clone();
        }
        let name = if name == OTHER || more() { &*name } else { OTHER };
        commands.entry(name.to_owned()).or_default().clone()
    }

    /// In the child of a fork: the callers are the parent's, and so is what they have asked.
    pub(super) fn forget_callers(&self) {
        if let Some(mut callers) = self.callers.try_lock() {
            callers.1.clear();
        }
        if let Some(commands) = self.commands.try_lock() {
            for command in commands.values() {
                command.begun.store(command.ended().iter().sum(), Ordering::Relaxed);
            }
        }
        self.here.ended.store(self.here.requests.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_for_their_command_and_their_caller() {
        let router = RouterTally::default();
        let (number, caller) = router.enter("7", "unix:/run/host");
        let command = router.command("order", || true);
        for _ in 0..3 {
            caller.begin(&command);
        }
        assert_eq!((command.running(), caller.now()), (3, [3, 3, 0]));
        caller.end(&command, 0, 1000);
        caller.end(&command, 1, 3000);
        caller.refuse(&command, 6);
        assert_eq!((command.running(), caller.now()), (1, [4, 1, 2]));
        assert_eq!(command.ended(), [1, 1, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!((command.times().count(), command.times().nanos), (2, 4000));
        assert_eq!(router.callers(), 1);
        router.leave(number);
        assert_eq!((router.callers(), router.busiest(5).0.len()), (0, 0));
    }

    #[test]
    fn the_busiest_callers_are_listed_and_the_program_once_it_has_asked() {
        let router = RouterTally::default();
        let command = router.command("order", || true);
        let callers: Vec<_> = (0..100).map(|n| router.enter(&n.to_string(), "tcp:")).collect();
        for (n, (_, caller)) in callers.iter().enumerate() {
            (0..n).for_each(|_| caller.refuse(&command, 0));
        }
        callers[3].1.begin(&command);
        let ids = |most| {
            let (found, others) = router.busiest(most);
            (found.iter().map(|each| each.id.clone()).collect::<Vec<_>>(), others)
        };
        assert_eq!(ids(3), (vec!["3".to_owned(), "99".to_owned(), "98".to_owned()], 97));
        (0..1000).for_each(|_| router.here().refuse(&command, 0));
        assert_eq!(ids(2), (vec!["3".to_owned(), String::new()], 99));
        assert_eq!(router.callers(), 100, "it is no connection");
    }

    #[test]
    fn commands_beyond_the_bound_share_one_name() {
        let router = RouterTally::default();
        let mut left = 2;
        let mut more = || {
            left -= 1;
            left >= 0
        };
        for name in ["a", "b", "c", "a", "d"] {
            router.here.refuse(&router.command(name, &mut more), 0);
        }
        let found = router.commands().into_iter().map(|(name, tally)| (name, tally.ended()[0]));
        assert!(found.eq([("a".into(), 2), ("b".into(), 1), (OTHER.into(), 2)]));
    }

    #[test]
    fn a_fork_has_neither_callers_nor_their_requests() {
        let router = RouterTally::default();
        let command = router.command("order", || true);
        let (_, caller) = router.enter("1", "stdio:");
        caller.begin(&command);
        router.here.begin(&command);
        router.forget_callers();
        assert_eq!((router.callers(), command.running(), router.here.now()), (0, 0, [1, 0, 0]));
    }
}
