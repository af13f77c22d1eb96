//! What a single value may look like, by example and by property.

use super::*;
use proptest::prelude::*;

#[test]
fn sizes() {
    for (text, expected) in [
        ("65536", 65536),
        ("64KiB", 65536),
        ("16MiB", 16 << 20),
        ("16 mib", 16 << 20),
        ("1GiB", 1 << 30),
        ("100kB", 100_000),
        ("5MB", 5_000_000),
        ("1GB", 1_000_000_000),
        ("70000B", 70000),
    ] {
        assert_eq!(bytes(text), Ok(expected), "{text}");
    }
    for text in [
        "",
        "0",
        "65535",
        "-1MiB",
        "1.5MiB",
        "16M",
        "MiB",
        "2GiB",
        "99999999999999999999GiB",
    ] {
        assert!(bytes(text).is_err(), "{text}");
    }
}

#[test]
fn times() {
    assert_eq!(seconds("5.0", 10), Ok(Duration::from_secs(5)));
    assert_eq!(seconds("0", 10), Ok(Duration::ZERO));
    assert_eq!(seconds("0.1", 10), Ok(Duration::from_millis(100)));
    for text in ["", "-1", "nan", "inf", "5s", "10.1", "1,5"] {
        assert!(seconds(text, 10).is_err(), "{text}");
    }
    assert!(some_seconds("0", 10).is_err());
    assert!(statement_timeout("0.9").is_err() && statement_timeout("3601").is_err());
    assert_eq!(statement_timeout("1.5"), Ok(Duration::from_millis(1500)));
    assert_eq!(some_seconds("0.5", 10), Ok(Duration::from_millis(500)));
}

#[test]
fn server_lists() {
    assert_eq!(
        servers("a:1, b.c:9092,[::1]:3"),
        Ok("a:1,b.c:9092,[::1]:3".to_owned())
    );
    for text in [
        "",
        "a",
        "a:",
        ":1",
        "a:0",
        "a:70000",
        "a:1,",
        "::1:9092",
        "a b:1",
        "[]:1",
        "PLAINTEXT://a:1",
    ] {
        assert!(servers(text).is_err(), "{text}");
    }
}

#[test]
fn topics_and_names() {
    for text in ["a", "A.b_c-1", "...", &"x".repeat(249)] {
        assert!(topic(text).is_ok(), "{text}");
    }
    for text in ["", ".", "..", "^a.*", "a/b", "a b", "ä", &"x".repeat(250)] {
        assert!(topic(text).is_err(), "{text}");
    }
    assert!(name("a b", 9).is_ok());
    for text in ["", " ", "a\0", "0123456789"] {
        assert!(name(text, 9).is_err(), "{text:?}");
    }
    for text in ["localhost", "10.0.0.1", "::1", "/var/run/postgresql"] {
        assert!(host(text).is_ok(), "{text}");
    }
    for text in ["", "a,b", "user@host", "postgres://a", "a b"] {
        assert!(host(text).is_err(), "{text}");
    }
}

#[test]
fn listening() {
    assert_eq!(listen("OFF"), Ok(None));
    assert_eq!(listen("0.0.0.0:80"), Ok(Some(([0, 0, 0, 0], 80).into())));
    assert!(listen("[::1]:0").is_ok_and(|address| address.is_some()));
    assert!(listen("localhost:9090").is_ok_and(|address| address.is_some_and(|it| it.ip().is_loopback())));
    for text in [
        "",
        "9090",
        ":9090",
        "host",
        "127.0.0.1:x",
        "127.0.0.1:70000",
        "a b:1",
        "http://a:1",
    ] {
        assert!(listen(text).is_err(), "{text}");
    }
}

#[test]
fn routes() {
    let table = |schema: Option<&str>, name: &str| TableName {
        schema: schema.map(str::to_owned),
        name: name.to_owned(),
    };
    assert_eq!(route("a=b"), Ok(("a".to_owned(), table(None, "b"))));
    assert_eq!(
        route("a.x=s.B c"),
        Ok(("a.x".to_owned(), table(Some("s"), "B c")))
    );
    for text in [
        "",
        "a",
        "=b",
        "a=",
        "a=.b",
        "a=b.",
        "a=b.c.d",
        "a=\"b\"",
        "a=b\0",
        "a=s.dead_letters",
    ] {
        assert!(route(text).is_err(), "{text:?}");
    }
    assert!(route(&format!("a={}", "x".repeat(64))).is_err());
}

#[test]
fn words_in_any_case() {
    assert_eq!(log_level("warn"), Ok(LogLevel::Warning));
    assert_eq!(log_level("Critical"), Ok(LogLevel::Critical));
    assert_eq!(offset_reset("LATEST"), Ok(OffsetReset::Latest));
    assert_eq!(
        offset_reset("none"),
        Err("is not one of earliest, latest".to_owned())
    );
}

proptest! {
    #[test]
    fn a_size_survives_its_unit(count in 1_u64..=1024, unit in 0..UNITS.len()) {
        let (name, factor) = UNITS[unit];
        let expected = usize::try_from(count * factor).expect("at most a TiB");
        let fits = (65536..=1 << 30).contains(&expected);
        prop_assert_eq!(bytes(&format!("{count}{name}")).ok(), fits.then_some(expected));
    }

    #[test]
    fn milliseconds_are_kept_exactly(ms in 0_u32..86_400_000) {
        let text = format!("{}.{:03}", ms / 1000, ms % 1000);
        let read = seconds(&text, 86_400).expect("in range");
        prop_assert_eq!(read.as_micros(), u128::from(ms) * 1000);
    }

    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = (bytes(&text), seconds(&text, 9), servers(&text), topic(&text), route(&text));
        let _ = (host(&text), port(&text), whole(&text, 1, 9), name(&text, 9));
    }
}
