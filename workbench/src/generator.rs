//! Owns a simulated datacenter whose servers and services report metric events, and its parts in the
//! order in which an event is made. Making events is pure: time is an argument, chance is seeded.
//! Only `publish` does I/O.

pub mod settings; // what a load is to be like
pub mod options; // the same, from a command line
pub(crate) mod noise; // chance, seeded
mod json; // an event as text
pub mod anomaly; // what goes wrong, how often and for how long
mod server; // one server's readings
mod application; // one service's readings
mod disorder; // what chaos adds
pub mod malformed; // messages that must be refused
pub mod summary; // what was sent, counted
mod pace; // when events are due
pub mod publish; // to Kafka

pub use anomaly::Anomaly;
pub use malformed::Malformed;
pub use settings::{Config, Settings};
pub use summary::Summary;

use anomaly::Temper;
use application::Application;
use disorder::Disorder;
use jiff::Timestamp;
use json::{Clock, Line};
use malformed::Sender;
use noise::Dice;
use rand::SeedableRng as _;
use server::Server;

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A well-formed `server_metric`.
    ServerMetric,
    /// A well-formed `application_metric`.
    ApplicationMetric,
    /// A message that a consumer must refuse.
    Malformed(Malformed),
}

/// One message; it borrows from the generator until the next one is made.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The id of the server that it comes from: events of one server stay in order.
    pub key: &'a [u8],
    /// The payload; none for a tombstone.
    pub payload: Option<&'a [u8]>,
    /// What it is.
    pub kind: Kind,
    /// What went wrong at its sender when it was read.
    pub anomaly: Option<Anomaly>,
}

/// The datacenter. Every server and service reports once a round, in an order that changes.
pub struct Generator {
    temper: Temper,
    servers: Vec<Server>,
    services: Vec<Application>,
    /// Who reports in this round: servers first, then services, by number.
    round: Vec<usize>,
    at: usize,
    dice: Dice,
    disorder: Option<Disorder>,
    malformed_ratio: f64,
    malice: Dice,
    clock: Clock,
    line: Line,
    time: Time,
    seed: u64,
}

/// Where an event's time comes from.
struct Time {
    /// The first event's time, where events don't follow the wall clock.
    start: Option<i64>,
    /// The first event's time of day, where values don't follow the wall clock.
    model_start: Option<i64>,
    micros_per_event: f64,
    made: u64,
}

impl Time {
    /// Midnight of the day on which values begin when only a seed is given.
    const MODEL_START: i64 = 1_735_689_600_000_000;
    /// The rate at which time passes for events that are made as fast as it goes.
    const NOMINAL_RATE: f64 = 100.0;

    fn new(settings: &Settings) -> Self {
        let rate = if settings.rate > 0.0 {
            settings.rate
        } else {
            Self::NOMINAL_RATE
        };
        let start = settings.start_time.map(Timestamp::as_microsecond);
        Self {
            start,
            model_start: start.or(settings.seed.map(|_| Self::MODEL_START)),
            micros_per_event: 1_000_000.0 / rate,
            made: 0,
        }
    }

    /// The next event's timestamp and the time that its values follow, in microseconds since the epoch.
    /// A seed alone fixes the values but not the timestamps, so the values can't follow the wall clock.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "microseconds of a run fit in 53 bits"
    )]
    fn next(&mut self, now: Timestamp) -> (i64, i64) {
        let now = now.as_microsecond();
        let passed = (self.made as f64 * self.micros_per_event) as i64;
        self.made += 1;
        let of = |start: Option<i64>| start.map_or(now, |start| start.saturating_add(passed));
        (of(self.start), of(self.model_start))
    }
}

impl Generator {
    /// A datacenter as it is set; `settings` without mistakes.
    pub fn new(settings: &Settings) -> Self {
        let seed = settings
            .seed
            .unwrap_or_else(|| rand::RngCore::next_u64(&mut rand::rngs::SmallRng::from_os_rng()));
        let temper = Temper::new(settings.anomaly_probability, settings.config);
        let mut dice = Dice::new(seed, 0);
        let servers: Vec<Server> = (0..settings.servers)
            .map(|index| Server::new(index, &temper, &mut dice))
            .collect();
        let services: Vec<Application> = (0..settings.services)
            .map(|index| Application::new(index, servers.len(), &temper, &mut dice))
            .collect();
        let round: Vec<usize> = (0..servers.len() + services.len()).collect();
        Self {
            temper,
            at: round.len(),
            servers,
            services,
            round,
            dice,
            disorder: (settings.config == Config::Chaos).then(|| Disorder::new(Dice::new(seed, 1))),
            malformed_ratio: settings.malformed_ratio,
            malice: Dice::new(seed, 2),
            clock: Clock::default(),
            line: Line::default(),
            time: Time::new(settings),
            seed,
        }
    }

    /// The seed that makes the same values again.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Makes the next event; `now` is its time unless a start time is set.
    pub fn next_event(&mut self, now: Timestamp) -> Event<'_> {
        let (moment, model) = self.time.next(now);
        let moment = match &mut self.disorder {
            Some(disorder) => disorder.moment(moment),
            None => moment,
        };
        let busy = noise::busyness(model);
        let reporter = self.reporter();
        let timestamp = self.clock.text(moment);
        let (sender, server, mut kind, anomaly) = if let Some(server) = self.servers.get_mut(reporter) {
            let (reading, anomaly) = server.read(busy, &self.temper, &mut self.dice);
            server.write(&reading, timestamp, &mut self.line);
            (Sender::Server, reporter, Kind::ServerMetric, anomaly)
        } else {
            let service = &mut self.services[reporter - self.servers.len()];
            let (reading, anomaly) = service.read(busy, &self.temper, &mut self.dice);
            let server = service.replica(&mut self.dice);
            let id = &self.servers[server].id;
            service.write(&reading, timestamp, id, &mut self.dice, &mut self.line);
            (Sender::Service, server, Kind::ApplicationMetric, anomaly)
        };

        // One defect a message: a second one could change the reason for which it is refused.
        if let Some(disorder) = &mut self.disorder
            && let Some(malformed) = disorder.stir(&mut self.line)
        {
            kind = Kind::Malformed(malformed);
        } else if self.malice.chance(self.malformed_ratio) {
            let malformed = self.malice.pick(&Malformed::ALL);
            malformed::spoil(malformed, sender, &mut self.line, &mut self.malice);
            kind = Kind::Malformed(malformed);
        }
        Event {
            key: self.servers[server].id.as_bytes(),
            payload: (kind != Kind::Malformed(Malformed::Tombstone)).then(|| self.line.bytes()),
            kind,
            anomaly,
        }
    }

    fn reporter(&mut self) -> usize {
        if self.at == self.round.len() {
            self.dice.shuffle(&mut self.round);
            self.at = 0;
        }
        self.at += 1;
        self.round[self.at - 1]
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod refusals;
