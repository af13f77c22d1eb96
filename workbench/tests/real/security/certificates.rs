//! Authorities and the certificates that they sign, as PEM, made for a test.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// Who signs certificates.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, as PEM.
    pub(super) certificate: String,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let key = new_key();
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).expect("signed");
        Self {
            certificate: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for these host names and addresses.
    pub(super) fn issue(&self, name: &str, hosts: &[&str]) -> Identity {
        self.sign(&named(name, hosts))
    }

    /// The same, but its time is over.
    pub(super) fn issue_expired(&self, name: &str, hosts: &[&str]) -> Identity {
        self.sign(&expired(named(name, hosts)))
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = new_key();
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A certificate that signed itself as an authority, as `openssl req -x509` makes it.
pub(super) fn self_signed(hosts: &[&str]) -> Identity {
    itself(named("itself", hosts))
}

/// The same, but its time is over.
pub(super) fn self_signed_expired(hosts: &[&str]) -> Identity {
    itself(expired(named("itself", hosts)))
}

fn itself(mut params: CertificateParams) -> Identity {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = new_key();
    Identity {
        certificate: params.self_signed(&key).expect("signed").pem(),
        key: key.serialize_pem(),
    }
}

fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("names");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn expired(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// Files of the test's own, which only it can read.
pub(super) struct Files(tempfile::TempDir);

impl Files {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes the file, whether it is there or not, and gives its path as an option's value.
    pub(super) fn write(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        // At once, as whoever rotates secrets does it: nobody reads half of it.
        let new = self.path("new");
        std::fs::write(&new, content).expect("written");
        private(&new);
        std::fs::rename(&new, &path).expect("renamed");
        path.to_str().expect("UTF-8").to_owned()
    }

    /// A key file with a passphrase that is the content of another file.
    pub(super) fn encrypt(&self, key: &str, passphrase: &str) -> String {
        let path = self.path("encrypted.key");
        let made = Command::new("openssl")
            .args([
                "pkcs8",
                "-topk8",
                "-in",
                key,
                "-passout",
                &format!("file:{passphrase}"),
                "-out",
            ])
            .arg(&path)
            .output()
            .expect("openssl is installed: run scripts/setup test");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        path.to_str().expect("UTF-8").to_owned()
    }
}

fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("its own");
}
