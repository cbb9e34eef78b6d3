//! A small HTTP server, and a hub that behaves well.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use sha2::{Digest, Sha256};

/// The head of a request; header names are in lower case.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The first byte of the range that is asked for.
    pub(super) fn start(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }

    fn read(stream: &TcpStream) -> Option<Request> {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let first = lines.next()?;
        let mut words = first.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        Some(Request { method, path, headers: headers.collect() })
    }
}

/// A thread for each connection, one request on each; every request is kept.
pub(super) struct Server {
    /// `http://127.0.0.1:PORT`
    pub(super) address: String,
    log: Arc<Mutex<Vec<Request>>>,
    is_over: Arc<AtomicBool>,
}

impl Server {
    pub(super) fn start(
        answer: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let is_over = Arc::new(AtomicBool::new(false));
        let (seen, stop, answer) = (log.clone(), is_over.clone(), Arc::new(answer));
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let (seen, answer) = (seen.clone(), answer.clone());
                thread::spawn(move || {
                    if let Some(request) = Request::read(&stream) {
                        seen.lock().unwrap().push(request.clone());
                        answer(&request, &mut stream);
                    }
                });
            }
        });
        Server { address, log, is_over }
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }

    pub(super) fn count(&self, is_wanted: impl Fn(&Request) -> bool) -> usize {
        self.requests().iter().filter(|request| is_wanted(request)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address.trim_start_matches("http://"));
    }
}

/// Sends an answer with `Content-Length`; the client may be gone.
pub(super) fn send(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n{CLOSE}", body.len());
    send_raw(stream, head.as_bytes());
    send_raw(stream, body);
}

/// The end of a head.
pub(super) const CLOSE: &str = "connection: close\r\n\r\n";

pub(super) fn send_raw(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

/// Says nothing until the client goes away.
pub(super) fn hang(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0]);
}

/// One model, served as a hub does it: large files from a storage server behind a redirect.
pub(super) struct Hub {
    pub(super) repo: String,
    pub(super) commit: String,
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// Names that are listed beside the files.
    pub(super) also_listed: Vec<String>,
    /// Where large files are; the hub itself if empty.
    pub(super) storage: String,
}

impl Hub {
    pub(super) fn new(repo: &str) -> Hub {
        let mut state = 1u32;
        let mut noise = move |n: usize| -> Vec<u8> {
            let step = |_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            };
            (0..n).map(step).collect()
        };
        let files = [
            ("config.json", b"{\"hidden\": 1}".to_vec()),
            ("modules.json", b"[]".to_vec()),
            ("tokenizer.json", noise(5_000)),
            ("sentence_bert_config.json", b"{}".to_vec()),
            ("config_sentence_transformers.json", b"{\"prompts\": {}}".to_vec()),
            ("1_Pooling/config.json", b"{\"pooling\": 1}".to_vec()),
            ("2_Dense/config.json", b"{\"dense\": 2}".to_vec()),
            ("2_Dense/model.safetensors", noise(3_000)),
            ("3_Dense/config.json", b"{\"dense\": 3}".to_vec()),
            ("3_Dense/model.safetensors", noise(3_001)),
            ("model.safetensors", noise(3 << 20)),
        ];
        Hub {
            repo: repo.to_owned(),
            commit: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            files: files.map(|(name, bytes)| (name.to_owned(), bytes)).into(),
            also_listed: vec!["README.md".to_owned()],
            storage: String::new(),
        }
    }

    /// Forty digits for a small file, the SHA-256 for a large one.
    pub(super) fn etag(&self, file: &str) -> String {
        let sum = sha256(&self.files[file]);
        if is_stored(file) { sum } else { sum[..40].to_owned() }
    }

    pub(super) fn answer(&self, request: &Request, stream: &mut TcpStream) {
        let Hub { repo, commit, .. } = self;
        let path = request.path.as_str();
        if path.starts_with(&format!("/api/models/{repo}/revision/")) {
            return send(stream, "200 OK", "", self.listing().as_bytes());
        }
        let resolved = path.strip_prefix(&format!("/{repo}/resolve/{commit}/"));
        let stored = path.strip_prefix("/storage/");
        let Some((name, bytes)) =
            resolved.or(stored).and_then(|name| self.files.get_key_value(name))
        else {
            return send(stream, "404 Not Found", "", b"");
        };
        if resolved.is_some() && is_stored(name) {
            let headers = format!(
                "location: {}/storage/{name}\r\nx-linked-etag: \"{}\"\r\nx-linked-size: {}\r\n",
                self.storage,
                self.etag(name),
                bytes.len()
            );
            return send(stream, "302 Found", &headers, b"");
        }
        self.send_file(name, request, stream);
    }

    /// A file or a range of it.
    pub(super) fn send_file(&self, name: &str, request: &Request, stream: &mut TcpStream) {
        let bytes = &self.files[name];
        let etag = format!("etag: \"{}\"\r\n", self.etag(name));
        match request.start() {
            _ if request.method == "HEAD" => {
                let length = bytes.len();
                let head = format!("HTTP/1.1 200 OK\r\n{etag}content-length: {length}\r\n{CLOSE}");
                send_raw(stream, head.as_bytes());
            }
            Some(start) if start >= bytes.len() => send(stream, "416 Range", "", b""),
            Some(start) => {
                let (last, total) = (bytes.len() - 1, bytes.len());
                let range = format!("{etag}content-range: bytes {start}-{last}/{total}\r\n");
                send(stream, "206 Partial Content", &range, &bytes[start..]);
            }
            None => send(stream, "200 OK", &etag, bytes),
        }
    }

    pub(super) fn listing(&self) -> String {
        let mut names = String::new();
        for name in self.files.keys().chain(&self.also_listed) {
            let comma = if names.is_empty() { "" } else { "," };
            let _ = write!(names, "{comma}{{\"rfilename\":\"{name}\"}}");
        }
        format!("{{\"sha\":\"{}\",\"siblings\":[{names}]}}", self.commit)
    }
}

fn is_stored(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".gguf") || name == "tokenizer.json"
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
