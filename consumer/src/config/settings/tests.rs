//! The table of settings holds together.

use super::*;
use std::collections::HashSet;

#[test]
fn names_and_variables_are_unique_and_well_formed() {
    let mut seen = HashSet::new();
    for setting in SETTINGS {
        assert!(seen.insert(setting.name), "{} twice", setting.name);
        assert!(
            setting
                .name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        );
        if let Some(env) = setting.env {
            assert!(seen.insert(env), "{env} twice");
            assert!(env.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'));
        }
        assert!(!setting.help.ends_with('.'), "{}", setting.name);
    }
}
