//! Owns the process: the command line in, the exit code out.

use std::process::ExitCode;
use storage_consumer::cli::Invocation;
use storage_consumer::commands::{Task, audit, check, healthcheck, offsets, print, replay, status};
use storage_consumer::config::{Command, Config};
use storage_consumer::pipeline::consume::check_properties;
use storage_consumer::postgres::check_certificates;
use storage_consumer::{cli, logging, pipeline};

// librdkafka and our threads allocate and free across threads, which this allocator is made for; it serves C, too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os(), |name| std::env::var_os(name)) {
        Ok(invocation) => invocation,
        Err(error) => {
            error.print();
            return ExitCode::from(error.exit_code());
        }
    };
    logging::init(&invocation.config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the system gives threads at the start");
    let code = runtime.block_on(execute(invocation));
    // Tasks that still wait for a server must not hold the process.
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn execute(invocation: Invocation) -> u8 {
    let Invocation {
        command,
        task,
        config,
        sources,
    } = invocation;
    for option in &config.exposed {
        tracing::warn!(
            option,
            "a secret stands on the command line, where other users of the machine can read it: prefer a file"
        );
    }
    if let Err(problem) = look_at_files_and_properties(command, &config) {
        tracing::error!("{problem}");
        return cli::EXIT_USAGE;
    }
    let ended = match task {
        Task::Consume => pipeline::run(config, sources).await,
        Task::Migrate => pipeline::migrate(config).await,
        Task::Check => return check::run(&config).await,
        Task::Healthcheck(options) => return healthcheck::run(config.http_listen, options),
        Task::Status(options) => return status::run(config, options).await,
        Task::Replay(options) => return replay::run(config, &options).await,
        Task::Audit(options) => return audit::run(config, options).await,
        Task::OffsetsShow(options) => return offsets::show(config, options).await,
        Task::OffsetsSet(options) => return offsets::set(config, &options).await,
        Task::ConfigInit(options) => return print::init(&options),
        Task::ConfigShow(options) => return print::show(options, &config.effective),
        Task::Completions(options) => return print::completions(options),
        Task::Man(options) => return print::man(&options),
    };
    match ended {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!("{error}");
            error.exit_code()
        }
    }
}

/// What can be wrong with a configuration whose every value is right by itself.
fn look_at_files_and_properties(command: Command, config: &Config) -> Result<(), String> {
    let (kafka, postgres) = match command {
        Command::ShowConfig | Command::Print | Command::Healthcheck => (false, false),
        Command::Migrate | Command::Replay => (false, true),
        Command::Consume | Command::Check | Command::Status | Command::Offsets | Command::Audit => {
            (true, true)
        }
    };
    if kafka {
        check_properties(&config.kafka)?;
    }
    if postgres {
        check_certificates(&config.postgres)?;
    }
    Ok(())
}
