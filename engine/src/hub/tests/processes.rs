//! Several processes and threads, a process that is killed, a process without a network.

use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;

use super::super::find;
use super::server::{CLOSE, hang, send_raw};
use super::*;

const ENDPOINT: &str = "GEMMULE_TEST_ENDPOINT";
const CACHE: &str = "GEMMULE_TEST_CACHE";

/// Not a test by itself: what the child processes of the tests below run.
#[test]
fn child() {
    let (Ok(endpoint), Ok(cache)) = (std::env::var(ENDPOINT), std::env::var(CACHE)) else {
        return;
    };
    let settings = settings(&endpoint, Path::new(&cache));
    let pulled = pull("org/model", &settings, &mut |_| true).unwrap();
    assert_eq!(find("org/model", &settings).unwrap(), Some(pulled.path));
}

/// This test program again, for the test above only, behind the words of `prefix`.
fn spawn_child(prefix: &[&str], bench: &Bench) -> Option<Child> {
    let program = std::env::current_exe().unwrap();
    let mut words: Vec<&str> = prefix.to_vec();
    words.extend([program.to_str().unwrap(), "--exact", "hub::tests::processes::child"]);
    Command::new(words[0])
        .args(&words[1..])
        .env(ENDPOINT, &bench.server.address)
        .env(CACHE, bench.cache.path())
        .stdout(Stdio::null())
        .spawn()
        .ok()
}

#[test]
fn several_processes_fetch_each_file_once() {
    let bench = Bench::good();
    let children: Vec<_> = (0..4).map(|_| spawn_child(&[], &bench).unwrap()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(bench.server.count(is_large), 2, "one GET and its redirect");
    bench.assert_whole(&bench.pull().unwrap().path);
}

#[test]
fn several_threads_fetch_each_file_once() {
    let bench = Bench::good();
    thread::scope(|scope| {
        let pulls: Vec<_> = (0..4).map(|_| scope.spawn(|| bench.pull().unwrap())).collect();
        for pull in pulls {
            bench.assert_whole(&pull.join().unwrap().path);
        }
    });
    assert_eq!(bench.server.count(is_large), 2, "one GET and its redirect");
}

#[test]
fn a_pull_that_waits_for_another_says_so_and_can_be_cancelled() {
    let bench = Bench::good();
    let locks = bench.cache.path().join(".locks/models--org--model");
    fs::create_dir_all(&locks).unwrap();
    // The lock of the whole pull, then that of one blob, which other tools take as well.
    for name in ["gemmule".to_owned(), bench.hub.etag(LARGE)] {
        let held = fs::File::create(locks.join(format!("{name}.lock"))).unwrap();
        held.lock().unwrap();
        let mut stages = Vec::new();
        let error = pull("org/model", &bench.settings(), &mut |progress| {
            stages.push(progress.stage);
            progress.stage != Stage::Locked
        })
        .unwrap_err();
        assert!(matches!(error, Error::Cancelled), "{error}");
        assert_eq!(stages.last(), Some(&Stage::Locked));
    }
    assert_eq!(bench.server.count(is_large), 0);
    bench.assert_whole(&bench.pull().unwrap().path);
}

#[test]
fn a_killed_pull_is_resumed() {
    let n_sent = 2_000_000;
    let hub = Hub::new("org/model");
    let (sent, is_sent) = mpsc::channel();
    let sent = Mutex::new(Some(sent)); // taken by the first request
    let bench = Bench::new(move |request, stream| {
        let is_storage = is_large(request) && request.path.starts_with("/storage/");
        let Some(sent) = is_storage.then(|| sent.lock().unwrap().take()).flatten() else {
            return false;
        };
        let bytes = &hub.files[LARGE];
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{CLOSE}", bytes.len());
        send_raw(stream, head.as_bytes());
        send_raw(stream, &bytes[..n_sent]);
        sent.send(()).unwrap();
        hang(stream);
        true
    });
    let mut child = spawn_child(&[], &bench).unwrap();
    is_sent.recv().unwrap();
    // The bytes are on their way: the child is killed as soon as some have been written.
    while fs::metadata(bench.part(LARGE)).map_or(0, |part| part.len()) == 0 {
        thread::yield_now();
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    assert_eq!(find("org/model", &bench.settings()).unwrap(), None);

    let left = fs::metadata(bench.part(LARGE)).unwrap().len() as usize;
    assert!((1..=n_sent).contains(&left));
    bench.assert_whole(&bench.pull().unwrap().path);
    assert_eq!(bench.server.count(|r| is_large(r) && r.start() == Some(left)), 2);
    let configs = |r: &Request| r.method == "GET" && r.path.ends_with("/config.json");
    assert_eq!(bench.server.count(configs), 4, "finished files are not fetched again");
}

/// In a network namespace of its own, where not even 127.0.0.1 can be reached.
#[cfg(target_os = "linux")]
#[test]
fn what_is_there_is_used_without_a_network() {
    const ALONE: [&str; 2] = ["unshare", "-rn"];
    let tried = Command::new(ALONE[0]).args([ALONE[1], "true"]).stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        println!("skipped: no network namespace may be made here");
        return;
    }
    let bench = Bench::good();
    let mut child = spawn_child(&ALONE, &bench).unwrap();
    assert!(!child.wait().unwrap().success(), "the namespace must cut the child off");
    assert_eq!(bench.server.requests().len(), 0);
    bench.pull().unwrap();
    let mut child = spawn_child(&ALONE, &bench).unwrap();
    assert!(child.wait().unwrap().success());
}
