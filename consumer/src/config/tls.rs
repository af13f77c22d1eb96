//! Owns what is configured of TLS with PostgreSQL, in libpq's words. How it is done is `postgres::tls`' business.

use std::path::PathBuf;

/// Whether the connection is encrypted, and whom it trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostgresTls {
    /// How far.
    pub mode: SslMode,
    /// Whose certificates are trusted; there are some where the mode verifies.
    pub roots: Option<RootCertificates>,
    /// Our own certificate and its key, for a server that asks.
    pub client: Option<ClientCertificate>,
}

/// A certificate with its key: PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, and those between it and its root.
    pub chain: PathBuf,
    /// The private key, without a passphrase.
    pub key: PathBuf,
}

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted where the server can.
    #[default]
    Prefer,
    /// Encrypted; the server is verified only where root certificates are given.
    Require,
    /// Encrypted, and the server's certificate is signed by whom we trust.
    VerifyCa,
    /// The same, and it is for the host that we connect to.
    VerifyFull,
}

/// Whose certificates are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCertificates {
    /// Those that the system trusts.
    System,
    /// Those of a PEM file.
    File(PathBuf),
}
