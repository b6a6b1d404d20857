//! `kind = "http"`: messages to any HTTP server, many in the body of one request.
//!
//! Requests go out one after the other, so messages arrive in their order; a request that got no answer is sent again, so
//! they can arrive twice. What an answer means for the messages is decided in `verdict.rs`: delivered, refused for good, or
//! held until the server, its address or the credentials are in order again. A body that is too large for the server, or in
//! which it finds something bad, is divided (`pieces.rs`).
//!
//! Redirects are not followed: the operator says where messages go, not a server.

mod body;
mod excerpt;
mod pieces;
mod verdict;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::Full;

use self::{
    body::{Body, Format, Layout},
    excerpt::Excerpts,
    pieces::{BodySize, Pieces},
    verdict::{Verdict, verdict},
};
use super::{
    Answer, Delivery, EndpointContext, EndpointSettings, NetworkEndpoint, OpenError, Opened, Preview, Then,
    Work,
};
use crate::{
    batch::Message,
    clock::Clock,
    config::{ByteSize, HttpHeaders, HttpUrl, Secret, Section, choices, parameters},
    http_client::{
        Bytes, HeaderMap, HeaderValue, HttpClient, HttpSettings, Method, Reply, Request, header, retry_after,
    },
    template::Template,
};

choices! {
    /// The method of every request.
    pub enum Verb {
        /// POST.
        Post = "POST",
        /// PUT.
        Put = "PUT",
    }
}

choices! {
    /// How a body is compressed.
    pub enum Compression {
        /// Not at all.
        None = "none",
        /// gzip, which every server that takes compressed bodies knows.
        Gzip = "gzip",
        /// Zstandard: smaller and faster.
        Zstd = "zstd",
    }
}

parameters! {
    /// How the router proves who it is: `user` and `password` (basic), or `bearer`.
    pub struct Auth {
        /// The user of basic authentication.
        pub user: Option<String>,
        /// The user's password.
        pub password: Option<Secret>,
        /// A token, sent as `Authorization: Bearer TOKEN`.
        pub bearer: Option<Secret>,
    }
}

parameters! {
    /// How much goes into one request.
    pub struct BatchBounds {
        /// The largest body, before compression. A message that is larger by itself travels alone. When a server takes
        /// less (413), half as much is tried, and so on.
        pub bytes: ByteSize = ByteSize::mib(1),
        /// How many messages a body holds at most.
        pub messages: usize = 10_000,
    }
}

impl Default for BatchBounds {
    fn default() -> Self {
        BatchBounds { bytes: ByteSize::mib(1), messages: 10_000 }
    }
}

parameters! {
    /// Sends messages to any HTTP server, many with one request. Redirects are not followed.
    pub struct Parameters {
        /// Where to. A user and a password belong into `auth`.
        pub url: HttpUrl,
        /// The method of every request.
        pub method: Verb = Verb::Post,
        /// Headers that go with every request. Their values are never shown.
        pub headers: HttpHeaders = HttpHeaders::default(),
        /// How the router proves who it is.
        pub auth: Option<Auth>,
        /// How messages lie in a body.
        pub format: Format = Format::Ndjson,
        /// What a line looks like with `format = "text"`.
        pub template: Template = Template::timestamp_and_payload(),
        /// How a body is compressed.
        pub compress: Compression = Compression::None,
        /// How much goes into one request.
        pub batch: BatchBounds = BatchBounds::default(),
        /// How long messages wait for others to travel with.
        pub linger: Duration = Duration::from_secs(1),
        /// How long a request may take altogether, its answer included.
        pub timeout: Duration = Duration::from_secs(30),
        /// A file of certificates in PEM that are trusted besides the system's.
        pub ca_file: Option<PathBuf>,
    }
}

/// A section of a configuration, for the reference page and the tests.
pub const SAMPLE: &str = r#"
url = "https://collector.example.org/logs"
auth = { bearer = "${COLLECTOR_TOKEN}" }
compress = "gzip"
"#;

/// How long making a connection may take, unless the whole request may not take as long.
const LONGEST_CONNECT: Duration = Duration::from_secs(10);

/// A part of a path that is shorter is a word, not a token (webhooks have theirs in the path).
const SHORTEST_TOKEN: usize = 16;

/// What servers are told of who sends.
const USER_AGENT: &str = concat!("metlog/", env!("CARGO_PKG_VERSION"));

