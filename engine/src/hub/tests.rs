//! Pulls from a server of our own on 127.0.0.1, which behaves well or badly.

mod answers;
mod cache;
mod faults;
mod names;
mod processes;
mod redirects;
mod server;

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::{Progress, Pulled, Settings, Stage, pull};
use crate::{Error, Result};
use server::{Hub, Request, Server};

/// A server with one model, and an empty cache.
struct Bench {
    hub: Arc<Hub>,
    server: Server,
    cache: TempDir,
}

impl Bench {
    /// `fault` may answer a request itself, and then returns `true`.
    fn new(fault: impl Fn(&Request, &mut TcpStream) -> bool + Send + Sync + 'static) -> Bench {
        Bench::of(Hub::new("org/model"), fault)
    }

    fn of(
        hub: Hub,
        fault: impl Fn(&Request, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Bench {
        let hub = Arc::new(hub);
        let served = hub.clone();
        let server = Server::start(move |request, stream| {
            if !fault(request, stream) {
                served.answer(request, stream);
            }
        });
        Bench { hub, server, cache: tempfile::tempdir().unwrap() }
    }

    fn good() -> Bench {
        Bench::new(|_, _| false)
    }

    fn settings(&self) -> Settings {
        settings(&self.server.address, self.cache.path())
    }

    fn pull(&self) -> Result<Pulled> {
        pull("org/model", &self.settings(), &mut |_| true)
    }

    fn repo_folder(&self) -> PathBuf {
        self.cache.path().join("models--org--model")
    }

    fn part(&self, file: &str) -> PathBuf {
        self.repo_folder().join("blobs").join(format!("{}.incomplete", self.hub.etag(file)))
    }

    /// What the model's files must be, compared byte by byte.
    fn assert_whole(&self, folder: &Path) {
        for (name, bytes) in &self.hub.files {
            let found = fs::read(folder.join(name)).unwrap_or_default();
            assert!(found == *bytes, "{name} has {} bytes of {}", found.len(), bytes.len());
        }
        let blobs = fs::read_dir(self.repo_folder().join("blobs")).unwrap();
        let names = blobs.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| name.contains('.')).collect::<Vec<_>>(), [""; 0]);
    }
}

fn settings(endpoint: &str, cache: &Path) -> Settings {
    Settings {
        endpoint: endpoint.to_owned(),
        token: Some("secret".to_owned()),
        stall_timeout: Duration::from_secs(20),
        retries: 2,
        backoff: Duration::from_millis(1),
        ..Settings::from_variables(|name| {
            (name == "HF_HUB_CACHE").then(|| cache.to_str().unwrap().to_owned())
        })
        .unwrap()
    }
}

/// The name of the large file of every test's model.
const LARGE: &str = "model.safetensors";

/// Whether this asks for the bytes of the large file.
fn is_large(request: &Request) -> bool {
    request.method == "GET" && request.path.ends_with("/model.safetensors") && !is_dense(request)
}

fn is_dense(request: &Request) -> bool {
    request.path.contains("_Dense")
}

/// Storage of the large file: the second hop.
fn is_storage(request: &Request) -> bool {
    is_large(request) && request.path.starts_with("/storage/")
}

/// A fault that strikes the first `n` requests that `is_struck`, and then no more.
fn first(
    n: usize,
    is_struck: impl Fn(&Request) -> bool + Send + Sync + 'static,
    fault: impl Fn(&Request, &mut TcpStream) + Send + Sync + 'static,
) -> impl Fn(&Request, &mut TcpStream) -> bool + Send + Sync + 'static {
    let struck = AtomicUsize::new(0);
    move |request, stream| {
        let strikes = is_struck(request) && struck.fetch_add(1, Ordering::SeqCst) < n;
        if strikes {
            fault(request, stream);
        }
        strikes
    }
}

/// Pulls, and tells the stages of the large file.
fn pull_and_watch(bench: &Bench, settings: &Settings) -> (Result<Pulled>, Vec<Stage>) {
    let mut stages = Vec::new();
    let pulled = pull("org/model", settings, &mut |progress: Progress| {
        if progress.file == LARGE {
            assert!(progress.done <= progress.total);
            stages.push(progress.stage);
        }
        true
    });
    if let Ok(pulled) = &pulled {
        bench.assert_whole(&pulled.path);
    }
    (pulled, stages)
}
