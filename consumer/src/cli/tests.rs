//! The command line from end to end: help, precedence, the list of mistakes.

use super::*;
use crate::config::{Indexes, LogFormat, LogLevel, OffsetReset, UnknownTypes};
use std::time::Duration;

fn run(args: &[&str], env: &[(&str, &str)]) -> Result<Invocation, CliError> {
    let args = std::iter::once("storage-consumer")
        .chain(args.iter().copied())
        .map(OsString::from);
    parse(args, |name| {
        env.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    })
}

fn config(args: &[&str], env: &[(&str, &str)]) -> Config {
    run(args, env).unwrap_or_else(|error| panic!("{error}")).config
}

fn mistakes(args: &[&str], env: &[(&str, &str)]) -> String {
    let error = run(args, env).expect_err("there are mistakes");
    assert_eq!(error.exit_code(), EXIT_USAGE);
    error.to_string()
}

/// A file, with its path as an option's value.
fn file(text: &str) -> (tempfile::NamedTempFile, String) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("written");
    let path = file.path().to_str().expect("UTF-8").to_owned();
    (file, path)
}

#[test]
fn the_command_line_is_well_formed() {
    app().debug_assert();
}

#[test]
fn help_of_consume() {
    let error = app()
        .term_width(100)
        .try_get_matches_from(["storage-consumer", "consume", "--help"])
        .expect_err("help is an error to clap");
    insta::assert_snapshot!(error.render());
}

#[test]
fn every_command_says_what_it_does_and_shows_an_example() {
    for spec in &COMMANDS {
        let arguments = ["storage-consumer"]
            .into_iter()
            .chain(spec.words.iter().copied())
            .chain(["--help"]);
        let error = app()
            .term_width(200)
            .try_get_matches_from(arguments)
            .expect_err("help is an error to clap");
        let help = error.render().to_string();
        assert!(help.starts_with(spec.about), "{help}");
        let example = format!("storage-consumer {}", spec.words.join(" "));
        let (_, examples) = help
            .split_once("Example")
            .unwrap_or_else(|| panic!("no example: {help}"));
        assert!(examples.contains(&example), "{help}");
    }
}

#[test]
fn a_command_takes_what_is_its_own_and_no_more() {
    for (line, expected) in [
        ("replay --partition 1 --offset 7", true),
        ("replay --reason unknown_type --since 2026-01-15T10:30:00Z", true),
        ("replay --all", true),
        ("replay", false),
        ("replay --offset 7", false),
        ("replay --all --partition 1", false),
        ("replay --reason because", false),
        ("replay --since yesterday", false),
        ("offsets set --to latest --partition 1 --partition 2", true),
        ("offsets set", false),
        ("offsets", false),
        ("status --watch", true),
        ("status --watch 0.5 --json", true),
        ("status --watch 0", false),
        ("status --batch-size 7", false),
        ("audit --route a=b", true),
        ("completions fish", true),
        ("completions tcsh", false),
        ("config show --workers 3", true),
        ("config init --workers 3", false),
        ("man offsets set", true),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let read = run(&arguments, &[]);
        assert_eq!(read.is_ok(), expected, "{line}: {read:?}");
        assert!(
            read.is_ok() || read.is_err_and(|error| error.exit_code() == EXIT_USAGE),
            "{line}"
        );
    }
}

