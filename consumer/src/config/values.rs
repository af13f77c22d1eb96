//! Owns what a single value must look like. Each function takes the text as typed and returns the value, or the rest of
//! a sentence that begins with that text. No value is printed here: some are secrets.

use super::{Indexes, LogFormat, LogLevel, OffsetReset, RootCertificates, Secret, SslMode, UnknownTypes};
use crate::table::TableName;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

pub(super) type Parsed<T> = Result<T, String>;

fn one_of<T: Copy>(text: &str, choices: &[(&str, T)]) -> Parsed<T> {
    let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        format!("is not one of {}", names.join(", "))
    })
}

pub(super) fn offset_reset(text: &str) -> Parsed<OffsetReset> {
    one_of(
        text,
        &[
            ("earliest", OffsetReset::Earliest),
            ("latest", OffsetReset::Latest),
        ],
    )
}

pub(super) fn unknown_types(text: &str) -> Parsed<UnknownTypes> {
    one_of(
        text,
        &[
            ("dead-letter", UnknownTypes::DeadLetter),
            ("skip", UnknownTypes::Skip),
        ],
    )
}

pub(super) fn indexes(text: &str) -> Parsed<Indexes> {
    one_of(text, &[("btree", Indexes::Btree), ("brin", Indexes::Brin)])
}

pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    one_of(text, &[("json", LogFormat::Json), ("text", LogFormat::Text)])
}

pub(super) fn log_level(text: &str) -> Parsed<LogLevel> {
    if text.eq_ignore_ascii_case("warn") {
        return Ok(LogLevel::Warning);
    }
    one_of(
        text,
        &[
            ("TRACE", LogLevel::Trace),
            ("DEBUG", LogLevel::Debug),
            ("INFO", LogLevel::Info),
            ("WARNING", LogLevel::Warning),
            ("ERROR", LogLevel::Error),
            ("CRITICAL", LogLevel::Critical),
        ],
    )
}

pub(super) fn ssl_mode(text: &str) -> Parsed<SslMode> {
    one_of(
        text,
        &[
            ("disable", SslMode::Disable),
            ("prefer", SslMode::Prefer),
            ("require", SslMode::Require),
            ("verify-ca", SslMode::VerifyCa),
            ("verify-full", SslMode::VerifyFull),
        ],
    )
}

/// A file, or the word for those of the system.
pub(super) fn root_certificates(text: &str) -> Parsed<RootCertificates> {
    if text == "system" {
        return Ok(RootCertificates::System);
    }
    readable(text).map(RootCertificates::File)
}

/// The path of a file that can be read now. What it holds is the reader's business.
pub(super) fn readable(text: &str) -> Parsed<PathBuf> {
    match std::fs::File::open(text).and_then(|file| file.metadata()) {
        Ok(metadata) if metadata.is_dir() => Err("is a folder, where a file belongs".to_owned()),
        Ok(_) => Ok(PathBuf::from(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err("is a file that is not there".to_owned())
        }
        Err(error) => Err(format!("is a file that cannot be read: {error}")),
    }
}

/// The protocol in librdkafka's words.
pub(super) fn security_protocol(text: &str) -> Parsed<&'static str> {
    let names = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];
    one_of(text, &names.map(|name| (name, name)))
}

/// The mechanism in librdkafka's words: those that this build has.
pub(super) fn sasl_mechanism(text: &str) -> Parsed<&'static str> {
    let names = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"];
    one_of(text, &names.map(|name| (name, name)))
}

/// A text that librdkafka gets: any that C can hold.
pub(super) fn word(text: &str) -> Parsed<String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("is empty, or holds a control character".to_owned());
    }
    Ok(text.to_owned())
}

/// Where tokens are fetched.
pub(super) fn http_url(text: &str) -> Parsed<String> {
    let host = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    // What stands before an "@" is a secret, and no place for one: it would be shown.
    let fits = host.is_some_and(|host| {
        !host.is_empty()
            && !host.contains(|char: char| char == '@' || char.is_whitespace() || char.is_control())
    });
    let what = "is not a URL, such as https://login.internal/oauth2/token, without user and password";
    fits.then(|| text.to_owned()).ok_or_else(|| what.to_owned())
}

