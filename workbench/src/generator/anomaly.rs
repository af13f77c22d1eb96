//! Owns what goes wrong in a datacenter, how often, how badly and for how long. What an anomaly does
//! to the values is told where the values are made: `server`, `application`.

use super::noise::Dice;
use super::settings::Config;

/// A kind of trouble. Each lasts for some tens of readings of the server or service that it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Anomaly {
    /// Processors busy to the brim; heat and power follow.
    CpuSpike,
    /// Memory that only grows, until the server swaps.
    MemoryLeak,
    /// Cooling fails: fans spin up, leakage draws power.
    HighTemperature,
    /// Power far above what the load explains.
    PowerSurge,
    /// The network link is full in both directions.
    NetworkSaturation,
    /// The disks are at their limit and processors wait for them.
    DiskBottleneck,
    /// A service answers late; its queue and connections pile up.
    LatencySpike,
    /// A service answers with errors.
    ErrorBurst,
}

impl Anomaly {
    /// Those of a server.
    pub const OF_SERVERS: [Self; 6] = [
        Self::CpuSpike,
        Self::MemoryLeak,
        Self::HighTemperature,
        Self::PowerSurge,
        Self::NetworkSaturation,
        Self::DiskBottleneck,
    ];
    /// Those of a service.
    pub const OF_SERVICES: [Self; 2] = [Self::LatencySpike, Self::ErrorBurst];
}

/// An anomaly as one reading feels it.
#[derive(Clone, Copy)]
pub(super) struct Trouble {
    pub(super) anomaly: Anomaly,
    /// From 0, nothing, over 1, clearly seen by any alert, to 1.5 in chaos.
    pub(super) strength: f64,
}

impl Trouble {
    /// The strength of `anomaly` in what a reading feels: 0 when it is another or none.
    pub(super) fn of(trouble: Option<Self>, anomaly: Anomaly) -> f64 {
        trouble.map_or(0.0, |t| if t.anomaly == anomaly { t.strength } else { 0.0 })
    }
}

/// How often and how badly things go wrong.
#[derive(Clone, Copy)]
pub(super) struct Temper {
    /// The share of all readings that an anomaly touches.
    share: f64,
    /// The probability that a calm reading is followed by the start of an anomaly.
    onset: f64,
    severity: (f64, f64),
}

impl Temper {
    /// An anomaly's length in readings, from and below.
    const LENGTH: (u32, u32) = (20, 100);

    pub(super) fn new(probability: f64, config: Config) -> Self {
        let (share, severity) = match config {
            Config::Normal => (probability, (0.6, 1.0)),
            // Six chances where there was one.
            Config::Chaos => (1.0 - (1.0 - probability).powi(6), (0.9, 1.5)),
        };
        // A cycle is 1 / onset readings of calm and then the anomaly: solved for its share of both.
        let length = f64::from(Self::LENGTH.0 + Self::LENGTH.1 - 1) / 2.0;
        let onset = if share < 1.0 {
            (share / (length * (1.0 - share))).min(1.0)
        } else {
            1.0
        };
        Self {
            share,
            onset,
            severity,
        }
    }
}

struct Episode {
    anomaly: Anomaly,
    severity: f64,
    age: u32,
    length: u32,
}

/// The troubles of one server or service, one after the other.
pub(super) struct Fate {
    kinds: &'static [Anomaly],
    episode: Option<Episode>,
}

impl Fate {
    /// Begins as if it had been running for long: in the middle of an anomaly as often as any later
    /// reading, so that short runs have their share too.
    pub(super) fn new(kinds: &'static [Anomaly], temper: &Temper, dice: &mut Dice) -> Self {
        let mut fate = Self { kinds, episode: None };
        if dice.chance(temper.share) {
            let mut episode = fate.strike(temper, dice);
            episode.age = u32::try_from(dice.below(episode.length as usize)).unwrap_or(0);
            fate.episode = Some(episode);
        }
        fate
    }

    /// What the next reading feels.
    pub(super) fn next(&mut self, temper: &Temper, dice: &mut Dice) -> Option<Trouble> {
        if self.episode.as_ref().is_some_and(|e| e.age >= e.length) {
            self.episode = None;
        }
        if self.episode.is_none() && dice.chance(temper.onset) {
            self.episode = Some(self.strike(temper, dice));
        }
        let episode = self.episode.as_mut()?;
        episode.age += 1;
        let progress = f64::from(episode.age) / f64::from(episode.length);
        let envelope = match episode.anomaly {
            // A leak grows until somebody restarts the process.
            Anomaly::MemoryLeak => progress,
            // The others come within a tenth of their time and go as fast.
            _ => (progress * 10.0).min((1.0 - progress) * 10.0 + 0.1).min(1.0),
        };
        Some(Trouble {
            anomaly: episode.anomaly,
            strength: episode.severity * envelope,
        })
    }

    fn strike(&self, temper: &Temper, dice: &mut Dice) -> Episode {
        let (shortest, below) = Temper::LENGTH;
        let spread = dice.below((below - shortest) as usize);
        Episode {
            anomaly: dice.pick(self.kinds),
            severity: dice.between(temper.severity.0, temper.severity.1),
            age: 0,
            length: shortest + u32::try_from(spread).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touched(probability: f64, config: Config) -> f64 {
        let temper = Temper::new(probability, config);
        let mut dice = Dice::new(3, 0);
        let mut fate = Fate::new(&Anomaly::OF_SERVERS, &temper, &mut dice);
        let touched = (0..500_000)
            .filter(|_| fate.next(&temper, &mut dice).is_some())
            .count();
        f64::from(u32::try_from(touched).expect("at most 500,000")) / 500_000.0
    }

    #[test]
    fn the_probability_is_the_share_of_readings_that_are_touched() {
        assert!(touched(0.0, Config::Normal) == 0.0);
        assert!((touched(0.05, Config::Normal) - 0.05).abs() < 0.01);
        assert!((touched(0.5, Config::Normal) - 0.5).abs() < 0.05);
        assert!(touched(1.0, Config::Normal) > 0.999);
        assert!((touched(0.05, Config::Chaos) - 0.265).abs() < 0.04);
    }

    #[test]
    fn a_leak_only_grows_and_a_spike_comes_and_goes() {
        let temper = Temper::new(1.0, Config::Normal);
        let mut dice = Dice::new(4, 0);
        for kind in Anomaly::OF_SERVERS {
            let mut fate = Fate {
                kinds: &Anomaly::OF_SERVERS,
                episode: Some(Episode {
                    anomaly: kind,
                    severity: 1.0,
                    age: 0,
                    length: 40,
                }),
            };
            let strengths: Vec<f64> = (0..40)
                .map(|_| Trouble::of(fate.next(&temper, &mut dice), kind))
                .collect();
            assert!(strengths[20] > 0.5);
            if kind == Anomaly::MemoryLeak {
                assert!(strengths.windows(2).all(|w| w[0] < w[1]));
            } else {
                assert!(strengths[0] < strengths[5] && strengths[39] < strengths[30]);
            }
        }
    }
}
