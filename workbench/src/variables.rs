//! Owns how a setting is read from an environment variable: empty is not given, and a mistake names its variable.

use std::fmt::Display;
use std::str::FromStr;

/// The value of a variable, or the default. A mistake is added to the others.
pub(crate) fn value<T: FromStr<Err: Display>>(
    lookup: impl Fn(&str) -> Option<String>,
    mistakes: &mut Vec<String>,
    name: &str,
    default: T,
) -> T {
    // Empty is not given: `DEMO_SECONDS= make demo` unsets it.
    let Some(text) = lookup(name).filter(|text| !text.trim().is_empty()) else {
        return default;
    };
    match text.trim().parse() {
        Ok(value) => value,
        Err(error) => {
            mistakes.push(format!("{name}: `{text}` can't be read: {error}"));
            default
        }
    }
}