/// A secret: any text that C can hold.
pub(super) fn secret(text: &str) -> Parsed<Secret> {
    if text.contains('\0') {
        return Err("holds a NUL character".to_owned());
    }
    Ok(Secret::new(text))
}

pub(super) fn flag(text: &str) -> Parsed<bool> {
    one_of(text, &[("true", true), ("false", false)])
}

/// A whole number of a range.
pub(super) fn whole(text: &str, min: u64, max: u64) -> Parsed<u64> {
    let number = text
        .trim()
        .parse()
        .ok()
        .filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| format!("is not a whole number from {min} to {max}"))
}

pub(super) fn port(text: &str) -> Parsed<u16> {
    let number = text.trim().parse().ok().filter(|port| *port != 0);
    number.ok_or_else(|| {
        let mut what = "is not a port from 1 to 65535".to_owned();
        if text.starts_with("tcp://") {
            // A well-known trap: the cluster itself sets POSTGRES_PORT in every pod beside a service "postgres".
            what += "; Kubernetes sets this variable for a service named \"postgres\": give the option, \
                     or set enableServiceLinks: false in the pod";
        }
        what
    })
}

/// Seconds, with a fraction if need be, up to `max` seconds.
pub(super) fn seconds(text: &str, max: u32) -> Parsed<Duration> {
    let number: Option<f64> = text.trim().parse().ok();
    let number = number.filter(|number| (0.0..=f64::from(max)).contains(number));
    number
        .and_then(|number| Duration::try_from_secs_f64(number).ok())
        .ok_or_else(|| format!("is not a number of seconds from 0 to {max}, such as 2.5"))
}

/// Seconds of which there must be some.
pub(super) fn some_seconds(text: &str, max: u32) -> Parsed<Duration> {
    seconds(text, max)
        .ok()
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("is not a number of seconds above 0 and up to {max}, such as 2.5"))
}

/// At least a second: a shorter one would end statements that a busy server only has not come to.
pub(super) fn statement_timeout(text: &str) -> Parsed<Duration> {
    const HOUR: u32 = 60 * 60;
    seconds(text, HOUR)
        .ok()
        .filter(|duration| *duration >= Duration::from_secs(1))
        .ok_or_else(|| format!("is not a number of seconds from 1 to {HOUR}, such as 30"))
}

const KIB: u64 = 1024;
const UNITS: &[(&str, u64)] = &[
    ("KiB", KIB),
    ("MiB", KIB * KIB),
    ("GiB", KIB * KIB * KIB),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
    ("", 1),
];

/// A number of bytes from 64 KiB to 1 GiB, plain or with a unit.
pub(super) fn bytes(text: &str) -> Parsed<usize> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit.trim_start()));
    let number = number
        .parse::<u64>()
        .ok()
        .zip(unit)
        .and_then(|(number, (_, unit))| number.checked_mul(*unit));
    number
        .filter(|number| (64 * KIB..=KIB * KIB * KIB).contains(number))
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| "is not a size from 64KiB to 1GiB, such as 16MiB or 16777216".to_owned())
}

/// Kafka's rule for a topic's name.
pub(super) fn topic(text: &str) -> Parsed<String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let fits = (1..=249).contains(&text.len()) && text.bytes().all(legal) && text != "." && text != "..";
    let what =
        "is not a topic's name: 1 to 249 letters, digits, \".\", \"_\" or \"-\" (but not \".\" or \"..\")";
    fits.then(|| text.to_owned()).ok_or_else(|| what.to_owned())
}

/// A name that is stored and shown: not empty, nothing invisible in it.
pub(super) fn name(text: &str, max: usize) -> Parsed<String> {
    if text.trim().is_empty() {
        Err("is empty".to_owned())
    } else if text.chars().any(char::is_control) {
        Err("holds a control character".to_owned())
    } else if text.len() > max {
        Err(format!("is longer than {max} bytes"))
    } else {
        Ok(text.to_owned())
    }
}

/// One host, or the folder of a Unix socket.
pub(super) fn host(text: &str) -> Parsed<String> {
    let folder = text.starts_with('/');
    let illegal =
        |char: char| char.is_control() || (!folder && (char.is_whitespace() || ",/@".contains(char)));
    if text.is_empty() || text.contains(illegal) {
        return Err("is not one host name, address, or absolute path of a socket's folder".to_owned());
    }
    Ok(text.to_owned())
}

