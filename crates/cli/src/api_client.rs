//! How a command talks to a running router: over its API, at an address from the command line or from the router's own
//! configuration.

use std::{
    env,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use metlog_router::config::{self, Source};
use serde::de::DeserializeOwned;
use tokio::{
    net::TcpStream,
    runtime::{self, Runtime},
    time::timeout,
};

use crate::{api::pipeline::Pipeline, processes};

/// Where a router's API is unless something else is said; the default of `listen` in `[api]`.
const DEFAULT_ADDRESS: &str = "127.0.0.1:5580";

/// The environment variable with the token: unlike an argument, other users of the machine cannot see it.
const TOKEN_VARIABLE: &str = "METLOG_API_TOKEN";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// An answer that is not complete by then does not come any more. Routers answer within seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer that is read whole.
const ANSWER_BYTES: usize = 64 << 20;

/// Which router to talk to.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ApiArguments {
    /// Where the router's API listens [default: what the configuration says, otherwise 127.0.0.1:5580]
    #[arg(long, value_name = "HOST:PORT")]
    pub api: Option<String>,
    /// The router's configuration file: its section `[api]` has the address and the token
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The API's token; better in the environment variable METLOG_API_TOKEN, which other users cannot see
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<Token>,
}

impl ApiArguments {
    /// The flags that lead another command to the same router, each with a space before it. The token is not among them.
    pub fn flags(&self) -> String {
        let api = self.api.as_deref().map(|address| format!(" --api {}", for_a_shell(address)));
        let config = self
            .config
            .as_deref()
            .map(|file| format!(" --config {}", for_a_shell(&file.display().to_string())));
        [api, config].into_iter().flatten().collect()
    }
}

/// One word of a shell's line.
fn for_a_shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:[]@%+=,".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// A token, never shown.
#[derive(Clone)]
pub struct Token(String);

impl From<&str> for Token {
    fn from(token: &str) -> Token {
        Token(token.to_owned())
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(not shown)")
    }
}

/// Where a token was found, for who has to look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenSource {
    Argument,
    Configuration,
    Environment,
}

impl std::fmt::Display for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TokenSource::Argument => f.write_str("--token"),
            TokenSource::Configuration => f.write_str("the configuration's [api] section"),
            TokenSource::Environment => f.write_str(TOKEN_VARIABLE),
        }
    }
}

/// The token to use: what was said on the command line wins, the environment is for when that says nothing.
fn choose_token(
    argument: Option<Token>,
    configuration: Option<Token>,
    environment: Option<Token>,
) -> Option<(Token, TokenSource)> {
    let found = [
        (argument, TokenSource::Argument),
        (configuration, TokenSource::Configuration),
        (environment, TokenSource::Environment),
    ];
    found.into_iter().find_map(|(token, source)| Some((token?, source)))
}

/// A router's API.
#[derive(Debug)]
pub struct ApiClient {
    address: String,
    /// The file that says that it is there.
    file: Option<PathBuf>,
    token: Option<(Token, TokenSource)>,
    runtime: Runtime,
}

/// A complete answer with a status that the caller knows what to do with.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its content.
    pub body: Bytes,
}

impl Answer {
    /// Its content as JSON of this shape. An answer of another shape that says what is wrong is an error with these words.
    pub fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        #[derive(serde::Deserialize)]
        struct Problem {
            error: String,
        }
        serde_json::from_slice(&self.body).map_err(|unreadable| {
            match serde_json::from_slice::<Problem>(&self.body) {
                Ok(Problem { error }) => anyhow!("the router answers: {error}"),
                Err(_) => {
                    anyhow!("the router's answer ({}) is not what was expected: {unreadable}", self.status)
                }
            }
        })
    }
}