impl EndpointSettings for Parameters {
    fn open(&self, context: EndpointContext) -> Result<Opened, OpenError> {
        let EndpointContext { name, clock, .. } = context;
        let problem = |problem: String| OpenError { name: name.clone(), problem };
        let timeout = self.timeout.max(Duration::from_millis(1));
        let client = HttpClient::new(&HttpSettings {
            connect_timeout: timeout.min(LONGEST_CONNECT),
            timeout,
            ca_file: self.ca_file.clone(),
        })
        .map_err(|error| problem(error.to_string()))?;
        Ok(Opened::Network(Box::new(HttpEndpoint {
            client,
            clock,
            method: self.verb(),
            url: self.url.clone(),
            headers: self.request_headers().map_err(problem)?,
            layout: self.layout(),
            compression: self.compress,
            body_size: BodySize::new(self.batch.bytes.bytes() as usize),
            excerpts: Excerpts::new(self.secrets()),
            name,
        })))
    }

    fn named_files(&self) -> Vec<&Path> {
        self.ca_file.as_deref().into_iter().collect()
    }

    fn sender(&self) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        let uri = self.url.uri();
        (uri.scheme_str(), uri.authority().map(|authority| authority.as_str())).hash(&mut hasher);
        if let Some(Ok(credentials)) = self.auth.as_ref().map(Auth::header) {
            credentials.as_bytes().hash(&mut hasher);
        }
        for (name, value) in self.headers.map() {
            (name.as_str(), value.as_bytes()).hash(&mut hasher);
        }
        Some(hasher.finish())
    }

    fn preview(&self, message: &Message<'_>) -> Preview {
        let Body { bytes, .. } = self.layout().body(&[*message], usize::MAX);
        let how = match self.compress {
            Compression::None => String::new(),
            compression => format!(" (shown before {compression})"),
        };
        Preview::Sends { to: format!("{} {}{how}", self.method, self.url.shown()), bytes }
    }

    fn check(&self, section: &mut Section<'_>) {
        if let Err(problem) = self.request_headers() {
            let span = section.span_of("auth");
            section.diagnostics().error(span, problem);
        }
        if self.batch.bytes.bytes() == 0 || self.batch.messages == 0 {
            let span = section.span_of("batch");
            let problem =
                section.diagnostics().error(span, "a batch holds at least one message and one byte");
            problem.help("leave it out for the default");
        }
        if self.format != Format::Text && section.value("template").is_some() {
            let span = section.span_of("template");
            let problem = section.diagnostics().warning(span, "`template` does nothing with this format");
            problem.help("add format = \"text\", or remove it");
        }
        if !self.url.is_encrypted() && self.ca_file.is_some() {
            let span = section.span_of("ca_file");
            let problem = section.diagnostics().warning(span, "`ca_file` does nothing with an http:// URL");
            problem.help("use an https:// URL, or remove it");
        }
    }

    fn linger(&self) -> Duration {
        self.linger
    }
}

impl Parameters {
    fn verb(&self) -> Method {
        match self.method {
            Verb::Post => Method::POST,
            Verb::Put => Method::PUT,
        }
    }

    fn layout(&self) -> Layout {
        Layout::new(self.format, &self.template, self.batch.messages)
    }

    /// The headers of every request; the operator's own come last and win.
    fn request_headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.layout().content_type()));
        match self.compress {
            Compression::None => {}
            compression => {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(compression.as_str()));
            }
        }
        if let Some(auth) = &self.auth {
            if self.headers.map().contains_key(header::AUTHORIZATION) {
                return Err("there is an `Authorization` among the headers already".to_owned());
            }
            headers.insert(header::AUTHORIZATION, auth.header()?);
        }
        for (name, value) in self.headers.map() {
            headers.insert(name, value.clone());
        }
        Ok(headers)
    }

    /// Everything that must not be shown if a server repeats it.
    fn secrets(&self) -> Vec<String> {
        let headers = self.headers.map().values();
        let mut secrets: Vec<String> =
            headers.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
        if let Some(auth) = &self.auth {
            secrets.extend(
                [&auth.password, &auth.bearer].into_iter().flatten().map(|it| it.reveal().to_owned()),
            );
            secrets.extend(auth.basic());
        }
        let path = self.url.uri().path();
        secrets.push(path.to_owned());
        secrets.extend(path.split('/').filter(|part| part.len() >= SHORTEST_TOKEN).map(str::to_owned));
        if let Some(query) = self.url.uri().query() {
            secrets.push(query.to_owned());
            secrets.extend(query.split('&').filter_map(|pair| Some(pair.split_once('=')?.1.to_owned())));
        }
        secrets
    }
}

impl Auth {
    /// User and password as basic authentication writes them.
    fn basic(&self) -> Option<String> {
        let (user, password) = (self.user.as_ref()?, self.password.as_ref()?);
        Some(STANDARD.encode(format!("{user}:{}", password.reveal())))
    }

