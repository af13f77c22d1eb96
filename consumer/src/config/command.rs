//! Owns the commands as far as settings are concerned: which settings each takes, `settings` says.

/// What the program was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// The main job.
    Consume,
    /// Create or update the tables, then end.
    Migrate,
    /// Report whether `consume` could run here, then end.
    Check,
    /// Ask the running process how it is, then end.
    Healthcheck,
    /// Show where a group stands.
    Status,
    /// Show or set its stored offsets.
    Offsets,
    /// Store dead letters after all.
    Replay,
    /// Prove the sums.
    Audit,
    /// Show the configuration of `consume`.
    ShowConfig,
    /// Print what depends on no setting.
    Print,
}
