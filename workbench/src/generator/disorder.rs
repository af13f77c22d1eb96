//! Owns what chaos does to events that stay well-formed, or nearly: timestamps that are late, fields
//! that nobody asked for, fields in any order, types that nobody knows.

use super::json::Line;
use super::malformed::{Malformed, unknown_type};
use super::noise::Dice;

/// Shares of the events that each disorder strikes.
const LATE: f64 = 0.05;
const EXTRA_FIELDS: f64 = 0.1;
const ANY_ORDER: f64 = 0.25;
const UNKNOWN_TYPE: f64 = 0.01;

/// Disorder with a stream of chance of its own.
pub(super) struct Disorder(Dice);

impl Disorder {
    pub(super) fn new(dice: Dice) -> Self {
        Self(dice)
    }

    /// An event's time: some come up to ten minutes late, behind younger ones of the same server.
    pub(super) fn moment(&mut self, micros: i64) -> i64 {
        if !self.0.chance(LATE) {
            return micros;
        }
        let late = i64::try_from(self.0.below(600_000)).unwrap_or(0);
        micros - 1_000 * late
    }

    /// Stirs a finished event; tells when no consumer can take it any more.
    pub(super) fn stir(&mut self, line: &mut Line) -> Option<Malformed> {
        if self.0.chance(EXTRA_FIELDS) {
            for (name, value) in [
                ("firmware_version", "\"2.14.1\""),
                ("labels", "{\"team\": \"platform\", \"tier\": 1}"),
                ("gpu_usage_percent", "null"),
                ("note", "\"température élevée \\ud83d\\udd25\""),
            ] {
                if self.0.chance(0.5) {
                    line.append(name, value);
                }
            }
        }
        let unknown = self.0.chance(UNKNOWN_TYPE);
        if unknown {
            unknown_type(line, &mut self.0);
        }
        if self.0.chance(ANY_ORDER) {
            line.shuffle(&mut self.0);
        }
        unknown.then_some(Malformed::UnknownType)
    }
}
