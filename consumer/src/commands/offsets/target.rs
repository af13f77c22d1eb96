//! Owns how a place in a log is written on the command line: `earliest`, `latest`, an offset, a time.

/// Where to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Earliest,
    Latest,
    Offset(i64),
    /// Milliseconds since the Unix epoch.
    Time(i64),
}

pub(super) fn target(text: &str) -> Result<Target, String> {
    match text.to_ascii_lowercase().as_str() {
        "earliest" => return Ok(Target::Earliest),
        "latest" => return Ok(Target::Latest),
        _ => {}
    }
    if let Ok(offset) = text.parse::<i64>()
        && offset >= 0
    {
        return Ok(Target::Offset(offset));
    }
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(|time| Target::Time(time.as_millisecond())).map_err(|_| {
        "must be earliest, latest, an offset (0 or more), or a time such as 2026-01-15T10:30:00Z".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_in_each_of_its_forms() {
        assert_eq!(target("Earliest"), Ok(Target::Earliest));
        assert_eq!(target("latest"), Ok(Target::Latest));
        assert_eq!(target("0"), Ok(Target::Offset(0)));
        assert_eq!(target("1970-01-01T00:00:01.5Z"), Ok(Target::Time(1500)));
        assert_eq!(target("1970-01-01T01:00:00+01:00"), Ok(Target::Time(0)));
        for wrong in ["", "-1", "soon", "2026-01-15"] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
    }
}
