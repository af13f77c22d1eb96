//! Owns the commands that ask no server: the configuration's template and its effective values, a shell's completions, the
//! manual pages. All are made from the command line and the table of settings.

use crate::cli;
use crate::config::{Effective, template};
use clap::Args;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What `config init` takes.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct InitOptions {
    /// File to write; without it, the template goes to standard output
    #[arg(value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    path: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

/// What `config show` takes.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShowOptions {
    /// As a JSON object, for scripts
    #[arg(long)]
    json: bool,
}

/// What `completions` takes.
#[derive(Args, Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletionsOptions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: clap_complete::Shell,
}

/// What `man` takes.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ManOptions {
    /// The command whose page is printed, such as `offsets set`; without it, the program's
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    command: Vec<String>,
    /// Folder that all pages are written to
    #[arg(long, value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    out: Option<PathBuf>,
}

/// Writes the template of a configuration file.
pub fn init(options: &InitOptions) -> u8 {
    let text = template::template();
    let Some(path) = &options.path else {
        return print(text.as_bytes());
    };
    let mut open = File::options();
    open.write(true);
    if options.force {
        open.create(true).truncate(true);
    } else {
        open.create_new(true);
    }
    // Secrets are going to be written into it.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    match open
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
    {
        Ok(()) => {
            complain(&format!("wrote {}", path.display()));
            0
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            complain(&format!(
                "{} is there already; --force writes over it",
                path.display()
            ));
            1
        }
        Err(error) => unwritten(path, &error),
    }
}

/// Shows the configuration in effect.
pub fn show(options: ShowOptions, effective: &Effective) -> u8 {
    if options.json {
        print(format!("{:#}\n", as_json(effective)).as_bytes())
    } else {
        print(template::show(effective).as_bytes())
    }
}

/// `{"NAME": [{"value": "…", "from": "option --NAME"}]}`, in the order of the help; a setting that has several values has
/// several of these.
fn as_json(effective: &Effective) -> Value {
    let mut settings = Map::new();
    for held in effective.iter() {
        let values = settings
            .entry(held.setting.name)
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(json!({"value": held.value, "from": template::place(held)}));
        }
    }
    Value::Object(settings)
}

/// Prints a shell's completions.
pub fn completions(options: CompletionsOptions) -> u8 {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut cli::documented(), cli::PROGRAM, &mut text);
    // clap_complete 4.6 takes the hyphen in the program's name for the end of a command's where it looks bash's cases up, and
    // then nothing is completed behind a command.
    let text = String::from_utf8_lossy(&text).replace("storage__subcmd__consumer", "storage__consumer");
    print(text.as_bytes())
}

/// Prints a manual page, or writes all of them.
pub fn man(options: &ManOptions) -> u8 {
    let mut program = cli::documented().disable_help_subcommand(true);
    // Gives each command its full name.
    program.build();
    if let Some(folder) = &options.out {
        return write_pages(&program, folder);
    }
    let mut command = &program;
    for word in &options.command {
        let Some(found) = command.find_subcommand(word) else {
            let program = cli::PROGRAM;
            complain(&format!(
                "there is no command {word:?}; `{program} --help` lists them"
            ));
            return cli::EXIT_USAGE;
        };
        command = found;
    }
    match page(command) {
        Ok(text) => print(&text),
        Err(error) => unwritten(Path::new("the page"), &error),
    }
}

fn write_pages(program: &clap::Command, folder: &Path) -> u8 {
    let mut commands = vec![program];
    let mut count = 0;
    if let Err(error) = std::fs::create_dir_all(folder) {
        return unwritten(folder, &error);
    }
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands());
        let path = folder.join(format!("{}.1", file_name(command)));
        if let Err(error) = page(command).and_then(|text| std::fs::write(&path, text)) {
            return unwritten(&path, &error);
        }
        count += 1;
    }
    complain(&format!("wrote {count} pages into {}", folder.display()));
    0
}

fn file_name(command: &clap::Command) -> String {
    command
        .get_display_name()
        .unwrap_or(command.get_name())
        .to_owned()
}

fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let name = file_name(command);
    clap_mangen::Man::new(command.clone())
        .title(name.to_uppercase())
        .source(format!("{} {}", cli::PROGRAM, env!("CARGO_PKG_VERSION")))
        .manual("User Commands")
        .render(&mut text)?;
    // What follows the options is their examples, and what else is to be known.
    let text = String::from_utf8_lossy(&text).replace(".SH EXTRA\n", ".SH EXAMPLES\n");
    Ok(text.into_bytes())
}

/// To standard output. A reader that has closed it has seen enough.
fn print(text: &[u8]) -> u8 {
    match io::stdout().lock().write_all(text) {
        Ok(()) => 0,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => unwritten(Path::new("standard output"), &error),
    }
}

fn unwritten(path: &Path, error: &io::Error) -> u8 {
    complain(&format!("cannot write {}: {error}", path.display()));
    1
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
