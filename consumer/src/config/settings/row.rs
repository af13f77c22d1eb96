//! Owns how a row of the table of settings is written: what is seldom said is said by name.

use super::{Default, Group, Kind, Setting};

impl Setting {
    pub(super) const fn new(
        group: Group,
        name: &'static str,
        value: &'static str,
        help: &'static str,
    ) -> Setting {
        let default = Default::Unset("");
        let kind = if value.is_empty() { Kind::Flag } else { Kind::Text };
        Setting {
            name,
            env: None,
            default,
            value,
            help,
            kind,
            secret: false,
            group,
            migrate: false,
            only_migrate: false,
            healthcheck: false,
        }
    }

    pub(super) const fn env(mut self, variable: &'static str) -> Setting {
        self.env = Some(variable);
        self
    }

    pub(super) const fn default(mut self, values: &'static [&'static str]) -> Setting {
        self.default = Default::Values(values);
        self
    }

    pub(super) const fn unset(mut self, meaning: &'static str) -> Setting {
        self.default = Default::Unset(meaning);
        self
    }

    pub(super) const fn kind(mut self, kind: Kind) -> Setting {
        self.kind = kind;
        self
    }

    pub(super) const fn secret(mut self) -> Setting {
        self.secret = true;
        self
    }

    pub(super) const fn also_migrate(mut self) -> Setting {
        self.migrate = true;
        self
    }

    pub(super) const fn only_migrate(mut self) -> Setting {
        self.migrate = true;
        self.only_migrate = true;
        self
    }

    pub(super) const fn also_healthcheck(mut self) -> Setting {
        self.healthcheck = true;
        self
    }
}
