//! What the server says when it gives nothing: busy, broken, gated, not there.

use super::server::send;
use super::*;

#[test]
fn a_busy_server_is_given_the_time_it_asks_for() {
    for (status, seconds) in [("429 Too Many Requests", 1), ("503 Service Unavailable", 0)] {
        let bench = Bench::new(first(1, is_storage, move |_, stream| {
            send(stream, status, &format!("retry-after: {seconds}\r\n"), b"");
        }));
        let (pulled, stages) = pull_and_watch(&bench, &bench.settings());
        pulled.unwrap();
        assert!(
            stages.contains(&Stage::Retrying { wait: Duration::from_secs(seconds) }),
            "{stages:?}"
        );
    }
}

#[test]
fn a_server_that_asks_for_too_long_a_wait_is_an_error() {
    let bench = Bench::new(|request, stream| {
        send(stream, "429 Too Many Requests", "retry-after: 86400\r\n", b"");
        request.method == "GET"
    });
    let error = bench.pull().unwrap_err().to_string();
    assert!(error.contains("a wait of 86400 s"), "{error}");
    assert_eq!(bench.server.requests().len(), 1);
}

#[test]
fn a_server_error_is_tried_again_with_growing_waits() {
    for status in ["500 Oops", "502 Bad Gateway", "504 Timeout", "408 Timeout"] {
        let fault = first(2, is_storage, move |_, stream| send(stream, status, "", b"oops"));
        let bench = Bench::new(fault);
        let (pulled, stages) = pull_and_watch(&bench, &bench.settings());
        pulled.unwrap();
        for wait in [1, 2].map(Duration::from_millis) {
            assert!(stages.contains(&Stage::Retrying { wait }), "{stages:?}");
        }
    }
}

#[test]
fn a_listing_is_tried_again_too() {
    let is_api = |request: &Request| request.path.starts_with("/api/");
    let bench = Bench::new(first(1, is_api, |_, stream| send(stream, "500 Oops", "", b"")));
    bench.assert_whole(&bench.pull().unwrap().path);
}

#[test]
fn a_gated_repository_says_what_to_do() {
    let refuse = |status: &'static str| {
        move |_: &Request, stream: &mut TcpStream| {
            send(stream, status, "x-error-code: GatedRepo\r\n", b"");
            true
        }
    };
    for (status, name, mirror) in [
        ("401 U", "embeddinggemma-300m", Some("unsloth/embeddinggemma-300m")),
        ("403 F", "google/embeddinggemma-300m", Some("unsloth/embeddinggemma-300m")),
        ("403 F", "embeddinggemma-300m-qat-q4_0-unquantized", None),
    ] {
        let bench = Bench::new(refuse(status));
        let error = pull(name, &bench.settings(), &mut |_| true).unwrap_err();
        assert!(matches!(&error, Error::Gated { token_sent: true, .. }), "{error}");
        let text = error.to_string();
        let page = format!("accept its licence on {}/google/embeddinggemma", bench.server.address);
        assert!(text.contains("HF_TOKEN") && text.contains(&page), "{text}");
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(mirror.is_some_and(|mirror| text.contains(mirror)), mirror.is_some(), "{text}");
        assert_eq!(bench.server.requests().len(), 1, "a refusal is not tried again");
    }
}

#[test]
fn what_is_not_published_is_said() {
    let bench = Bench::new(|request, stream| {
        let is_missing = request.path.ends_with("/3_Dense/config.json");
        if is_missing {
            send(stream, "404 Not Found", "x-error-code: EntryNotFound\r\n", b"");
        }
        is_missing
    });
    let error = bench.pull().unwrap_err();
    assert!(matches!(error, Error::NotPublished { .. }), "{error}");
    assert!(error.to_string().contains("3_Dense/config.json"), "{error}");

    let bench = Bench::new(|_, stream| {
        send(stream, "401 Unauthorized", "x-error-code: RepoNotFound\r\n", b"");
        true
    });
    let error = bench.pull().unwrap_err();
    assert!(matches!(error, Error::NotPublished { .. }), "{error}");
}

#[test]
fn what_is_wrong_with_a_secure_connection_stays_wrong() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let n_connections = Arc::new(AtomicUsize::new(0));
    let counted = n_connections.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::SeqCst);
            send(&mut stream, "400 Bad Request", "", b"this is no TLS");
            super::server::hang(&mut stream);
        }
    });
    let cache = tempfile::tempdir().unwrap();
    let error = pull("org/model", &settings(&endpoint, cache.path()), &mut |_| true).unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
    assert_eq!(n_connections.load(Ordering::SeqCst), 1, "{error}");
}