impl ApiClient {
    /// Finds out where the router is; connects to nothing yet.
    pub fn new(arguments: &ApiArguments) -> anyhow::Result<ApiClient> {
        let section = arguments.config.as_deref().map(api_section).transpose()?;
        let address = match (&arguments.api, &section) {
            (Some(address), _) => address.clone(),
            (None, Some(section)) => reachable(section.listen)?,
            (None, None) => DEFAULT_ADDRESS.to_owned(),
        };
        let configured =
            section.and_then(|section| section.token).map(|token| Token(token.reveal().to_owned()));
        let from_environment = env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty()).map(Token);
        let token = choose_token(arguments.token.clone(), configured, from_environment);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let file = arguments.config.clone().filter(|_| arguments.api.is_none());
        Ok(ApiClient { address, file, token, runtime })
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Runs what uses [`ApiClient::send`], on the calling thread.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Asks for something and waits for the whole answer.
    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.block_on(self.whole(Method::GET, path))
    }

    /// Asks for the state of everything, with the ledger.
    pub fn pipeline(&self) -> anyhow::Result<Pipeline> {
        self.get("/api/v1/pipeline")?.json()
    }

    /// Has the router do something and waits until it says what came of it.
    pub fn post(&self, path: &str) -> anyhow::Result<Answer> {
        self.block_on(self.whole(Method::POST, path))
    }

    async fn whole(&self, method: Method, path: &str) -> anyhow::Result<Answer> {
        let answer = async {
            let response = self.send(method, path).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| anyhow!("the router's answer broke off: {error}"))?;
            Ok(Answer { status, body: body.to_bytes() })
        };
        let late = || format!("the router at {} has not answered for {ANSWER_TIMEOUT:?}", self.address);
        timeout(ANSWER_TIMEOUT, answer).await.with_context(late)?
    }

    /// What to do where nobody listens. The file may have changed since the router read it.
    fn advice(&self) -> String {
        match self.file.as_deref().and_then(processes::running_with) {
            Some(process) => format!(
                "process {process} runs with this file, but its API is not there: if [api] was changed, have the router \
                 read the file with `kill -HUP {process}`, and look into its log"
            ),
            None => "is it running, with an [api] section?".to_owned(),
        }
    }

    /// Sends a request on a connection of its own. The answer's content can be read as it comes; its status is not one
    /// that says "not you" or "no such thing", which are errors here.
    pub async fn send(&self, method: Method, path: &str) -> anyhow::Result<Response<Incoming>> {
        let address = &self.address;
        let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                bail!("no router answers at {address}: {}; {}", in_few_words(&error), self.advice())
            }
            Err(_) => bail!("no router answers at {address}: no connection within {CONNECT_TIMEOUT:?}"),
        };
        let no_http = || format!("what listens at {address} does not answer as a router");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.with_context(no_http)?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, address);
        if let Some((Token(token), _)) = &self.token {
            let value = header::HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value =
                value.map_err(|_| anyhow!("the token has characters that HTTP does not allow"))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Empty::<Bytes>::new()).with_context(|| format!("{path:?} is no path"))?;
        let response = sender.send_request(request).await.with_context(no_http)?;
        match response.status() {
            StatusCode::UNAUTHORIZED => match self.token {
                Some((_, source)) => bail!("the router at {address} has another token than {source}"),
                None => bail!(
                    "the router at {address} wants its token: set {TOKEN_VARIABLE}, or give --config or --token"
                ),
            },
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                bail!("what listens at {address} does not know {path}: no router, or one of an older version")
            }
            StatusCode::MISDIRECTED_REQUEST => bail!(
                "the router at {address} answers to its address and to localhost only; set a token in [api] to use a name"
            ),
            _ => Ok(response),
        }
    }
}

/// The `[api]` section of a configuration, also if the rest of it cannot be used.
fn api_section(path: &Path) -> anyhow::Result<config::Api> {
    let source = Source::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let shown = path.display();
    config::load_api(&source).with_context(|| {
        format!("{shown} has no [api] section that can be used: `metlog check --config {shown}` says more")
    })
}

/// Where to connect to for a socket that listens there.
fn reachable(listen: SocketAddr) -> anyhow::Result<String> {
    if listen.port() == 0 {
        bail!(
            "the configuration leaves the API's port to the system: give the one in the router's log with --api"
        );
    }
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    Ok(SocketAddr::from((address, listen.port())).to_string())
}

