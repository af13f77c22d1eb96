//! Owns `--postgres-url`: libpq's `postgres://user:password@host:port/database?parameter=value` as the settings that its
//! parts stand for. The text holds a password: no part of it is ever shown, bar the name of a parameter that libpq has.

use percent_encoding::percent_decode_str;

/// Parameters of libpq that settings stand for.
const HONOURED: &[(&str, &str)] = &[
    ("host", "postgres-host"),
    ("port", "postgres-port"),
    ("dbname", "postgres-db"),
    ("user", "postgres-user"),
    ("password", "postgres-password"),
    ("passfile", "postgres-passfile"),
    ("sslmode", "postgres-sslmode"),
    ("sslrootcert", "postgres-sslrootcert"),
    ("sslcert", "postgres-sslcert"),
    ("sslkey", "postgres-sslkey"),
];

/// The rest of them: each would change how the connection behaves, so that it is better refused than passed over.
const OTHERS: &[&str] = &[
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "options",
    "replication",
    "require_auth",
    "requirepeer",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslnegotiation",
    "sslpassword",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// The settings that the URL gives, each once, with their texts; or the rest of a sentence that begins with the option.
pub(super) fn parts(url: &str) -> Result<Vec<(&'static str, String)>, String> {
    let rest = ["postgres://", "postgresql://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme))
        .ok_or("is no URL of PostgreSQL, such as postgres://user@host:5432/database")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, server) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = login
        .split_once(':')
        .map_or((login, None), |(user, password)| (user, Some(password)));
    let (host, port) = host_and_port(server)?;
    // Half of a password must not pass for a port or a database, which are shown.
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(
            "names a port that is no number; in a password, \":\", \"/\", \"?\" and \"@\" are written %3A, %2F, %3F and %40"
                .to_owned(),
        );
    }
    if database.contains('@') {
        return Err("has a \"@\" behind its \"/\"; in a password, \"/\" is written %2F".to_owned());
    }

    let mut parts = Parts(Vec::new());
    parts.add("postgres-user", user)?;
    if let Some(password) = password {
        parts.add("postgres-password", password)?;
    }
    parts.add("postgres-host", host)?;
    parts.add("postgres-port", port)?;
    parts.add("postgres-db", database)?;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (key, value) = parameter
            .split_once('=')
            .ok_or("has a parameter without \"=\" behind its \"?\"; a \"?\" in a password is written %3F")?;
        // As JDBC writes it, which libpq takes, too.
        if (key, value) == ("ssl", "true") {
            parts.add("postgres-sslmode", "require")?;
        } else if let Some((_, setting)) = HONOURED.iter().find(|(name, _)| *name == key) {
            parts.add(setting, value)?;
        } else if let Some(name) = OTHERS.iter().find(|name| **name == key) {
            return Err(format!(
                "has the parameter {name}, which is not honoured here: leave it out"
            ));
        } else {
            return Err("has a parameter that PostgreSQL's own programs don't know, either".to_owned());
        }
    }
    Ok(parts.0)
}

struct Parts(Vec<(&'static str, String)>);

impl Parts {
    /// Empty means not given, as everywhere.
    fn add(&mut self, setting: &'static str, text: &str) -> Result<(), String> {
        if text.is_empty() {
            return Ok(());
        }
        let escapes = text.match_indices('%').all(|(at, _)| {
            let digits = text.as_bytes().get(at + 1..at + 3);
            digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        });
        let text = percent_decode_str(text)
            .decode_utf8()
            .ok()
            .filter(|_| escapes)
            .ok_or("holds a \"%\" that begins no escape of UTF-8; a \"%\" itself is written %25")?;
        if self.0.iter().any(|(name, _)| *name == setting) {
            return Err(format!("gives --{setting} twice"));
        }
        self.0.push((setting, text.into_owned()));
        Ok(())
    }
}

/// Both may be empty. An IPv6 address stands in brackets.
fn host_and_port(server: &str) -> Result<(&str, &str), String> {
    if server.contains(',') {
        return Err(
            "names several hosts, and one is taken: name that of a proxy, or a name that follows the primary"
                .to_owned(),
        );
    }
    if let Some(address) = server.strip_prefix('[') {
        let (host, port) = address.split_once(']').ok_or("has a \"[\" without its \"]\"")?;
        let port = match port {
            "" => "",
            port => port
                .strip_prefix(':')
                .ok_or("has something else than a port behind its \"]\"")?,
        };
        return Ok((host, port));
    }
    Ok(server.split_once(':').unwrap_or((server, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(url: &str) -> Vec<String> {
        let parts = parts(url).unwrap_or_else(|what| panic!("{url}: {what}"));
        parts
            .into_iter()
            .map(|(name, text)| format!("{}={text}", name.trim_start_matches("postgres-")))
            .collect()
    }

    #[test]
    fn a_url_is_the_settings_that_its_parts_stand_for() {
        assert_eq!(
            told("postgres://me:p%40ss%3A%2F@db:5433/metrics?sslmode=verify-full&sslrootcert=/ca.pem"),
            [
                "user=me",
                "password=p@ss:/",
                "host=db",
                "port=5433",
                "db=metrics",
                "sslmode=verify-full",
                "sslrootcert=/ca.pem"
            ]
        );
        assert_eq!(told("postgresql://"), Vec::<String>::new());
        assert_eq!(told("postgresql://db"), ["host=db"]);
        assert_eq!(
            told("postgres://me@[::1]:5433"),
            ["user=me", "host=::1", "port=5433"]
        );
        assert_eq!(
            told("postgres://%2Frun%2Fpg/metrics"),
            ["host=/run/pg", "db=metrics"]
        );
        assert_eq!(
            told("postgres:///metrics?host=/run/pg&user=me&port=1"),
            ["db=metrics", "host=/run/pg", "user=me", "port=1"]
        );
        assert_eq!(told("postgres://db/?ssl=true"), ["host=db", "sslmode=require"]);
    }

    #[test]
    fn what_is_wrong_is_told_without_the_secret() {
        for (url, told) in [
            ("mysql://me:hunter2@db", "is no URL of PostgreSQL"),
            ("postgres://me:hunter2@a,b/d", "several hosts"),
            ("postgres://me:hunter2", "%3A"),
            ("postgres://me:12/hunter2@db/d", "%2F"),
            ("postgres://me:hunter2@[::1/d", "without its"),
            ("postgres://me:hunter2@[::1]5/d", "behind its"),
            ("postgres://me:hunter2%zz@db/d", "%25"),
            ("postgres://me:hunter2%ff@db/d", "%25"),
            ("postgres://me:hunter2%4@db", "%25"),
            ("postgres://me:a?hunter2@db/d", "%3F"),
            ("postgres://db/d?hunter2=1", "don't know"),
            (
                "postgres://me:hunter2@db/d?target_session_attrs=any",
                "target_session_attrs",
            ),
            ("postgres://me:hunter2@db/d?host=e", "--postgres-host twice"),
        ] {
            let what = match parts(url) {
                Err(what) => what,
                Ok(parts) => panic!("{url}: {parts:?}"),
            };
            assert!(what.contains(told), "{url}: {what}");
            assert!(!what.contains("hunter2"), "{url}: {what}");
        }
    }
}
