//! Fallback as a layer: a ladder, and what it leaves alone.

use mountain_core::effect::Verdict;
use mountain_core::policy::Layer;

use super::common::{Act, End, Fail, Stage, at, limit, secs};

#[test]
fn a_ladder_goes_from_the_inside_out() {
    let stage = Stage::new([Act::fails(1), Act::fails(2), Act::value(secs(1))]);
    let (result, when) = stage.play(&[Layer::Fallback, Layer::Fallback]);
    assert_eq!((result.unwrap(), when), (7, at(1)));
    let asked: Vec<_> = stage.leaf.stood_in_for().into_iter().map(|(layer, fault)| (layer, format!("{fault:?}"))).collect();
    assert_eq!(asked, [(1, "Plain(1)".to_owned()), (0, "Plain(2)".to_owned())]);
    assert!(stage.is_degraded());
}

#[test]
fn it_stands_in_for_what_on_names_and_for_no_exit() {
    let no = Stage::on([Act::fails(1)], |_, _| Ok(Verdict::No));
    assert!(matches!(no.play(&[Layer::Fallback]).0, Err(Fail::Plain(1))));
    let exit = Stage::new([Act::new(secs(0), End::Exit)]);
    assert!(matches!(exit.play(&[Layer::Fallback]).0, Err(Fail::Exit)));
    assert!(exit.leaf.stood_in_for().is_empty() && !exit.is_degraded());
}

#[test]
fn a_limit_inside_can_be_stood_in_for_and_one_outside_is_final() {
    let inside = Stage::new([Act::hangs(), Act::value(secs(1))]);
    assert_eq!(inside.play(&[Layer::Fallback, limit(2)]).0.unwrap(), 7);
    assert_eq!(inside.clock.now(), at(3));
    let outside = Stage::new([Act::hangs()]);
    assert!(matches!(outside.play(&[limit(2), Layer::Fallback]).0, Err(Fail::TimedOut(_))));
    assert!(outside.leaf.stood_in_for().is_empty());
    // It limits what stands in, too.
    let slow = Stage::new([Act::fails(1), Act::hangs()]);
    let (result, when) = slow.play(&[limit(2), Layer::Fallback]);
    assert!(matches!(result, Err(Fail::TimedOut(_))) && when == at(2));
}
