//! An HTTP server that takes bodies of lines, with moods.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// What the server does with the next request, after it has read it.
#[derive(Clone, Copy)]
pub enum Deed {
    /// Answers with this status and header.
    Answers(u16, &'static str),
    /// Closes the connection without a word.
    Closes,
    /// Says nothing until the client gives up.
    Hangs,
}

/// A server that takes bodies, and does its deeds before it takes one.
#[derive(Clone)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    taken: Arc<Mutex<Vec<String>>>,
    deeds: Arc<Mutex<Vec<Deed>>>,
    requests: Arc<AtomicUsize>,
}

impl Server {
    /// Listens on a port of the system's choice.
    pub fn start(deeds: &[Deed]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("an address");
        let deeds = deeds.iter().rev().copied().collect();
        let server = Server {
            address,
            taken: Arc::default(),
            deeds: Arc::new(Mutex::new(deeds)),
            requests: Arc::default(),
        };
        let serving = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = serving.clone();
                thread::spawn(move || server.serve(stream));
            }
        });
        server
    }

    /// Until the connection ends.
    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).ok()? == 0 {
                    return None;
                }
            }
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then(|| value.parse().ok())?
            })?;
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            self.requests.fetch_add(1, Ordering::SeqCst);
            let deed = self.deeds.lock().expect("the deeds").pop().unwrap_or(Deed::Answers(200, ""));
            match deed {
                Deed::Answers(status, header) => {
                    if (200..300).contains(&status) {
                        let body = String::from_utf8(body).expect("text");
                        self.taken.lock().expect("the bodies").push(body);
                    }
                    let answer = format!("HTTP/1.1 {status} So\r\ncontent-length: 0\r\n{header}\r\n");
                    reader.get_mut().write_all(answer.as_bytes()).ok()?;
                }
                Deed::Closes => return None,
                Deed::Hangs => {
                    // Ends when the client closes.
                    let _ = reader.read(&mut [0]);
                    return None;
                }
            }
        }
    }

    /// How many whole requests have come.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// The lines of every body that it took.
    pub fn lines(&self) -> Vec<String> {
        self.taken
            .lock()
            .expect("the bodies")
            .iter()
            .flat_map(|body| body.lines().map(str::to_owned))
            .collect()
    }
}
