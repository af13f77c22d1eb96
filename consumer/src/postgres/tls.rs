//! Owns TLS with PostgreSQL: libpq's modes by rustls, and what a person does about a handshake that fails.
//! Certificates are read whenever a connection is made, so that they can be renewed under a running consumer.

use crate::config::{PostgresTls, RootCertificates, SslMode};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError,
    RootCertStore, SignatureScheme,
};
use std::path::Path;
use std::sync::Arc;
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;
use webpki::Error as PkiError;

/// Makes the connector as the files are now. The error names the option.
pub(super) fn connector(tls: &PostgresTls) -> Result<MakeRustlsConnect, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier {
        trusted: tls.roots.as_ref().map(Trusted::read).transpose()?,
        name: tls.mode == SslMode::VerifyFull,
        provider: Arc::clone(&provider),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS is not available: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = certificates(&own.chain).map_err(|what| format!("--postgres-sslcert: {what}"))?;
            let key = PrivateKeyDer::from_pem_file(&own.key).map_err(|error| {
                format!(
                    "--postgres-sslkey: {} holds no private key that can be used ({error}): give one in PEM, without a passphrase",
                    own.key.display()
                )
            })?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                format!("--postgres-sslcert and --postgres-sslkey do not belong together, or cannot be used: {error}")
            })?
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

/// The certificates of a PEM file, of which there must be one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match read {
        Ok(found) if found.is_empty() => Err(format!("{shown} holds no certificate in PEM")),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{shown} cannot be used: {error}")),
    }
}

/// Whom we trust.
#[derive(Debug)]
struct Trusted {
    roots: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
}

impl Trusted {
    fn read(roots: &RootCertificates) -> Result<Self, String> {
        let option = "--postgres-sslrootcert";
        let mut store = RootCertStore::empty();
        let certificates = match roots {
            RootCertificates::System => {
                let found = rustls_native_certs::load_native_certs();
                store.add_parsable_certificates(found.certs);
                Vec::new()
            }
            RootCertificates::File(path) => {
                let found = certificates(path).map_err(|what| format!("{option}: {what}"))?;
                for certificate in &found {
                    store
                        .add(certificate.clone())
                        .map_err(|error| format!("{option}: {} cannot be used: {error}", path.display()))?;
                }
                found
            }
        };
        if store.is_empty() {
            return Err(format!(
                "{option}: the system trusts no authority, or does not say so: install its certificates \
                 (the package ca-certificates), or give a file"
            ));
        }
        Ok(Self {
            roots: store,
            certificates,
        })
    }
}

/// What of the server is verified, by libpq's rules.
#[derive(Debug)]
struct Verifier {
    /// Nobody: the connection is encrypted, and may be with anybody.
    trusted: Option<Trusted>,
    /// The certificate must be for the host.
    name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(trusted) = &self.trusted {
            let parsed = ParsedCertificate::try_from(certificate)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            match verify_server_cert_signed_by_trust_anchor(
                &parsed,
                &trusted.roots,
                intermediates,
                now,
                algorithms,
            ) {
                // A certificate that signed itself, and is trusted as such: what PostgreSQL's documentation makes first.
                // When this is found, the time of its validity has been looked at already (a test holds that).
                Err(error) if signed_itself(&error) && trusted.certificates.contains(certificate) => {}
                other => other?,
            }
            if self.name {
                verify_server_name(&parsed, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn signed_itself(error: &Error) -> bool {
    pki(error) == Some(&PkiError::CaUsedAsEndEntity)
}

fn pki(error: &Error) -> Option<&PkiError> {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner.downcast_ref(),
        _ => None,
    }
}

/// The error of TLS behind one of the connection.
pub(super) fn cause(error: &tokio_postgres::Error) -> Option<&Error> {
    let mut next = std::error::Error::source(error);
    while let Some(inner) = next {
        // An io::Error that wraps another one does not name it as its source.
        let wrapped = inner
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        let found = match wrapped {
            Some(wrapped) => wrapped.downcast_ref(),
            None => inner.downcast_ref(),
        };
        if found.is_some() {
            return found;
        }
        next = inner.source();
    }
    None
}

/// What is wrong, and what a person does about it, where it is about encryption.
pub(super) fn advice(error: &tokio_postgres::Error) -> Option<String> {
    if let Some(error) = cause(error) {
        return advice_for(error);
    }
    if let Some(database) = error.as_db_error() {
        let demanded = database.code() == &SqlState::INVALID_AUTHORIZATION_SPECIFICATION
            && database.message().contains("client certificate");
        let advice = || {
            format!(
                "{}: give --postgres-sslcert and --postgres-sslkey",
                database.message()
            )
        };
        return demanded.then(advice);
    }
    let text = std::error::Error::source(error)?.to_string();
    let advice = "set ssl = on there, or choose another --postgres-sslmode";
    (text == "server does not support TLS").then(|| format!("the {text}: {advice}"))
}

/// Nothing where TLS' own words say all there is.
fn advice_for(error: &Error) -> Option<String> {
    use CertificateError as Wrong;
    let certificate = match error {
        Error::InvalidCertificate(certificate) => certificate,
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate,
        ) => {
            return Some(format!(
                "the server refuses our certificate ({error}): give one that its authority signed and that is valid now \
                 by --postgres-sslcert and --postgres-sslkey"
            ));
        }
        _ => return None,
    };
    Some(match certificate {
        Wrong::Expired | Wrong::ExpiredContext { .. } => {
            format!("the server's certificate has expired ({certificate}): renew it at the server")
        }
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
            format!("the server's certificate is not valid yet ({certificate}): correct the clock of one of the machines")
        }
        Wrong::UnknownIssuer | Wrong::BadSignature => {
            "the server's certificate is signed by none of --postgres-sslrootcert: either that is the wrong file, or this \
             is not the server that is meant"
                .to_owned()
        }
        Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => format!(
            "the server's certificate is for another name than --postgres-host ({certificate}): connect by a name that is \
             among its alternative names, or make a certificate that has this one (a common name does not count)"
        ),
        _ => match pki(error) {
            Some(PkiError::CaUsedAsEndEntity) => {
                "the server's certificate is one of an authority: give it itself as --postgres-sslrootcert, or make a \
                 certificate for the server"
                    .to_owned()
            }
            Some(PkiError::UnsupportedCertVersion) => {
                "the server's certificate is of X.509 version 1: make one of version 3, with an alternative name".to_owned()
            }
            _ => return None,
        },
    })
}
