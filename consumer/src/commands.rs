//! What a person or a script asks for beside the main job: each command a module of its own, with the options that only it
//! takes, its output and its exit code. They look at both servers; what they change, they change as the pipeline does.

pub mod check; // whether the main job would run
pub mod healthcheck; // how the running process is
pub mod status; // where a group stands
pub mod offsets; // shows and sets stored offsets
pub mod replay; // dead letters after all
pub mod audit; // the sums
pub mod print; // what depends on no server: configuration, completions, manual pages
mod group; // what Kafka says of a group and its topic
mod stored; // what PostgreSQL says of a group
mod terminal; // tables, colour and questions, for people

/// The exit code where a server can't be reached (`EX_UNAVAILABLE` of `sysexits.h`).
pub const EXIT_UNAVAILABLE: u8 = 69;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// A server is out of reach.
    #[error("{0}")]
    Unreachable(String),
    /// A person must act.
    #[error("{0}")]
    Refused(String),
}

impl Trouble {
    /// Tells it; the exit code.
    fn tell(&self) -> u8 {
        terminal::complain(&format!(
            "error: {}",
            crate::logging::on_one_line(&self.to_string())
        ));
        match self {
            Self::Unreachable(_) => EXIT_UNAVAILABLE,
            Self::Refused(_) => 1,
        }
    }
}

/// What the program was asked to do, with what only that command takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// The main job.
    Consume,
    /// Create or update the tables.
    Migrate,
    /// Would the main job run?
    Check,
    /// Is the running process ready?
    Healthcheck(healthcheck::Options),
    /// Where does the group stand?
    Status(status::Options),
    /// Store dead letters after all.
    Replay(replay::Options),
    /// Do the sums agree?
    Audit(audit::Options),
    /// The stored offsets.
    OffsetsShow(offsets::ShowOptions),
    /// Other stored offsets.
    OffsetsSet(offsets::SetOptions),
    /// The template of a configuration file.
    ConfigInit(print::InitOptions),
    /// The configuration in effect.
    ConfigShow(print::ShowOptions),
    /// A shell's completions.
    Completions(print::CompletionsOptions),
    /// Manual pages.
    Man(print::ManOptions),
}
