//! Owns where PostgreSQL's password comes from: given, in a file, or in libpq's password file. Files are read whenever a
//! connection is made, so that a password can be rotated under a running consumer.

use super::{Secret, file};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The folders in which PostgreSQL's programs look for a Unix socket by themselves.
const DEFAULT_SOCKETS: [&str; 2] = ["/tmp", "/var/run/postgresql"];

/// Where the password comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// It was given itself.
    Given(Secret),
    /// The content of a file.
    File(PathBuf),
    /// The first line of a password file (libpq's `.pgpass`) that speaks of the server.
    Passfile {
        /// The file.
        path: PathBuf,
        /// What holds where no line does.
        otherwise: Secret,
    },
}

/// Whom a password is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Login<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

impl Password {
    /// The password as it is now; or the rest of a sentence that begins with the option that names the file.
    pub(super) fn read(&self, login: &Login<'_>) -> Result<Secret, String> {
        match self {
            Password::Given(secret) => Ok(secret.clone()),
            Password::File(path) => file::secret(path),
            Password::Passfile { path, otherwise } => {
                let found = passfile(path)?.lines().find_map(|line| entry(line, login));
                Ok(found.map_or_else(|| otherwise.clone(), Secret::new))
            }
        }
    }

    /// The option that names the file.
    pub(super) fn option(&self) -> &'static str {
        match self {
            Password::Given(_) => "postgres-password",
            Password::File(_) => "postgres-password-file",
            Password::Passfile { .. } => "postgres-passfile",
        }
    }
}

/// The file's text. As with libpq, one that others can read is not used; what is no plain file (`/dev/null`) says nothing.
fn passfile(path: &Path) -> Result<String, String> {
    let shown = super::problem::shown(&path.to_string_lossy());
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(format!("there is no file {shown}"));
        }
        Err(error) => return Err(format!("cannot read the file {shown}: {error}")),
    };
    if !metadata.is_file() {
        return Ok(String::new());
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(format!(
            "the file {shown} can be read by others than its owner, so it is not used: chmod 0600 it"
        ));
    }
    file::read(path)
}

/// The password of a line `host:port:database:user:password`, if it speaks of the login.
fn entry(line: &str, login: &Login<'_>) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let line = line.strip_suffix('\r').unwrap_or(line);
    let mut rest = line;
    let mut next = || {
        let (field, after) = field(rest);
        rest = after;
        field
    };
    let (host, port, database, user, password) = (next()?, next()?, next()?, next()?, next()?);
    let is = |pattern: &Field, value: &str| pattern.is_wildcard() || pattern.text == value;
    let local = DEFAULT_SOCKETS.contains(&login.host) && host.text == "localhost";
    let fits = (is(&host, login.host) || local)
        && is(&port, &login.port.to_string())
        && is(&database, login.database)
        && is(&user, login.user);
    fits.then_some(password.text)
}

struct Field {
    text: String,
    escaped: bool,
}

impl Field {
    fn is_wildcard(&self) -> bool {
        self.text == "*" && !self.escaped
    }
}

/// The field at the beginning, without its escapes, and what follows its colon. Nothing where the line is over.
fn field(line: &str) -> (Option<Field>, &str) {
    if line.is_empty() {
        return (None, "");
    }
    let (mut text, mut escaped) = (String::new(), false);
    let mut chars = line.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            ':' => return (Some(Field { text, escaped }), &line[at + 1..]),
            '\\' => {
                escaped = true;
                text.push(chars.next().map_or('\\', |(_, char)| char));
            }
            char => text.push(char),
        }
    }
    (Some(Field { text, escaped }), "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    const LOGIN: Login<'_> = Login {
        host: "db.internal",
        port: 5432,
        database: "metrics",
        user: "consumer",
    };

    #[test]
    fn a_line_speaks_of_a_login_as_with_libpq() {
        let cases = [
            ("db.internal:5432:metrics:consumer:s3cret", Some("s3cret")),
            ("*:*:*:*:s3cret", Some("s3cret")),
            ("db.internal:*:metrics:*:s3cret\r", Some("s3cret")),
            (r"*:*:*:*:a\:b\\c", Some(r"a:b\c")),
            (r"\d\b.internal:*:*:*:x", Some("x")),
            (r"\*:*:*:*:x", None),
            ("*:*:*:*:a:b", Some("a")),
            ("db:5432:metrics:consumer:x", None),
            ("db.internal:5433:metrics:consumer:x", None),
            ("db.internal:5432:metric:consumer:x", None),
            ("db.internal:5432:metrics:owner:x", None),
            ("#*:*:*:*:x", None),
            ("db.internal:5432:metrics:consumer", None),
            ("", None),
        ];
        for (line, password) in cases {
            assert_eq!(entry(line, &LOGIN).as_deref(), password, "{line}");
        }
    }

    #[test]
    fn the_socket_that_needs_no_name_is_localhost() {
        let at = |host| entry("localhost:5432:*:*:x", &Login { host, ..LOGIN }).is_some();
        assert!(at("localhost") && at("/var/run/postgresql") && at("/tmp"));
        assert!(!at("/srv/sockets"));
        let login = Login {
            host: "/srv/sockets",
            ..LOGIN
        };
        assert!(entry("/srv/sockets:5432:*:*:x", &login).is_some());
    }

    fn written(mode: u32, text: &str) -> (tempfile::TempDir, Password) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pgpass");
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(mode)
            .open(&path)
            .expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        let otherwise = Secret::new("default");
        (folder, Password::Passfile { path, otherwise })
    }

    #[test]
    fn the_first_line_that_fits_counts_and_is_read_each_time() {
        let (folder, password) = written(
            0o600,
            "# ours\n\nother:*:*:*:no\n*:*:*:consumer:one\n*:*:*:*:two\n",
        );
        assert_eq!(password.read(&LOGIN), Ok(Secret::new("one")));
        let owner = Login {
            user: "owner",
            ..LOGIN
        };
        assert_eq!(password.read(&owner), Ok(Secret::new("two")));
        std::fs::write(folder.path().join("pgpass"), "*:*:*:*:three").expect("written");
        assert_eq!(password.read(&LOGIN), Ok(Secret::new("three")));
        std::fs::write(folder.path().join("pgpass"), "other:*:*:*:four").expect("written");
        assert_eq!(password.read(&LOGIN), Ok(Secret::new("default")));
    }

    #[test]
    fn a_password_file_that_others_can_read_is_refused() {
        let (_folder, password) = written(0o640, "*:*:*:*:hunter2");
        let what = password.read(&LOGIN).expect_err("refused");
        assert!(what.contains("chmod 0600") && !what.contains("hunter2"), "{what}");
        let nowhere = Password::Passfile {
            path: "/dev/null".into(),
            otherwise: Secret::new("default"),
        };
        assert_eq!(nowhere.read(&LOGIN), Ok(Secret::new("default")));
    }
}