/// `host:port[,host:port]`, without spaces.
pub(super) fn servers(text: &str) -> Parsed<String> {
    let mut servers = Vec::new();
    for server in text.split(',').map(str::trim) {
        if server.contains("://") {
            let advice = "set the protocol by --kafka-security-protocol";
            return Err(format!("holds a URL: give HOST:PORT alone, and {advice}"));
        }
        let fits = server.rsplit_once(':').is_some_and(|(host, digits)| {
            let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
            port(digits).is_ok() && self::host(host).is_ok() && (bracketed || !host.contains([':', '[', ']']))
        });
        if !fits {
            return Err("is not a list of HOST:PORT, such as kafka-1:9092,kafka-2:9092".to_owned());
        }
        servers.push(server);
    }
    Ok(servers.join(","))
}

/// Where to listen; `None` for `off`.
pub(super) fn listen(text: &str) -> Parsed<Option<SocketAddr>> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let wanted = "is not HOST:PORT, such as 127.0.0.1:9090 or 0.0.0.0:9090, nor \"off\"";
    let Some((host, _)) = text
        .rsplit_once(':')
        .filter(|(host, digits)| !host.is_empty() && digits.parse::<u16>().is_ok())
    else {
        return Err(wanted.to_owned());
    };
    if let Ok(address) = text.parse() {
        return Ok(Some(address));
    }
    if self::host(host).is_err() || host.contains([':', '[', ']']) {
        return Err(wanted.to_owned());
    }
    match text.to_socket_addrs().map(|mut addresses| addresses.next()) {
        Ok(Some(address)) => Ok(Some(address)),
        Ok(None) => Err("names a host without an address".to_owned()),
        Err(error) => Err(format!("names a host whose address cannot be found: {error}")),
    }
}

/// `NAME[,NAME]`: hosts without ports.
pub(super) fn names(text: &str) -> Parsed<Vec<String>> {
    let names: Vec<String> = text
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let fit = |name: &String| !name.is_empty() && name.bytes().all(legal);
    if names.iter().all(fit) {
        Ok(names)
    } else {
        Err("is not a list of host names without ports, such as consumer.example.com".to_owned())
    }
}

/// PostgreSQL's limit for an identifier, in bytes; a longer one it would cut silently.
const IDENTIFIER: usize = 63;
/// The tables that the consumer keeps for itself.
const OWN_TABLES: [&str; 3] = ["consumer_offsets", "dead_letters", "storage_consumer_migrations"];

/// `TYPE=TABLE`. Names are taken literally, as if quoted in SQL.
pub(super) fn route(text: &str) -> Parsed<(String, TableName)> {
    let Some((event_type, table)) = text.split_once('=') else {
        return Err("is not TYPE=TABLE, such as gpu_metric=gpu_metrics".to_owned());
    };
    if event_type.is_empty() || event_type.contains(char::is_control) {
        return Err("has no event type before the \"=\"".to_owned());
    }
    let table = match table.split_once('.') {
        Some((schema, name)) => TableName {
            schema: Some(schema.to_owned()),
            name: name.to_owned(),
        },
        None => TableName {
            schema: None,
            name: table.to_owned(),
        },
    };
    for part in table.schema.iter().chain([&table.name]) {
        if part.trim().is_empty() || part.contains('.') || part.contains(char::is_control) {
            return Err("names no table after the \"=\": write TABLE or SCHEMA.TABLE".to_owned());
        }
        if part.contains('"') {
            return Err("holds a quotation mark: names are taken as they are, without quotes".to_owned());
        }
        if part.len() > IDENTIFIER {
            return Err(format!(
                "holds a name longer than PostgreSQL's {IDENTIFIER} bytes"
            ));
        }
    }
    if OWN_TABLES.contains(&table.name.as_str()) {
        return Err(format!(
            "names {}, which the consumer keeps for itself",
            table.name
        ));
    }
    Ok((event_type.to_owned(), table))
}

#[cfg(test)]
mod tests;
