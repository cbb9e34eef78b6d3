//! Who gets the token, where redirects lead, which way a proxy is asked.

use std::io::{Read, Write};
use std::thread;

use super::server::{send, send_raw};
use super::*;

fn token_of(request: &Request) -> Option<&str> {
    request.header("authorization")
}

#[test]
fn the_token_goes_to_the_endpoint_and_nowhere_else() {
    let files = Arc::new(Hub::new("org/model"));
    let storage = Server::start(move |request, stream| files.answer(request, stream));
    let mut hub = Hub::new("org/model");
    hub.storage = storage.address.clone();
    let bench = Bench::of(hub, |_, _| false);
    bench.assert_whole(&bench.pull().unwrap().path);

    let at_home = bench.server.requests();
    assert!(at_home.iter().all(|request| token_of(request) == Some("Bearer secret")));
    let elsewhere = storage.requests();
    assert_eq!(elsewhere.len(), 4, "the large files");
    assert!(elsewhere.iter().all(|request| token_of(request).is_none()));
}

#[test]
fn another_host_cannot_direct_the_token() {
    // Home, elsewhere, home: the last address was chosen by another host.
    let away = Arc::new(std::sync::Mutex::new(String::new()));
    let home = away.clone();
    let other = Server::start(move |request, stream| {
        let location = format!("location: {}{}\r\n", home.lock().unwrap(), request.path);
        send(stream, "302 Found", &location, b"");
    });
    let mut hub = Hub::new("org/model");
    hub.storage = other.address.clone();
    let bench = Bench::of(hub, |_, _| false);
    *away.lock().unwrap() = bench.server.address.clone();
    bench.assert_whole(&bench.pull().unwrap().path);
    assert!(other.requests().iter().all(|request| token_of(request).is_none()));
    for request in bench.server.requests() {
        let was_away = request.path.starts_with("/storage/");
        assert_eq!(token_of(&request).is_none(), was_away, "{}", request.path);
    }
}

#[test]
fn a_moved_repository_is_followed() {
    let bench = Bench::new(|request, stream| {
        let moved = request.path.replace("org/old", "org/model");
        let is_old = moved != request.path;
        if is_old {
            send(stream, "307 Temporary Redirect", &format!("location: {moved}\r\n"), b"");
        }
        is_old
    });
    let pulled = pull("org/old", &bench.settings(), &mut |_| true).unwrap();
    assert_eq!(pulled.repo, "org/old");
    assert_eq!(fs::read(pulled.path.join(LARGE)).unwrap(), bench.hub.files[LARGE]);
}

#[test]
fn a_circle_of_redirects_ends() {
    let bench = Bench::new(|request, stream| {
        send(stream, "302 Found", &format!("location: {}\r\n", request.path), b"");
        true
    });
    let error = bench.pull().unwrap_err().to_string();
    assert!(error.contains("redirects in a circle"), "{error}");
    assert_eq!(bench.server.requests().len(), 8);
}

#[test]
fn a_redirect_to_no_web_address_is_refused() {
    for location in ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://", ""] {
        let bench = Bench::new(move |request, stream| {
            let is_struck = is_large(request);
            if is_struck {
                send(stream, "302 Found", &format!("location: {location}\r\n"), b"");
            }
            is_struck
        });
        let error = bench.pull().unwrap_err();
        let is_refused = matches!(error, Error::Network { .. } | Error::NotPublished { .. });
        assert!(is_refused, "{location}: {error}");
    }
}

#[test]
fn an_expired_address_is_asked_for_again() {
    let is_expired = std::sync::atomic::AtomicBool::new(true);
    let storage_hub = Hub::new("org/model");
    let storage = Server::start(move |request, stream| {
        if is_expired.swap(false, std::sync::atomic::Ordering::SeqCst) {
            send(stream, "403 Forbidden", "", b"expired");
        } else {
            storage_hub.answer(request, stream);
        }
    });
    let mut hub = Hub::new("org/model");
    hub.storage = storage.address.clone();
    let bench = Bench::of(hub, |_, _| false);
    bench.assert_whole(&bench.pull().unwrap().path);
}

/// A proxy that knows CONNECT, and keeps the names it was asked for.
fn proxy() -> Server {
    Server::start(|request, stream| {
        let mut to = TcpStream::connect(&request.path).unwrap();
        send_raw(stream, b"HTTP/1.1 200 Connected\r\n\r\n");
        let (mut from, mut up) = (stream.try_clone().unwrap(), to.try_clone().unwrap());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                up.write_all(&buffer[..n]).unwrap();
            }
        });
        let _ = std::io::copy(&mut to, stream);
        let _ = stream.shutdown(std::net::Shutdown::Both);
    })
}

#[test]
fn a_proxy_is_used_unless_the_host_is_excepted() {
    for (no_proxy, is_used) in
        [("", true), ("example.org", true), ("localhost, 127.0.0.1", false), ("*", false)]
    {
        let (bench, proxy) = (Bench::good(), proxy());
        let http_proxy = Some(proxy.address.clone());
        let settings = Settings { http_proxy, no_proxy: no_proxy.into(), ..bench.settings() };
        let pulled = pull("org/model", &settings, &mut |_| true).unwrap();
        bench.assert_whole(&pulled.path);
        let asked = proxy.requests();
        assert_eq!(!asked.is_empty(), is_used, "{no_proxy:?}");
        let target = bench.server.address.trim_start_matches("http://");
        assert!(asked.iter().all(|request| request.method == "CONNECT" && request.path == target));
        assert!(asked.iter().all(|request| token_of(request).is_none()));
    }
}

#[test]
fn a_proxy_is_chosen_by_scheme_and_host() {
    let settings = Settings::from_variables(|name| {
        let value = match name {
            "HOME" => "/home/user",
            "HTTPS_PROXY" => "http://secure:1",
            "https_proxy" => " ",
            "all_proxy" => "http://any:2",
            "NO_PROXY" => "Example.org, .internal ,*.lan,[::1],10.0.0.1:8080",
            _ => return None,
        };
        Some(value.to_owned())
    })
    .unwrap();
    let secure = Some("http://secure:1");
    for (host, port, expected) in [
        ("huggingface.co", 443, secure),
        ("example.org", 443, None),
        ("EXAMPLE.org", 443, None),
        ("cdn.example.org", 443, None),
        ("notexample.org", 443, secure),
        ("a.internal", 443, None),
        ("a.b.lan", 443, None),
        ("[::1]", 443, None),
        ("10.0.0.1", 8080, None),
        ("10.0.0.1", 443, secure),
    ] {
        assert_eq!(settings.proxy(true, host, port), expected, "{host}:{port}");
    }
    assert_eq!(settings.proxy(false, "huggingface.co", 80), Some("http://any:2"));
}

#[test]
fn a_proxy_that_is_no_address_is_named() {
    let bench = Bench::good();
    let settings = Settings { http_proxy: Some("no such thing".into()), ..bench.settings() };
    let error = pull("org/model", &settings, &mut |_| true).unwrap_err();
    assert!(error.to_string().contains("HTTP_PROXY"), "{error}");
}