#[test]
fn help_and_version_are_no_mistakes() {
    for args in [
        &["--help"][..],
        &["--version"],
        &["consume", "--help"],
        &["help", "check"],
    ] {
        let error = run(args, &[]).expect_err("nothing to do");
        assert_eq!(error.exit_code(), 0, "{args:?}");
    }
    assert_eq!(
        run(&["--version"], &[])
            .expect_err("nothing to do")
            .to_string()
            .trim(),
        format!("storage-consumer {}", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_line_that_cannot_be_understood_exits_64() {
    for args in [
        &[][..],
        &["eat"],
        &["consume", "--topik=t"],
        &["migrate", "--topic=t"],
        &["consume", "x"],
    ] {
        assert_eq!(
            run(args, &[]).expect_err("a mistake").exit_code(),
            EXIT_USAGE,
            "{args:?}"
        );
    }
    assert!(mistakes(&[], &[]).contains("Usage: storage-consumer <COMMAND>"));
}

#[test]
fn the_defaults() {
    let invocation = run(&["consume"], &[]).expect("valid");
    assert_eq!(invocation.command, Command::Consume);
    insta::assert_debug_snapshot!(invocation.config);
}

#[test]
fn options_before_variables_before_the_file() {
    let (_keep, path) = file(
        "topic = 'from-file'\ngroup_id = 'from-file'\nbatch-size = 7\nlog_level = 'error'\n\
         no-migrate = true\nroute = { gpu_metric = 's.gpu' }",
    );
    let env = [
        ("STORAGE_CONSUMER_CONFIG", path.as_str()),
        ("KAFKA_TOPIC", "from-env"),
        ("KAFKA_GROUP_ID", "from-env"),
        ("BATCH_SIZE", ""),
    ];
    let config = config(&["consume", "--topic", "from-option"], &env);
    assert_eq!(config.kafka.topic, "from-option");
    assert_eq!(config.kafka.group_id, "from-env");
    assert_eq!(config.batch.size, 7, "an empty variable is none");
    assert_eq!(config.log.level, LogLevel::Error);
    assert!(!config.migrate);
    assert_eq!(config.kafka.servers, "localhost:9092");
    assert_eq!(config.routes.len(), 3);
    assert_eq!(config.routes[2].table.to_string(), "s.gpu");
}

#[test]
fn the_option_names_the_file_before_the_variable() {
    let (_keep, path) = file("topic = 'x'");
    let env = [("STORAGE_CONSUMER_CONFIG", "/nowhere/at/all")];
    assert_eq!(config(&["consume", "--config", &path], &env).kafka.topic, "x");
}

#[test]
fn every_option_by_its_variable() {
    let env = [
        ("KAFKA_BOOTSTRAP_SERVERS", "a:1,b:2"),
        ("KAFKA_OFFSET_RESET", "latest"),
        ("POSTGRES_HOST", "db"),
        ("POSTGRES_PORT", "6543"),
        ("POSTGRES_DB", "d"),
        ("POSTGRES_USER", "u"),
        ("POSTGRES_PASSWORD", "p"),
        ("BATCH_SIZE", "500"),
        ("COMMIT_INTERVAL", "0"),
        ("MAX_POLL_RECORDS", "1000"),
        ("MAX_BATCH_BYTES", "1MiB"),
        ("WORKERS", "4"),
        ("SHUTDOWN_TIMEOUT", "1.5"),
        ("STARTUP_TIMEOUT", "90"),
        ("LOG_LEVEL", "warn"),
        ("LOG_FORMAT", "JSON"),
        ("HTTP_LISTEN", "off"),
    ];
    let config = config(
        &["consume", "--duration=10", "--unknown-types=skip", "--no-migrate"],
        &env,
    );
    assert_eq!(config.kafka.servers, "a:1,b:2");
    assert_eq!(config.kafka.offset_reset, OffsetReset::Latest);
    assert_eq!(config.kafka.max_poll_records, 1000);
    assert_eq!(
        (config.postgres.host.as_str(), config.postgres.port),
        ("db", 6543)
    );
    assert_eq!(
        (config.postgres.database.as_str(), config.postgres.user.as_str()),
        ("d", "u")
    );
    assert_eq!(
        config.postgres.current_password().expect("a password").expose(),
        "p"
    );
    assert_eq!((config.batch.size, config.batch.max_bytes), (500, 1 << 20));
    assert_eq!(config.batch.interval, Duration::ZERO);
    assert_eq!((config.workers, config.migrate), (4, false));
    assert_eq!(config.duration, Some(Duration::from_secs(10)));
    assert_eq!(config.shutdown_timeout, Duration::from_millis(1500));
    assert_eq!(config.startup_timeout, Some(Duration::from_secs(90)));
    assert_eq!(config.unknown_types, UnknownTypes::Skip);
    assert_eq!(config.http_listen, None);
    assert_eq!(
        (config.log.level, config.log.format),
        (LogLevel::Warning, Some(LogFormat::Json))
    );
}

#[test]
fn all_mistakes_at_once() {
    let (_keep, path) = file("topik = 't'\nworkers = 1000\nno-migrate = 'yes'");
    let args = [
        "consume",
        "--duration",
        "-1",
        "--kafka-property",
        "group.id=x",
        "--config",
        &path,
    ];
    let env = [("BATCH_SIZE", "0"), ("LOG_LEVEL", "loud")];
    insta::assert_snapshot!(mistakes(&args, &env).replace(&path, "consumer.toml"));
}

#[test]
fn a_missing_file_is_told_with_the_rest() {
    let text = mistakes(&["consume", "--config", "/no/such.toml", "--workers=0"], &[]);
    assert!(text.contains(
        "--config (STORAGE_CONSUMER_CONFIG, from the command line): there is no file \"/no/such.toml\""
    ));
    assert!(text.contains("--workers"), "{text}");
}

#[test]
fn an_option_given_twice_counts_as_last_given() {
    assert_eq!(
        config(&["consume", "--topic=a", "--topic=b"], &[]).kafka.topic,
        "b"
    );
}

#[test]
fn each_command_reads_what_concerns_it() {
    let (_keep, path) = file("batch-size = 'none'\npostgres-db = 'd'");
    let env = [("WORKERS", "many"), ("STORAGE_CONSUMER_CONFIG", path.as_str())];
    let invocation = run(&["migrate"], &env).expect("only consume would mind");
    assert_eq!(
        (invocation.command, invocation.config.postgres.database.as_str()),
        (Command::Migrate, "d")
    );
    assert!(
        run(&["check", "--batch-size=5"], &env).is_err(),
        "check answers for consume"
    );
}

#[test]
fn only_migrate_is_asked_for_indexes() {
    let (_keep, path) = file("indexes = 'brin'");
    let env = [("STORAGE_CONSUMER_CONFIG", path.as_str())];
    assert_eq!(config(&["migrate"], &[]).indexes, None);
    assert_eq!(config(&["migrate"], &env).indexes, Some(Indexes::Brin));
    assert_eq!(
        config(&["migrate", "--indexes=btree"], &env).indexes,
        Some(Indexes::Btree)
    );
    assert_eq!(config(&["consume"], &env).indexes, None);
    assert!(run(&["consume", "--indexes=brin"], &[]).is_err());
    let text = mistakes(&["migrate", "--indexes=hash"], &[]);
    assert!(text.contains("\"hash\" is not one of btree, brin"), "{text}");
}

#[test]
fn properties_and_routes_are_merged_by_key() {
    let (_keep, path) = file(
        "route = ['server_metric=low', 'a=b', 'c=d']\n[kafka-property]\nclient.id = 'file'\nclient.rack = 'r1'",
    );
    let args = [
        "consume",
        "--config",
        &path,
        "--kafka-property=client.id=option",
        "--route=a=high.t",
        "--route",
        "e=f",
    ];
    let config = config(&args, &[]);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        config.kafka.properties,
        [pair("client.id", "option"), pair("client.rack", "r1")]
    );
    let routes: Vec<_> = config
        .routes
        .iter()
        .map(|it| format!("{}={}", it.event_type, it.table))
        .collect();
    let expected = [
        "server_metric=low",
        "application_metric=application_metrics",
        "a=high.t",
        "e=f",
        "c=d",
    ];
    assert_eq!(routes, expected);
}

#[test]
fn repetitions_in_one_place_are_mistakes() {
    let text = mistakes(
        &[
            "consume",
            "--route=a=b",
            "--route=a=b",
            "--route=a=c",
            "--kafka-property=x=1",
            "--kafka-property=x=1",
        ],
        &[],
    );
    for expected in [
        "\"a=b\" repeats a route",
        "\"a=c\" contradicts another route",
        "x is given twice",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
}

#[test]
fn workers_need_a_member_id_each() {
    let text = mistakes(
        &["consume", "--workers=2", "--kafka-property=group.instance.id=a"],
        &[],
    );
    assert!(
        text.contains("group.instance.id names one member of the group"),
        "{text}"
    );
}

#[test]
fn the_password_comes_from_a_file() {
    let (_keep, path) = file("hunter2 \n");
    let env = [("POSTGRES_PASSWORD_FILE", path.as_str())];
    assert_eq!(
        config(&["consume"], &env)
            .postgres
            .current_password()
            .expect("a password")
            .expose(),
        "hunter2 "
    );

    let option = ["consume", "--postgres-password=typed"];
    assert_eq!(
        config(&option, &env)
            .postgres
            .current_password()
            .expect("a password")
            .expose(),
        "typed",
        "the command line comes first"
    );

    let both = [
        ("POSTGRES_PASSWORD_FILE", path.as_str()),
        ("POSTGRES_PASSWORD", "x"),
    ];
    assert!(mistakes(&["consume"], &both).contains("give one of them"));

    let from_option = ["consume", "--postgres-password-file", &path];
    let env = [("POSTGRES_PASSWORD", "x")];
    assert_eq!(
        config(&from_option, &env)
            .postgres
            .current_password()
            .expect("a password")
            .expose(),
        "hunter2 "
    );

    let (_keep, empty) = file("\n");
    let text = mistakes(&["consume", "--postgres-password-file", &empty], &[]);
    assert!(text.contains("names a file that is empty"), "{text}");
}

#[test]
fn no_secret_is_shown() {
    let args = [
        "consume",
        "--postgres-password=hunter2",
        "--kafka-property=sasl.password=hunter2",
        "--kafka-property=ssl.ca.location=/ca",
    ];
    let shown = format!("{:?}", run(&args, &[]).expect("valid"));
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("/ca"), "{shown}");

    let split = mistakes(&["consume", "--postgres-password", "my", "hunter2"], &[]);
    assert!(
        split.contains("value without an option") && !split.contains("hunter2"),
        "{split}"
    );

    let env = [("POSTGRES_PASSWORD", "hunter2\0")];
    let text = mistakes(
        &[
            "consume",
            "--kafka-property=hunter2",
            "--kafka-property=group.id=hunter2",
        ],
        &env,
    );
    assert!(!text.contains("hunter2"), "{text}");
}

mod security;
