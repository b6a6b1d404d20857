//! What can go wrong with a request, in words for an operator.

use std::{error::Error, io, path::PathBuf, time::Duration};

use hyper_util::client::legacy;
use rustls::CertificateError;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file of certificates cannot be used.
    #[error("cannot use ca_file `{}`: {problem}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// TLS itself cannot be used.
    #[error("cannot use TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why there is no answer. All of these may pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// There was no connection, so the server has seen nothing of the request.
    #[error("cannot reach {server}: {problem}")]
    Unreachable {
        /// Host and port.
        server: String,
        /// What is in the way.
        problem: String,
    },
    /// The connection ended, or carried something that is not HTTP. The server may have the request.
    #[error("no answer from {server}: {problem}")]
    Interrupted {
        /// Host and port.
        server: String,
        /// What happened.
        problem: String,
    },
    /// Not within the time limit. The server may have the request.
    #[error("no answer from {server} within {limit:?}")]
    TimedOut {
        /// Host and port.
        server: String,
        /// The time limit.
        limit: Duration,
    },
}

/// What the library says, to be told with the server's name.
#[derive(Debug)]
pub(super) struct Problem {
    while_connecting: bool,
    problem: String,
}

impl Problem {
    pub(super) fn at(self, server: String) -> HttpError {
        let problem = self.problem;
        if self.while_connecting {
            HttpError::Unreachable { server, problem }
        } else {
            HttpError::Interrupted { server, problem }
        }
    }
}

impl From<legacy::Error> for Problem {
    fn from(error: legacy::Error) -> Problem {
        Problem { while_connecting: error.is_connect(), problem: in_words(&error) }
    }
}

/// What happened at the bottom of it. The layers above only repeat that something did.
fn in_words(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    loop {
        if let Some(error) = deepest.downcast_ref::<rustls::Error>() {
            return tls_in_words(error);
        }
        if let Some(error) = deepest.downcast_ref::<io::Error>() {
            match (error.get_ref(), error.kind()) {
                // An error that an `io::Error` wraps is not among its sources, but itself one step further down.
                (Some(inner), _) => {
                    deepest = inner;
                    continue;
                }
                (None, io::ErrorKind::ConnectionRefused) => return "connection refused".to_owned(),
                (None, io::ErrorKind::ConnectionReset) => return "connection reset".to_owned(),
                (None, _) => return error.to_string(),
            }
        }
        match deepest.source() {
            Some(source) => deepest = source,
            None => return deepest.to_string(),
        }
    }
}

fn tls_in_words(error: &rustls::Error) -> String {
    use rustls::Error::{InvalidCertificate, InvalidMessage};
    match error {
        InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is signed by nobody whom this system trusts; if the authority is your own, name its \
             certificate in ca_file"
                .to_owned()
        }
        InvalidMessage(_) => format!("it does not speak TLS ({error})"),
        InvalidCertificate(_) => format!("its certificate cannot be trusted: {error}"),
        _ => error.to_string(),
    }
}
