//! One retry over one leaf.

use mountain_core::effect::Verdict;

use super::common::{Act, End, Fail, Stage, at, at_once, doubling, play, secs};

#[test]
fn attempts_are_counted_in_total() {
    let stage = Stage::new([Act::fails(1), Act::fails(2), Act::fails(3), Act::value(secs(0))]);
    let (result, end) = stage.play(&[doubling(3)]);
    assert!(matches!(result, Err(Fail::Plain(3))), "the last failure is the result");
    assert_eq!(end, at(3));
    assert_eq!(stage.leaf.begun(), [at(0), at(1), at(3)]);
}

#[test]
fn one_attempt_is_no_retry() {
    let stage = Stage::on([Act::fails(1)], |_, _| panic!("nothing is left to decide"));
    assert!(matches!(stage.play(&[doubling(1)]).0, Err(Fail::Plain(1))));
}

#[test]
fn none_goes_on_without_end() {
    let mut script = vec![Act::fails(1); 1000];
    script.push(Act::value(secs(0)));
    let stage = Stage::new(script);
    assert!(matches!(stage.play(&[at_once(None)]).0, Ok(7)));
    assert_eq!(stage.leaf.begun().len(), 1001);
}

#[test]
fn a_verdict_of_no_is_the_end() {
    let on = |_: usize, fault: &Fail| Ok(if matches!(fault, Fail::Plain(1)) { Verdict::Yes } else { Verdict::No });
    let stage = Stage::on([Act::fails(1), Act::fails(2)], on);
    assert!(matches!(stage.play(&[doubling(9)]).0, Err(Fail::Plain(2))));
    assert_eq!(stage.leaf.begun().len(), 2);
}

#[test]
fn an_error_out_of_on_propagates() {
    let stage = Stage::on([Act::fails(1)], |_, _| Err(Fail::Plain(99)));
    let (result, end) = stage.play(&[doubling(9)]);
    assert!(matches!(result, Err(Fail::Plain(99))));
    assert_eq!((end, stage.leaf.begun().len()), (at(0), 1));
}

#[test]
fn a_server_says_how_long_to_wait() {
    let stage = Stage::on([Act::fails(1), Act::fails(2), Act::value(secs(0))], |_, fault| {
        Ok(Verdict::After(if matches!(fault, Fail::Plain(1)) { 7.0 } else { 1e10 }))
    });
    assert!(stage.play(&[doubling(9)]).0.is_ok());
    assert_eq!(stage.leaf.begun(), [at(0), at(7), at(67)], "believed, and capped at a minute");
}

#[test]
fn stops_and_exits_are_not_shown_to_on() {
    for end in [End::Stopped, End::Exit] {
        let stage = Stage::on([Act::new(secs(1), end)], |_, fault| panic!("asked about {fault:?}"));
        assert!(stage.play(&[doubling(9)]).0.is_err());
        assert_eq!(stage.leaf.begun().len(), 1);
    }
}

#[test]
fn retries_multiply_and_each_is_asked_by_its_own_place() {
    let stage = Stage::on([Act::fails(1)], |layer, _| Ok(if layer == 0 { Verdict::No } else { Verdict::Yes }));
    assert!(stage.play(&[at_once(2), at_once(3)]).0.is_err());
    assert_eq!(stage.leaf.begun().len(), 3, "only the inner one goes on");
    let stage = Stage::new([Act::fails(1)]);
    assert!(stage.play(&[at_once(2), at_once(3)]).0.is_err());
    assert_eq!(stage.leaf.begun().len(), 6);
}

#[test]
fn the_count_begins_anew_with_each_call_of_an_inner_retry() {
    let (_, end) = play(&[at_once(2), doubling(3)], [Act::fails(1)]);
    assert_eq!(end, at(6), "1 + 2, twice");
}
