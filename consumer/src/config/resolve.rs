//! Owns the second step: settings as typed become the validated configuration, or the list of everything wrong with it.
//! What a single value must look like is `values`' business; here is what holds between them.

mod postgres; // how to reach PostgreSQL, and as whom
mod security; // the options for Kafka's security, as librdkafka's properties

use super::problem::{Problem, Source};
use super::settings::{self, Default, SETTINGS, Setting};
use super::typed::Typed;
use super::values::{self, Parsed};
use super::{
    BatchConfig, Config, ConfigError, Effective, KafkaConfig, LogConfig, LogFormat, Route, properties,
};

/// A day: more than that in a timeout is a mistake of units.
const DAY: u32 = 24 * 60 * 60;
/// What a run can last: ten years.
const LONG: u32 = 3650 * DAY;
const MILLION: u64 = 1_000_000;

/// Validates everything; the problems of the first step are told together with those found here.
pub(super) fn config(typed: &Typed, problems: Vec<Problem>) -> Result<Config, ConfigError> {
    let mut resolver = Resolver { typed, problems };
    let config = resolver.config();
    if resolver.problems.is_empty() {
        return Ok(config);
    }
    // In the order of the help; first what belongs to no setting.
    let place = |it: &Problem| SETTINGS.iter().position(|setting| Some(setting) == it.setting);
    resolver.problems.sort_by_key(place);
    Err(ConfigError {
        problems: resolver.problems,
    })
}

struct Resolver<'a> {
    typed: &'a Typed,
    problems: Vec<Problem>,
}

