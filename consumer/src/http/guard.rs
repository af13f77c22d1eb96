//! Owns what protects the page in a browser: the headers that every answer carries, and the names that the page answers to.
//!
//! A page of a stranger can make a browser ask this address (DNS rebinding: the stranger's own name is made to point
//! here), and would then read what is served. Such a request names the stranger's host. It can be no IP address, no name
//! without a dot, and none below the domains that nobody can own, so these are answered, and all others only if they were
//! named by `--http-names`.

use super::Sources;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;

/// Nothing but our own files, no script that stands in the page, no frame, no form; texts never become markup.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, HeaderValue); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CONTENT_SECURITY_POLICY),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// Domains that are nobody's: RFC 6761, 6762, 8375, ICANN's `internal`, and what Kubernetes resolves by itself.
const NOBODYS: [&str; 5] = ["localhost", "local", "internal", "home.arpa", "svc"];

/// Adds the headers to an answer.
pub(super) async fn with_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().extend(HEADERS);
    response
}

/// Answers only to names that can be ours.
pub(super) async fn by_our_names(State(sources): State<Sources>, request: Request, next: Next) -> Response {
    if is_ours(host(request.headers()), &sources.names) {
        return next.run(request).await;
    }
    let text = "This page does not answer to the name that it was asked by, since any name can be made to point here \
                (DNS rebinding). Ask by IP address, or start storage-consumer with --http-names NAME.\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

/// The host as it was asked for; browsers always name one.
fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST).map(|host| host.to_str().unwrap_or("."))
}

fn is_ours(host: Option<&str>, names: &[String]) -> bool {
    let Some(host) = host else { return true };
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    if let Some((ip, _)) = bracketed {
        return ip.parse::<IpAddr>().is_ok();
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if name.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = name.to_ascii_lowercase();
    let below = |domain: &&str| name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    !name.contains('.') || NOBODYS.iter().any(below) || names.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_that_nobody_can_own_are_ours() {
        let named = ["consumer.example.com".to_owned()];
        let ours = |host: &str| is_ours(Some(host), &named);
        for host in [
            "127.0.0.1:9090",
            "10.1.2.3",
            "[::1]:9090",
            "localhost:9090",
            "LOCALHOST",
            "consumer:9090",
            "a.localhost",
            "consumer.monitoring.svc:9090",
            "consumer.monitoring.svc.cluster.local",
            "machine.local",
            "Consumer.Example.com:80",
        ] {
            assert!(ours(host), "{host}");
        }
        for host in [
            "evil.example:9090",
            "127.0.0.1.evil.example",
            "notlocal.xlocal",
            "other.example.com",
            "consumer.example.com.evil.example",
            "[evil.example]:9090",
            ".",
            "a..",
        ] {
            assert!(!ours(host), "{host}");
        }
        assert!(is_ours(None, &[]), "no browser");
    }
}
