//! One HTTP client for the hub and the package registry.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::HeaderMap;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use super::Network;
use super::address::{is_https, join, origin};
use crate::error::ConvertError;

/// Redirects that are followed for one request.
const MAX_REDIRECTS: usize = 8;
/// Time for name, connection and handshake.
const CONNECT: Duration = Duration::from_secs(30);

/// Sends requests; connections are kept for the next one.
pub(super) struct Client {
    agent: ureq::Agent,
    /// See [`Network`].
    pub network: Network,
}

/// A request without a body.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub url: &'a str,
    /// Only headers are wanted, of this origin: a redirect to another one is the answer.
    pub head: bool,
    /// Value of the `Authorization` header; sent to the origin of `url` only.
    pub authorization: Option<&'a str>,
    /// Value of the `Accept` header.
    pub accept: Option<&'a str>,
    /// First byte that is wanted.
    pub from: u64,
}

/// An answer of any status.
pub(super) struct Reply {
    pub status: u16,
    /// Where the answer came from, after redirects.
    pub url: String,
    /// Headers of the redirects, oldest first, and of the answer.
    hops: Vec<HeaderMap>,
    body: ureq::Body,
}

/// No answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub reason: String,
    pub advice: &'static str,
    /// The server was not reached; another time it may be.
    pub unreachable: bool,
}

impl Client {
    /// Reads certificates and the proxy from the system and the environment.
    pub fn new(network: &Network) -> Self {
        let tls = TlsConfig::builder().provider(TlsProvider::Rustls).root_certs(roots()).build();
        let mut config = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("coreai/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(network.silence))
            .timeout_per_write(Some(network.silence));
        if !network.proxy {
            config = config.proxy(None);
        }
        Self { agent: config.build().new_agent(), network: network.clone() }
    }

    /// Sends a request and follows redirects, but never from an encrypted to a plain connection.
    pub fn send(&self, request: &Request) -> Result<Reply, Failure> {
        let mut url = request.url.to_string();
        let mut hops = Vec::new();
        loop {
            let mut builder = if request.head { self.agent.head(&url) } else { self.agent.get(&url) };
            let home = origin(&url) == origin(request.url);
            if let Some(value) = request.authorization.filter(|_| home) {
                builder = builder.header("authorization", value);
            }
            if let Some(value) = request.accept {
                builder = builder.header("accept", value);
            }
            if request.from > 0 {
                builder = builder.header("range", format!("bytes={}-", request.from));
            }
            let (parts, body) = builder.call().map_err(|error| Failure::new(&url, &error))?.into_parts();
            let status = parts.status.as_u16();
            let location = text(&parts.headers, "location").map(str::to_string);
            hops.push(parts.headers);
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                return Ok(Reply { status, url, hops, body });
            }
            let next = location.and_then(|location| join(&url, &location));
            let next = next.ok_or_else(|| Failure::redirect(&url, "leads nowhere"))?;
            if request.head && origin(&next) != origin(request.url) {
                return Ok(Reply { status, url, hops, body });
            }
            if is_https(&url) && !is_https(&next) {
                return Err(Failure::redirect(&url, "leads to a connection that is not encrypted"));
            }
            if hops.len() > MAX_REDIRECTS {
                return Err(Failure::redirect(&url, "is one of too many"));
            }
            url = next;
        }
    }
}

/// The certificate authorities of the system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`. Systems without any,
/// such as bare containers, get Mozilla's list.
fn roots() -> RootCerts {
    let found = rustls_native_certs::load_native_certs().certs;
    if found.is_empty() {
        return RootCerts::WebPki;
    }
    let owned = found.iter().map(|der| Certificate::from_der(der.as_ref()).to_owned()).collect();
    RootCerts::Specific(Arc::new(owned))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

impl Reply {
    /// A header of the answer itself.
    pub fn header(&self, name: &str) -> Option<&str> {
        text(self.hops.last()?, name)
    }

    /// A header of the first redirect that has it, or else of the answer.
    pub fn first_header(&self, name: &str) -> Option<&str> {
        self.hops.iter().find_map(|headers| text(headers, name))
    }

    /// Bytes of the body, if the server told and the answer is not a redirect.
    pub fn length(&self) -> Option<u64> {
        let direct = matches!(self.status, 200 | 206);
        self.header("content-length").filter(|_| direct)?.trim().parse().ok()
    }

    /// First byte of a partial answer.
    pub fn range_start(&self) -> Option<u64> {
        let range = self.header("content-range")?.trim().strip_prefix("bytes")?.trim_start();
        range.split('-').next()?.parse().ok()
    }

    /// The body as it arrives.
    pub fn reader(self) -> impl Read {
        self.body.into_reader()
    }

    /// The whole body, if it has at most `limit` bytes.
    pub fn bytes(self, what: &str, limit: u64) -> Result<Vec<u8>, ConvertError> {
        let mut bytes = Vec::new();
        let read = self.reader().take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| ConvertError::Download {
            what: what.into(),
            reason: format!("the connection broke: {error}"),
            advice: "run it again".into(),
        })?;
        if bytes.len() as u64 > limit {
            return Err(ConvertError::Download {
                what: what.into(),
                reason: format!("the answer has more than {limit} bytes"),
                advice: "check the address".into(),
            });
        }
        Ok(bytes)
    }

    /// The error of an answer that is not a success.
    pub fn refusal(&self, what: &str) -> ConvertError {
        let (reason, advice) = match self.status {
            401 | 403 => ("no access", "check the credentials in the address or the token"),
            404 | 410 => ("not found", "check the name and the version"),
            407 => {
                ("the proxy wants credentials", "put them in the proxy variable: http://user:password@host")
            }
            408 | 429 => ("the server wants fewer requests", "wait a while and run it again"),
            500..=599 => ("the server has a problem", "run it again later"),
            _ => ("unexpected answer", "check the address"),
        };
        let origin = origin(&self.url);
        ConvertError::Download {
            what: what.into(),
            reason: format!("{reason} (status {} of {origin})", self.status),
            advice: advice.into(),
        }
    }
}

impl Failure {
    fn new(url: &str, error: &ureq::Error) -> Self {
        use ureq::Error as E;
        let (unreachable, advice) = match error {
            // rustls reports refused certificates as invalid data of the connection
            E::Io(inner) if inner.kind() == std::io::ErrorKind::InvalidData => (false, CERTIFICATE),
            E::Rustls(_) | E::Tls(_) => (false, CERTIFICATE),
            E::HostNotFound
            | E::Io(_)
            | E::Timeout(_)
            | E::ConnectionFailed
            | E::ConnectProxyFailed(_)
            | E::Protocol(_) => (true, "check the network and, if there is one, the proxy (HTTPS_PROXY)"),
            _ => (false, "check the address"),
        };
        Self { reason: format!("{} cannot be reached: {error}", origin(url)), advice, unreachable }
    }

    fn redirect(url: &str, why: &str) -> Self {
        let reason = format!("a redirect of {} {why}", origin(url));
        Self { reason, advice: "check the address", unreachable: false }
    }

    /// The error about what was wanted.
    pub fn about(self, what: &str) -> ConvertError {
        ConvertError::Download { what: what.into(), reason: self.reason, advice: self.advice.into() }
    }
}

const CERTIFICATE: &str =
    "if this network has a certificate authority of its own, name its certificates in SSL_CERT_FILE";
