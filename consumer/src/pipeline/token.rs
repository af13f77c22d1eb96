//! Owns how OAUTHBEARER's tokens are fetched: the client's credentials for a token (RFC 6749, 4.4), over HTTP. librdkafka
//! asks for one when it starts, and again after four fifths of its life. The secret is read from its file each time.

use crate::config::OAuth;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// An answer may take so long. The consume loop waits meanwhile, and is still alive by its own measure.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What a token lasts that does not say so.
const LIFETIME: u64 = 300;
/// An answer is read up to so many bytes.
const LARGEST: u64 = 1 << 20;

/// A token.
pub struct Token {
    /// As it is sent to brokers. A secret.
    pub value: String,
    /// Who it is for, as librdkafka wants to know.
    pub principal: String,
    /// When it ends, in milliseconds of Unix time.
    pub expires: i64,
}

/// What is of use in an answer.
#[derive(serde::Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<u64>,
}

/// Fetches a token. The error says what to look at, and holds no secret.
pub fn fetch(oauth: Option<&OAuth>) -> Result<Token, String> {
    let oauth = oauth.ok_or("OAUTHBEARER needs --kafka-oauth-token-endpoint")?;
    let secret = oauth.current_secret()?;
    let credentials = BASE64_STANDARD.encode(format!("{}:{}", oauth.client_id, secret.expose()));
    let mut form = vec![("grant_type", "client_credentials")];
    form.extend(oauth.scope.as_deref().map(|scope| ("scope", scope)));
    let mut answer = agent()
        .post(&oauth.endpoint)
        .header("Authorization", format!("Basic {credentials}"))
        .header("Accept", "application/json")
        .send_form(form)
        .map_err(|error| format!("{}: {error}", oauth.endpoint))?;
    let status = answer.status();
    let text = answer.body_mut().with_config().limit(LARGEST).read_to_string();
    if !status.is_success() {
        return Err(format!(
            "{}: {status}; check --kafka-oauth-client-id, its secret and --kafka-oauth-scope",
            oauth.endpoint
        ));
    }
    // The answer itself is a secret: nothing of it is told.
    let parsed = text
        .ok()
        .and_then(|text| serde_json::from_str::<Answer>(&text).ok());
    let answer = parsed.ok_or_else(|| format!("{}: the answer holds no access_token", oauth.endpoint))?;
    let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(LIFETIME));
    let expires = SystemTime::now()
        .checked_add(lifetime)
        .and_then(|end| end.duration_since(SystemTime::UNIX_EPOCH).ok())
        .and_then(|end| i64::try_from(end.as_millis()).ok())
        .ok_or_else(|| format!("{}: the token's expires_in is no length of time", oauth.endpoint))?;
    Ok(Token {
        value: answer.access_token,
        principal: oauth.client_id.clone(),
        expires,
    })
}

/// Trusts whom the system trusts.
fn agent() -> Agent {
    let roots: Vec<_> = rustls_native_certs::load_native_certs()
        .certs
        .iter()
        .map(|root| Certificate::from_der(root).to_owned())
        .collect();
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(TIMEOUT))
        // A status is an answer; one that leads elsewhere would take the secret there.
        .http_status_as_error(false)
        .max_redirects(0)
        .build()
        .into()
}
