//! Routers as the page shows them: their commands, with what came of them of late, and their busiest callers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mountain_core::telemetry::{CallerTally, CommandTally, ENDS, Names, RouterTally};
use serde_json::{Map, Value, json};

use crate::recent::Recent;

/// Callers of a router that are listed.
const CALLERS: usize = 20;
/// Seconds that are of late.
const LATE: f64 = 60.0;
/// How much the last round weighs in the requests a second that are shown.
const SMOOTHING: f64 = 0.4;

type Counts = [u64; ENDS.len()];

/// The requests of one command, in the last minute.
#[derive(Default)]
struct Late {
    begun: u64,
    last: Counts,
    times: Recent,
    /// Requests a second.
    per_second: f64,
    /// The rounds with errors: how many seconds ago, and what was gained.
    rounds: VecDeque<(f64, Counts)>,
}

impl Late {
    fn since(tally: &CommandTally) -> Self {
        Late { begun: tally.begun(), last: tally.ended(), times: Recent::since(tally.times()), ..Late::default() }
    }

    fn tick(&mut self, tally: &CommandTally, seconds: f64) {
        let now = tally.ended();
        let mut gained = now;
        gained.iter_mut().zip(self.last).for_each(|(now, then)| *now = now.saturating_sub(then));
        self.last = now;
        self.times.add(tally.times(), seconds);
        let begun = tally.begun();
        let per_second = begun.saturating_sub(std::mem::replace(&mut self.begun, begun)) as f64 / seconds.max(1e-3);
        self.per_second += SMOOTHING * (per_second - self.per_second);
        self.rounds.iter_mut().for_each(|(ago, _)| *ago += seconds);
        while self.rounds.front().is_some_and(|(ago, _)| *ago > LATE) {
            self.rounds.pop_front();
        }
        if gained[1..].iter().any(|n| *n > 0) {
            self.rounds.push_back((0.0, gained));
        }
    }

    /// Errors of the last minute, in the order of [`ENDS`].
    fn errors(&self) -> Counts {
        let mut sum = Counts::default();
        for (_, gained) in &self.rounds {
            sum.iter_mut().zip(gained).for_each(|(sum, n)| *sum += n);
        }
        sum
    }
}

/// By the names of a router and a command.
#[derive(Default)]
pub(crate) struct Routers(BTreeMap<(String, String), Late>);

impl Routers {
    /// Starts from what there is, so that earlier requests are not seen as new.
    pub(crate) fn new(routers: &Names<RouterTally>) -> Self {
        let mut found = Routers::default();
        found.each(routers, |late, tally| *late = Late::since(tally));
        found
    }

    /// Called at each tick, `seconds` after the last time.
    pub(crate) fn tick(&mut self, routers: &Names<RouterTally>, seconds: f64) {
        self.each(routers, |late, tally| late.tick(tally, seconds));
    }

    /// Does so for each command there is; those that are gone are dropped.
    fn each(&mut self, routers: &Names<RouterTally>, mut with: impl FnMut(&mut Late, &CommandTally)) {
        let mut there = BTreeSet::new();
        for (router, tally) in routers.all() {
            for (command, tally) in tally.commands() {
                let key = (router.clone(), command);
                with(self.0.entry(key.clone()).or_default(), &tally);
                there.insert(key);
            }
        }
        self.0.retain(|key, _| there.contains(key));
    }

    /// Adds them to the state, by name: those that the program has.
    pub(crate) fn show(&self, routers: &Names<RouterTally>, state: &mut Value) {
        let shown = routers.all().into_iter().filter(|(_, router)| router.is_there()).map(|(name, router)| {
            let late = |command: &str| self.0.get(&(name.clone(), command.to_owned()));
            let commands = router.commands().into_iter().map(|(command, tally)| {
                let row = shown(&tally, late(&command));
                (command, row)
            });
            let commands: Map<_, _> = commands.collect();
            let (callers, others) = router.busiest(CALLERS);
            let callers: Vec<_> = callers.iter().map(|caller| caller_row(caller)).collect();
            let by_key = json!({"keys": callers, "others": others});
            (name, json!({"callers": router.callers(), "commands": commands, "by_key": by_key}))
        });
        state["routers"] = Value::Object(shown.collect());
    }
}

fn shown(tally: &CommandTally, late: Option<&Late>) -> Value {
    let (ended, times) = (tally.ended(), tally.times());
    let of_late = |q| late.and_then(|late| late.times.quantile(q));
    let lately = late.map(Late::errors).unwrap_or_default();
    let errors = ENDS.iter().zip(ended).zip(lately).skip(1).filter(|((_, n), _)| *n > 0);
    let errors = errors.map(|((kind, total), lately)| json!({"key": kind.replace('_', " "), "lately": lately, "total": total}));
    let per_second = late.map_or(0.0, |late| late.per_second);
    json!({
        "requests": tally.begun(),
        "errors": ended[1..].iter().sum::<u64>(),
        "lately": lately[1..].iter().sum::<u64>(),
        "running": tally.running(),
        // Few digits, and none that change for ever.
        "per_second": if per_second < 0.02 { 0.0 } else { (per_second * 100.0).round() / 100.0 },
        "p50": of_late(0.5),
        "p99": of_late(0.99),
        "all_p50": times.quantile(0.5),
        "all_p99": times.quantile(0.99),
        "by_key": {"keys": errors.collect::<Vec<_>>(), "others": 0},
    })
}

fn caller_row(caller: &CallerTally) -> Value {
    let [requests, running, errors] = caller.now();
    // The program itself has no connection.
    let (id, address) = if caller.id.is_empty() { ("–", "this process") } else { (&*caller.id, &*caller.address) };
    json!({"key": id, "address": address, "requests": requests, "running": running, "errors": errors})
}

#[cfg(test)]
mod tests {
    use super::*;
    use mountain_core::telemetry::SERIES;

    fn command(shown: &Value) -> &Value {
        &shown["routers"]["shop"]["commands"]["order"]
    }

    #[test]
    fn errors_are_of_late_for_a_minute_and_a_router_is_shown_while_it_is_there() {
        let routers = Names::<RouterTally>::new(SERIES);
        let router = routers.of("shop");
        router.open();
        let telemetry = mountain_core::telemetry::Telemetry::new(mountain_core::time::Clock::manual(), 10, Default::default);
        let order = telemetry.of_command(&router, "order");
        let here = router.here();
        here.refuse(&order, 1);
        let mut made = Routers::new(&routers);
        (0..3).for_each(|_| here.refuse(&order, 3));
        here.refuse(&order, 0);
        made.tick(&routers, 1.0);
        let state = |made: &Routers| {
            let mut state = json!({});
            made.show(&routers, &mut state);
            state
        };
        let shown = state(&made);
        assert_eq!(
            command(&shown)["by_key"]["keys"],
            json!([{"key": "failed", "lately": 0, "total": 1}, {"key": "timed out", "lately": 3, "total": 3}])
        );
        assert_eq!((&command(&shown)["lately"], &command(&shown)["errors"]), (&json!(3), &json!(4)));
        assert_eq!(command(&shown)["per_second"], json!(1.6));
        for _ in 0..61 {
            made.tick(&routers, 1.0);
        }
        let shown = state(&made);
        assert_eq!((&command(&shown)["lately"], &command(&shown)["per_second"]), (&json!(0), &json!(0.0)));
        assert_eq!(shown["routers"]["shop"]["by_key"]["keys"][0]["requests"], json!(5));
        router.close();
        assert_eq!(state(&made)["routers"], json!({}));
    }
}
