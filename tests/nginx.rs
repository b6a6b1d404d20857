//! The `http` endpoint against a real nginx: TLS with a private authority, a password, a bound on bodies, a redirect.
//!
//! nginx stands in front of the test's own server, which keeps the bodies. It is unpacked by `scripts/peers`.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::support::{
    Router, http_server::Server, ledger::number, messages, messages::tests_folder, senders, skipped::skip,
    wait,
};

/// nginx in a folder of its own. Killed at the end.
struct Nginx {
    folder: tempfile::TempDir,
    child: Child,
    address: SocketAddr,
}

impl Nginx {
    /// In front of `upstream`; takes bodies of up to 10 kB from a user who knows the password. `None` where it is not
    /// installed, which CI does not forgive.
    fn start(upstream: SocketAddr) -> Option<Nginx> {
        let debian = tests_folder().join("peers/debian");
        let program = debian.join("usr/sbin/nginx");
        if !program.exists() {
            skip("a real nginx", "there is none; scripts/peers installs it");
            return None;
        }
        let folder = tempfile::tempdir().expect("make a folder");
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("write a file");
        write("ca.pem", &issued.cert.pem());
        write("key.pem", &issued.signing_key.serialize_pem());
        write("users", "me:{PLAIN}sesame\n");
        // A port that was free a moment ago: nginx cannot be asked which one it took.
        let free = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = free.local_addr().expect("an address");
        drop(free);
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let paths = paths.map(|path| format!("{path}_temp_path {path};")).concat();
        write(
            "nginx.conf",
            &format!(
                r#"
daemon off;
master_process off;
pid nginx.pid;
events {{}}
http {{
    access_log off;
    {paths}
    server {{
        listen {address} ssl;
        ssl_certificate ca.pem;
        ssl_certificate_key key.pem;
        client_max_body_size 10k;
        location /logs {{
            auth_basic "logs";
            auth_basic_user_file users;
            proxy_pass http://{upstream};
        }}
        location = /moved {{ return 301 /logs; }}
    }}
}}
"#
            ),
        );
        let child = Command::new(program)
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .env("LD_LIBRARY_PATH", debian.join("usr/lib/x86_64-linux-gnu"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start nginx");
        let nginx = Nginx { folder, child, address };
        wait::until("nginx listens", || TcpStream::connect(nginx.address).ok());
        Some(nginx)
    }

    fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A router that sends everything to it.
    fn router(&self, path: &str, more: &str) -> Router {
        Router::start(&format!(
            r#"
shutdown_timeout = "300ms"

[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[endpoints.nginx]
kind = "http"
url = "https://localhost:{}{path}"
linger = "5ms"
{more}

[[routes]]
to = ["nginx"]
"#,
            self.address.port()
        ))
    }

    fn trusted(&self, more: &str) -> String {
        format!("ca_file = \"{}\"\n{more}", self.ca_file().display())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default());
        }
    }
}

const PASSWORD: &str = "auth = { user = \"me\", password = \"sesame\" }";

#[test]
fn bodies_fit_after_nginx_has_said_that_they_are_too_large() {
    let server = Server::start(&[]);
    let Some(nginx) = Nginx::start(server.address) else { return };
    let router = nginx.router("/logs", &nginx.trusted(PASSWORD));
    let mut sent = messages::numbered("app", 200, 500);
    sent.insert(100, messages::numbered_one("app", 1000, 20_000));
    senders::tcp(router.address("tcp"), messages::text_of(&sent).as_bytes());
    let ledger = router.wait_until_delivered(sent.len() as u64);
    assert_eq!(ledger.endpoint("nginx")["refused"], serde_json::json!({ "http-413": 1 }));
    router.stop();
    sent.remove(100);
    assert_eq!(server.lines(), sent);
}

#[test]
fn a_wrong_password_an_unknown_authority_and_a_redirect_hold_the_messages_and_are_named() {
    let server = Server::start(&[]);
    let Some(nginx) = Nginx::start(server.address) else { return };
    for (path, more, expected) in [
        (
            "/logs",
            nginx.trusted("auth = { user = \"me\", password = \"hunter2\" }"),
            "answers 401 Unauthorized",
        ),
        ("/logs", PASSWORD.to_owned(), "its certificate is signed by nobody whom this system trusts"),
        ("/moved", nginx.trusted(PASSWORD), "redirects are not followed"),
    ] {
        let router = nginx.router(path, &more);
        let sent = messages::numbered("app", 3, 0);
        senders::tcp(router.address("tcp"), messages::text_of(&sent).as_bytes());
        let ledger = router
            .wait("the endpoint says that it fails", |ledger| !ledger.endpoint("nginx")["failure"].is_null());
        let error = ledger.endpoint("nginx")["failure"]["error"].as_str().expect("words").to_owned();
        assert!(error.contains(expected) && error.contains("localhost"), "{error}");
        assert_eq!(number(&ledger.endpoint("nginx")["queued"]), 3);
        let stopped = router.stop();
        assert!(!stopped.log.contains("hunter2") && !stopped.log.contains("sesame"), "{}", stopped.log);
    }
    assert!(server.lines().is_empty());
}