/// `connection refused` rather than `Connection refused (os error 111)`.
fn in_few_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    fn client(address: &str, token: Option<&str>) -> ApiClient {
        let arguments =
            ApiArguments { api: Some(address.to_owned()), config: None, token: token.map(Token::from) };
        ApiClient::new(&arguments).unwrap()
    }

    /// Answers one request with `answer`; gives what was asked.
    fn server(answer: &'static str) -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        (address, served)
    }

    #[test]
    fn a_request_names_its_host_and_carries_the_token() {
        let (address, served) = server("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"word\":\"x\"}");
        let answer = client(&address, Some("open sesame")).post("/api/v1/reopen").unwrap();
        assert_eq!(answer.json::<serde_json::Value>().unwrap()["word"], "x");
        let asked = served.join().unwrap().to_lowercase();
        assert!(asked.starts_with("post /api/v1/reopen http/1.1\r\n"), "{asked}");
        assert!(asked.contains(&format!("host: {address}\r\n")), "{asked}");
        assert!(asked.contains("authorization: bearer open sesame\r\n"), "{asked}");
    }

    #[test]
    fn what_goes_wrong_is_said_with_what_to_do() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let said = client(&free, None).get("/healthz").unwrap_err().to_string();
        let expected =
            format!("no router answers at {free}: connection refused; is it running, with an [api] section?");
        assert_eq!(said, expected);
        let (address, _) = server("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
        let said = client(&address, None).get("/metrics").unwrap_err().to_string();
        assert!(said.contains("METLOG_API_TOKEN"), "{said}");
        let (address, _) = server("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
        let said = client(&address, Some("secret")).get("/metrics").unwrap_err().to_string();
        assert_eq!(said, format!("the router at {address} has another token than --token"));
        let (address, _) = server("SSH-2.0-OpenSSH_9.2\r\n");
        let said = client(&address, None).get("/metrics").unwrap_err().to_string();
        assert!(said.contains("does not answer as a router"), "{said}");
        let (address, _) = server("HTTP/1.1 500 Oh\r\nContent-Length: 17\r\n\r\n{\"error\":\"sorry\"}");
        let said = client(&address, None).get("/x").and_then(|answer| answer.json::<Vec<u8>>()).unwrap_err();
        assert_eq!(said.to_string(), "the router answers: sorry");
    }

    #[test]
    fn a_suggested_command_reaches_the_same_router_and_shows_no_token() {
        let arguments = ApiArguments {
            api: Some("127.0.0.1:7000".to_owned()),
            config: Some("my router's.toml".into()),
            token: Some(Token::from("secret")),
        };
        assert_eq!(arguments.flags(), r" --api 127.0.0.1:7000 --config 'my router'\''s.toml'");
        assert_eq!(ApiArguments::default().flags(), "");
    }

    #[test]
    fn a_token_that_was_asked_for_wins_over_one_that_lies_around() {
        let token = |text: &str| Some(Token::from(text));
        let chosen = |argument, configuration, environment| {
            choose_token(argument, configuration, environment).map(|(token, source)| (token.0, source))
        };
        let expected = |text: &str, source| Some((text.to_owned(), source));
        assert_eq!(chosen(token("a"), token("c"), token("e")), expected("a", TokenSource::Argument));
        assert_eq!(chosen(None, token("c"), token("e")), expected("c", TokenSource::Configuration));
        assert_eq!(chosen(None, None, token("e")), expected("e", TokenSource::Environment));
        assert_eq!(chosen(None, None, None), None);
    }

    #[test]
    fn the_configuration_says_where_the_router_is_even_if_the_rest_of_it_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("metlog.toml");
        let with = |text: &str| {
            std::fs::write(&file, text).unwrap();
            ApiClient::new(&ApiArguments { config: Some(file.clone()), ..ApiArguments::default() })
        };
        let client = with("nonsense = 1\n[api]\nlisten = \"0.0.0.0:7000\"\ntoken = \"t\"\n").unwrap();
        assert_eq!(client.address(), "127.0.0.1:7000", "what listens everywhere listens here too");
        let (token, source) = client.token.unwrap();
        assert_eq!((token.0.as_str(), source), ("t", TokenSource::Configuration));
        assert_eq!(with("[api]\n").unwrap().address(), DEFAULT_ADDRESS);
        assert!(with("threads = 1\n").unwrap_err().to_string().contains("no [api] section"));
        assert!(with("[api]\nlisten = \"127.0.0.1:0\"\n").unwrap_err().to_string().contains("--api"));
    }
}
