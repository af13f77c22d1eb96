//! What needs no server, by the real program: the configuration's template and its effective values, completions, manual
//! pages.

use crate::shared::storage_consumer;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

fn program(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(storage_consumer())
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .expect("the program runs")
}

/// What it says, and that it ends well.
fn said(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = program(arguments, variables);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_template_is_written_once_and_taken_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("consumer.toml");
    let path = file.to_str().expect("a path of ASCII");
    said(&["config", "init", path], &[]);
    assert_eq!(
        fs::read_to_string(&file).expect("the file"),
        said(&["config", "init"], &[])
    );
    let mode = fs::metadata(&file).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "secrets are going to be in it");
    assert_eq!(
        said(&["config", "show", "--config", path], &[])
            .replace(&format!("# config = \"{path}\"  # option --config\n"), ""),
        said(&["config", "show"], &[]).replace("# config is not set\n", "")
    );
    let again = program(&["config", "init", path], &[]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("--force"));
    said(&["config", "init", "--force", path], &[]);
}

#[test]
fn the_effective_configuration_names_the_place_of_each_value_and_hides_secrets() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("consumer.toml");
    fs::write(
        &file,
        "batch-size = 7\n[kafka-property]\nsasl.password = \"hunter2\"\n",
    )
    .expect("written");
    let path = file.to_str().expect("a path of ASCII");
    let arguments = ["config", "show", "--config", path, "--topic", "typed"];
    let variables = [("WORKERS", "3"), ("POSTGRES_PASSWORD", "hunter2")];
    let text = said(&arguments, &variables);
    for line in [
        "topic = \"typed\"  # option --topic".to_owned(),
        "workers = 3  # variable WORKERS".to_owned(),
        format!("batch-size = 7  # file {path}"),
        "commit-interval = 5.0  # default".to_owned(),
        "# postgres-password = \"***\"  # variable POSTGRES_PASSWORD".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert!(
        text.contains("sasl.password=***") && !text.contains("hunter2"),
        "{text}"
    );
    let json = said(&[&arguments[..], &["--json"]].concat(), &variables);
    assert!(!json.contains("hunter2"), "{json}");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["workers"][0]["from"], "variable WORKERS", "{json:#}");
    let mistake = program(&["config", "show"], &[("WORKERS", "many")]);
    assert_eq!(mistake.status.code(), Some(64));
}

#[test]
fn a_shell_takes_the_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = said(&["completions", shell], &[]);
        assert!(
            text.contains("offset-reset") && text.contains("replay"),
            "{shell}"
        );
    }
    // Bash itself says what would follow.
    let script = "source /dev/stdin
        COMP_WORDS=(storage-consumer consume --offset-reset e) COMP_CWORD=3
        _storage__consumer storage-consumer e --offset-reset
        echo \"${COMPREPLY[@]}\"
        COMP_WORDS=(storage-consumer offsets s) COMP_CWORD=2
        _storage__consumer storage-consumer s offsets
        echo \"${COMPREPLY[@]}\"";
    let folder = tempfile::tempdir().expect("a folder");
    let completions = folder.path().join("completions");
    fs::write(&completions, said(&["completions", "bash"], &[])).expect("written");
    let bash = Command::new("bash")
        .args(["-c", script])
        .stdin(fs::File::open(&completions).expect("the completions"))
        .output()
        .expect("bash is there");
    let errors = String::from_utf8_lossy(&bash.stderr);
    assert_eq!(
        String::from_utf8_lossy(&bash.stdout),
        "earliest\nshow set\n",
        "{errors}"
    );
}

#[test]
fn each_command_has_a_manual_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a path of ASCII");
    said(&["man", "--out", path], &[]);
    let mut pages: Vec<String> = fs::read_dir(folder.path())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("ASCII"))
        .collect();
    pages.sort();
    let commands = [
        "",
        "-audit",
        "-check",
        "-completions",
        "-config",
        "-config-init",
        "-config-show",
        "-consume",
        "-man",
        "-migrate",
        "-offsets",
        "-offsets-set",
        "-offsets-show",
        "-replay",
        "-status",
    ];
    for command in commands {
        let page = format!("storage-consumer{command}.1");
        assert!(pages.contains(&page), "{page} in {pages:?}");
    }
    let page = said(&["man", "offsets", "set"], &[]);
    assert_eq!(
        page,
        fs::read_to_string(folder.path().join("storage-consumer-offsets-set.1")).expect("the page")
    );
    assert!(
        page.contains(".TH STORAGE-CONSUMER-OFFSETS-SET 1")
            && page.contains(".SH EXAMPLES")
            && page.contains("2026\\-01\\-15T10:30:00Z"),
        "{page}"
    );
    assert_eq!(program(&["man", "nothing"], &[]).status.code(), Some(64));
}
