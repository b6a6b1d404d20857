//! The one HTTP client that endpoints share: requests over kept connections, plain or with TLS, and nothing more.
//!
//! What it adds to the library below it is what every endpoint needs: time limits, a bound on what is read of an answer,
//! errors that say which server is meant and what is wrong with it, and no redirects. A redirect would let a server choose
//! where the router sends to; here it is an answer like any other. Certificates are checked against those that the system
//! trusts, and those in a file of one's own.

mod error;
mod quote;
mod retry_after;

use std::{fmt, path::PathBuf, time::Duration};

use http_body_util::{BodyExt, Full};
pub use hyper::{
    HeaderMap, Method, Request, StatusCode, Uri,
    body::Bytes,
    header::{self, HeaderName, HeaderValue},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::time::{Instant, timeout, timeout_at};

pub use self::{
    error::{HttpError, SetupError},
    quote::quote,
    retry_after::retry_after,
};

/// What is read of an answer's body at most. What endpoints look for stands in its first lines.
pub const ANSWER_BYTES: usize = 64 * 1024;

/// How long the body of an answer may take. Its head has said what matters.
const ANSWER_BODY_TIME: Duration = Duration::from_secs(5);

/// The longest that the head of an answer may be.
const ANSWER_HEAD_BYTES: usize = 64 * 1024;

/// How many unused connections are kept for the next requests, per server. It is to be more than there are requests at once, as
/// those beyond it connect anew each time: Sentry sends one for each DSN.
const IDLE_CONNECTIONS_PER_SERVER: usize = 64;

/// How long an unused connection is kept: shorter than most servers do, so that they seldom close one under a request.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// How long a TCP connection may take to be made, per address.
    pub connect_timeout: Duration,
    /// How long a request may take altogether: looking the name up, connecting, sending, the answer.
    pub timeout: Duration,
    /// A file of certificates in PEM that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// What a server answered, whatever it was.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, or as much of it as came in time: [`ANSWER_BYTES`] at most.
    pub body: Bytes,
}

/// Sends requests. Clones share their connections.
#[derive(Clone)]
pub struct HttpClient {
    client: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl HttpClient {
    /// A client without a connection yet. Reads the system's certificates and `ca_file`.
    pub fn new(settings: &HttpSettings) -> Result<HttpClient, SetupError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(settings.connect_timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(settings)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_SERVER)
            .http1_max_buf_size(ANSWER_HEAD_BYTES)
            .build(connector);
        Ok(HttpClient { client, timeout: settings.timeout })
    }

    /// Sends a request, whose URI names the server, and waits for the answer. The status decides what becomes of messages: once
    /// that is there, a body that breaks off or does not end is cut short, and no reason to send them again. An error
    /// says nothing of the request but the server's host and port.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Reply, HttpError> {
        let server = server_of(request.uri());
        let deadline = Instant::now() + self.timeout;
        let (head, mut rest) = match timeout_at(deadline, self.client.request(request)).await {
            Ok(Ok(response)) => response.into_parts(),
            Ok(Err(error)) => return Err(error::Problem::from(error).at(server)),
            Err(_) => return Err(HttpError::TimedOut { server, limit: self.timeout }),
        };
        let mut body = Vec::new();
        let reading = async {
            while body.len() < ANSWER_BYTES
                && let Some(Ok(frame)) = rest.frame().await
            {
                if let Some(data) = frame.data_ref() {
                    let wanted = data.len().min(ANSWER_BYTES - body.len());
                    body.extend_from_slice(data.get(..wanted).unwrap_or_default());
                }
            }
        };
        // Too late or not, what has been read is good.
        let _ =
            timeout(ANSWER_BODY_TIME.min(deadline.saturating_duration_since(Instant::now())), reading).await;
        Ok(Reply { status: head.status, headers: head.headers, body: body.into() })
    }
}

/// Host and port, without what else an authority may hold (a user's name and password).
fn server_of(uri: &Uri) -> String {
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    format!("{}:{port}", uri.host().unwrap_or_default())
}

fn tls(settings: &HttpSettings) -> Result<ClientConfig, SetupError> {
    let mut roots = RootCertStore::empty();
    // A system without certificates is no error: not everybody uses TLS. Who does is told by the first answer.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = &settings.ca_file {
        let problem = |problem: String| SetupError::CaFile { path: path.clone(), problem };
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| problem(error.to_string()))?;
        if certificates.is_empty() {
            return Err(problem("no certificate in it; PEM is expected".to_owned()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| problem(error.to_string()))?;
        }
    }
    let config = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

#[cfg(test)]
mod tests;