    fn header(&self) -> Result<HeaderValue, String> {
        let text = match (&self.bearer, self.basic()) {
            (Some(token), None) if self.user.is_none() && self.password.is_none() => {
                format!("Bearer {}", token.reveal())
            }
            (None, Some(basic)) => format!("Basic {basic}"),
            _ => return Err("`auth` is either { user, password } or { bearer }".to_owned()),
        };
        if self.user.as_ref().is_some_and(|user| user.contains(':')) {
            return Err("a user's name cannot have a colon".to_owned());
        }
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| "`bearer` has characters that no header can have".to_owned())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

struct HttpEndpoint {
    name: String,
    client: HttpClient,
    clock: Arc<dyn Clock>,
    method: Method,
    url: HttpUrl,
    headers: HeaderMap,
    layout: Layout,
    compression: Compression,
    body_size: BodySize,
    excerpts: Excerpts,
}

impl NetworkEndpoint for HttpEndpoint {
    fn deliver<'a>(&'a mut self, work: &'a Work) -> Delivery<'a> {
        Box::pin(async move {
            let messages: Vec<Message<'_>> = work.messages().collect();
            let mut rest = messages.as_slice();
            let mut pieces = Pieces::default();
            let mut answer = Answer::delivered(0);
            while !rest.is_empty() && answer.then == Then::Done {
                let next = self.send_some(rest, &mut pieces).await;
                pieces.settled(next.settled);
                rest = rest.get(next.settled..).unwrap_or_default();
                answer = answer.and(next);
            }
            answer
        })
    }
}

impl HttpEndpoint {
    /// Sends as many of the messages as fit into one body. Settles none of them where a smaller body is to be tried.
    async fn send_some(&mut self, messages: &[Message<'_>], pieces: &mut Pieces) -> Answer {
        let piece = messages.get(..pieces.next()).unwrap_or(messages);
        let Body { bytes, messages: count } = self.layout.body(piece, self.body_size.bytes());
        let size = bytes.len();
        let reply = match self.send(bytes).await {
            Ok(reply) => reply,
            Err(error) => return Answer::retry(0, error),
        };
        match verdict(reply.status) {
            Verdict::Delivered => {
                self.body_size.succeeded();
                Answer::delivered(count)
            }
            Verdict::TooLarge if count > 1 => {
                if self.body_size.too_large(size) {
                    let bytes = self.body_size.bytes();
                    tracing::info!(
                        endpoint = self.name,
                        bytes,
                        "the server takes no body of this size; halved"
                    );
                } else {
                    pieces.halve(count);
                }
                Answer::delivered(0)
            }
            Verdict::RefusedSome(_) if pieces.search(count) => Answer::delivered(0),
            Verdict::RefusedSome(reason) => self.refused(reason, count, &reply),
            Verdict::TooLarge => self.refused(verdict::TOO_LARGE, count, &reply),
            Verdict::Refused(reason) => self.refused(reason, count, &reply),
            Verdict::Later => {
                let mut answer = Answer::retry(0, self.describe(&reply));
                if let Then::Retry { after, .. } = &mut answer.then {
                    *after = retry_after(&reply.headers, self.clock.wall());
                }
                answer
            }
            Verdict::Misconfigured(what_to_do) => {
                Answer::retry(0, format!("{}; {what_to_do}", self.describe(&reply)))
            }
        }
    }

    fn refused(&self, reason: &'static str, count: usize, reply: &Reply) -> Answer {
        tracing::warn!(endpoint = self.name, messages = count, "refused for good: {}", self.describe(reply));
        let mut answer = Answer::delivered(count);
        answer.refused.add_many(reason, count);
        answer
    }

    async fn send(&self, body: Vec<u8>) -> Result<Reply, String> {
        let body = self.compressed(body).await?;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.url.uri().clone();
        *request.headers_mut() = self.headers.clone();
        self.client.send(request).await.map_err(|error| error.to_string())
    }

    /// Compressing takes milliseconds, and this thread serves every network endpoint: another one does it.
    async fn compressed(&self, body: Vec<u8>) -> Result<Bytes, String> {
        if self.compression == Compression::None {
            return Ok(body.into());
        }
        let compression = self.compression;
        match tokio::task::spawn_blocking(move || body::compress(body, compression)).await {
            Ok(Ok(body)) => Ok(body.into()),
            Ok(Err(error)) => Err(format!("cannot compress a body: {error}")),
            Err(error) => Err(format!("cannot compress a body: {error}")),
        }
    }

    /// What the server answered, for an operator.
    fn describe(&self, reply: &Reply) -> String {
        format!("{} answers {}{}", self.url.shown(), reply.status, self.excerpts.of(reply))
    }
}

#[cfg(test)]
mod tests;
