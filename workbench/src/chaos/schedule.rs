//! Owns the order of the faults: what, how long, after which pause, drawn from a seed. Pure: the same seed gives the
//! same schedule, however the run goes.

use std::time::Duration;

use super::fault::{Fault, Kind};
use crate::generator::noise::Dice;

/// Between the recovery from a step and the next one, in seconds.
const PAUSE: (f64, f64) = (0.3, 2.0);
/// So many steps of a hundred have two faults at a time.
const TWO_AT_A_TIME: f64 = 0.15;
/// Seeds of the load and of the schedule are of different streams.
const STREAM: u64 = 77;

/// What happens next, after which pause.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) pause: Duration,
    /// One, or two of different parts.
    pub(super) faults: Vec<Fault>,
}

/// Steps without end. Every kind comes once before one comes again.
pub(super) struct Schedule {
    dice: Dice,
    kinds: Vec<Kind>,
    bag: Vec<Kind>,
}

impl Schedule {
    /// `kinds` is all that may happen; not empty.
    pub(super) fn new(seed: u64, kinds: &[Kind]) -> Self {
        Self {
            dice: Dice::new(seed, STREAM),
            kinds: kinds.to_vec(),
            bag: Vec::new(),
        }
    }

    /// The next kind that `fits`, in the bag's order.
    fn draw(&mut self, fits: impl Fn(Kind) -> bool) -> Option<Kind> {
        if self.bag.is_empty() {
            self.bag.clone_from(&self.kinds);
            self.dice.shuffle(&mut self.bag);
        }
        let at = self.bag.iter().rposition(|kind| fits(*kind))?;
        Some(self.bag.remove(at))
    }

    fn fault(&mut self, kind: Kind) -> Fault {
        let (from, to) = kind.seconds();
        Fault {
            kind,
            lasts: self.duration(from, to),
            dice: self.dice.below(1_000_000),
        }
    }

    fn duration(&mut self, from: f64, to: f64) -> Duration {
        Duration::from_secs_f64(self.dice.between(from, to))
    }
}

impl Iterator for Schedule {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let pause = self.duration(PAUSE.0, PAUSE.1);
        let first = self.draw(|_| true)?;
        let mut faults = vec![self.fault(first)];
        if self.dice.chance(TWO_AT_A_TIME)
            && let Some(second) = self.draw(|kind| kind.part() != first.part())
        {
            faults.push(self.fault(second));
        }
        Some(Step { pause, faults })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_schedule() {
        let kinds: Vec<Kind> = Kind::all().collect();
        let steps = |seed| Schedule::new(seed, &kinds).take(200).collect::<Vec<_>>();
        assert_eq!(steps(42), steps(42));
        assert_ne!(steps(42), steps(43));
    }

    #[test]
    fn every_kind_comes_about_as_often_as_the_others_and_two_at_a_time_are_of_different_parts() {
        let kinds: Vec<Kind> = Kind::all().collect();
        let steps: Vec<Step> = Schedule::new(7, &kinds).take(10 * kinds.len()).collect();
        for kind in kinds {
            let times = steps
                .iter()
                .flat_map(|step| &step.faults)
                .filter(|fault| fault.kind == kind)
                .count();
            assert!((9..=13).contains(&times), "{}: {times}", kind.name());
        }
        let pairs: Vec<_> = steps.iter().filter(|step| step.faults.len() == 2).collect();
        assert!((20..80).contains(&pairs.len()), "{}", pairs.len());
        assert!(
            pairs
                .iter()
                .all(|step| step.faults[0].kind.part() != step.faults[1].kind.part())
        );
    }
}
