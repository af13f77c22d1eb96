//! Owns the process: the command line in, the exit code out.

use std::process::ExitCode;
use storage_consumer::config::{Command, Config};
use storage_consumer::pipeline::consume::check_properties;
use storage_consumer::postgres::check_certificates;
use storage_consumer::{check, cli, healthcheck, logging, pipeline};

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
    let code = runtime.block_on(execute(invocation.command, invocation.config));
    // Tasks that still wait for a server must not hold the process.
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn execute(command: Command, config: Config) -> u8 {
    for option in &config.exposed {
        tracing::warn!(
            option,
            "a secret stands on the command line, where other users of the machine can read it: prefer a file"
        );
    }
    let checked = match command {
        Command::Consume | Command::Check => {
            check_properties(&config.kafka).and_then(|()| check_certificates(&config.postgres))
        }
        Command::Migrate => check_certificates(&config.postgres),
        Command::Healthcheck { .. } => Ok(()),
    };
    if let Err(problem) = checked {
        tracing::error!("{problem}");
        return cli::EXIT_USAGE;
    }
    let ended = match command {
        Command::Consume => pipeline::run(config).await,
        Command::Migrate => pipeline::migrate(config).await,
        Command::Check => return check::run(&config).await,
        Command::Healthcheck { live } => return healthcheck::run(config.http_listen, live),
    };
    match ended {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!("{error}");
            error.exit_code()
        }
    }
}