impl Resolver<'_> {
    /// The whole, with the default in the place of each value that is wrong: the list of problems tells whether
    /// it may be used.
    fn config(&mut self) -> Config {
        let workers = self.one("workers", |text| values::whole(text, 1, 256));
        let mut properties = self.properties();
        let secret_files = self.kafka_security(&mut properties);
        self.one_member_id_for_one_worker(workers, &properties);
        let effective = Effective::of(self.typed);
        Config {
            kafka: KafkaConfig {
                servers: self.one("kafka-servers", values::servers),
                topic: self.one("topic", values::topic),
                group_id: self.one("group-id", |text| values::name(text, 249)),
                offset_reset: self.one("offset-reset", values::offset_reset),
                properties,
                secret_files,
                oauth: self.oauth(),
                max_poll_records: self.count("max-poll-records"),
            },
            postgres: self.postgres(),
            batch: BatchConfig {
                size: self.count("batch-size"),
                interval: self.one("commit-interval", |text| values::seconds(text, DAY)),
                max_bytes: self.one("max-batch-bytes", values::bytes),
            },
            routes: self.routes(),
            unknown_types: self.one("unknown-types", values::unknown_types),
            workers: u16::try_from(workers).unwrap_or(1),
            duration: self.optional("duration", |text| values::some_seconds(text, LONG)),
            shutdown_timeout: self.one("shutdown-timeout", |text| values::seconds(text, DAY)),
            startup_timeout: self.optional("startup-timeout", |text| values::seconds(text, DAY)),
            migrate: !self.optional("no-migrate", values::flag).unwrap_or(false),
            indexes: self.optional("indexes", values::indexes),
            http_listen: self.one("http-listen", values::listen),
            http_names: self.optional("http-names", values::names).unwrap_or_default(),
            log: LogConfig {
                level: self.one("log-level", values::log_level),
                format: self.optional::<LogFormat>("log-format", values::log_format),
            },
            effective,
            exposed: self.typed.exposed(),
        }
    }

    /// A setting without a default: `None` where it is not given, or wrong.
    fn optional<T>(&mut self, name: &str, parse: impl Fn(&str) -> Parsed<T>) -> Option<T> {
        let given = self.typed.first(name)?;
        match parse(&given.text) {
            Ok(value) => Some(value),
            Err(what) => {
                self.problems.push(Problem::value(
                    given.setting,
                    given.source.clone(),
                    &given.text,
                    &what,
                ));
                None
            }
        }
    }

    /// A setting with a default.
    fn one<T>(&mut self, name: &str, parse: impl Fn(&str) -> Parsed<T>) -> T {
        self.optional(name, &parse).unwrap_or_else(|| {
            let default = defaults(settings::setting(name))
                .first()
                .expect("this setting has a default");
            parse(default).expect("defaults are valid")
        })
    }

    fn count(&mut self, name: &str) -> usize {
        let count = self.one(name, |text| values::whole(text, 1, MILLION));
        usize::try_from(count).expect("a million fits")
    }

    /// The Kafka properties. A key that several sources give has the value of the highest.
    fn properties(&mut self) -> Vec<(String, String)> {
        let mut taken: Vec<(Source, (String, String))> = Vec::new();
        for given in self.typed.all("kafka-property") {
            match properties::property(&given.text) {
                Err(what) => self
                    .problems
                    .push(Problem::new(given.setting, given.source.clone(), what)),
                Ok(pair) => match taken.iter().find(|(_, (key, _))| *key == pair.0) {
                    Some((source, _)) if *source == given.source => {
                        let what = format!("{} is given twice", pair.0);
                        self.problems
                            .push(Problem::new(given.setting, given.source.clone(), what));
                    }
                    Some(_) => {}
                    None => taken.push((given.source.clone(), pair)),
                },
            }
        }
        taken.into_iter().map(|(_, pair)| pair).collect()
    }

    /// The routes: the built-in ones, unless the same type is routed elsewhere; then the rest.
    fn routes(&mut self) -> Vec<Route> {
        let setting = settings::setting("route");
        let mut taken: Vec<(Source, Route)> = Vec::new();
        for text in defaults(setting) {
            let (event_type, table) = values::route(text).expect("defaults are valid");
            taken.push((Source::Default, Route { event_type, table }));
        }
        for given in self.typed.all("route") {
            let parsed = values::route(&given.text);
            let (event_type, table) = match parsed {
                Ok(route) => route,
                Err(what) => {
                    let problem = Problem::value(setting, given.source.clone(), &given.text, &what);
                    self.problems.push(problem);
                    continue;
                }
            };
            let known = taken.iter_mut().find(|(_, route)| route.event_type == event_type);
            match known {
                None => taken.push((given.source.clone(), Route { event_type, table })),
                Some((source, route)) if *source == Source::Default => {
                    route.table = table;
                    *source = given.source.clone();
                }
                Some((source, route)) if *source == given.source => {
                    let what = if route.table == table {
                        "repeats a route".to_owned()
                    } else {
                        format!(
                            "contradicts another route: its type goes to {} already",
                            route.table
                        )
                    };
                    self.problems
                        .push(Problem::value(setting, given.source.clone(), &given.text, &what));
                }
                Some(_) => {} // a higher source has said where this type goes
            }
        }
        taken.into_iter().map(|(_, route)| route).collect()
    }

    /// All workers of the process would join the group under the same static id and throw each other out.
    fn one_member_id_for_one_worker(&mut self, workers: u64, properties: &[(String, String)]) {
        const KEY: &str = "group.instance.id";
        if workers > 1 && properties.iter().any(|(key, _)| key == KEY) {
            let setting = settings::setting("kafka-property");
            let source = self
                .typed
                .all("kafka-property")
                .find(|given| given.text.starts_with(KEY))
                .map_or(Source::Default, |given| given.source.clone());
            let what =
                format!("{KEY} names one member of the group, and there are {workers} --workers: run one");
            self.problems.push(Problem::new(setting, source, what));
        }
    }
}

pub(super) fn defaults(setting: &Setting) -> &'static [&'static str] {
    match setting.default {
        Default::Values(values) => values,
        Default::Unset(_) => &[],
    }
}
