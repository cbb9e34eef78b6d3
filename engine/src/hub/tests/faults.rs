//! Bodies that break off, lie, hang; parts that are continued; full disks.

use super::server::{CLOSE, hang, send, send_raw, sha256};
use super::*;

/// Sends the large file from the start that was asked for, but breaks off after `n` bytes.
fn cut(hub: &Hub, request: &Request, stream: &mut TcpStream, n: usize) {
    let bytes = &hub.files[LARGE];
    let start = request.start().unwrap_or(0);
    let (left, last, total) = (bytes.len() - start, bytes.len() - 1, bytes.len());
    let head = match start {
        0 => format!("HTTP/1.1 200 OK\r\ncontent-length: {left}\r\n{CLOSE}"),
        _ => format!(
            "HTTP/1.1 206 P\r\ncontent-length: {left}\r\n\
             content-range: bytes {start}-{last}/{total}\r\n{CLOSE}"
        ),
    };
    send_raw(stream, head.as_bytes());
    send_raw(stream, &bytes[start..start + n.min(left)]);
}

fn starts(bench: &Bench) -> Vec<Option<usize>> {
    let requests = bench.server.requests();
    requests.iter().filter(|r| is_storage(r)).map(Request::start).collect()
}

#[test]
fn a_cut_connection_is_taken_up_where_it_broke() {
    let hub = Hub::new("org/model");
    let bench = Bench::new(first(2, is_storage, move |request, stream| {
        cut(&hub, request, stream, 700_000)
    }));
    bench.assert_whole(&bench.pull().unwrap().path);
    assert_eq!(starts(&bench), [None, Some(700_000), Some(1_400_000)]);
}

#[test]
fn a_connection_that_brings_much_gives_new_attempts() {
    for (n_bytes, is_enough) in [(1_100_000, true), (1_000_000, false)] {
        let hub = Hub::new("org/model");
        let bench = Bench::new(move |request, stream| {
            let is_struck = is_storage(request);
            if is_struck {
                cut(&hub, request, stream, n_bytes);
            }
            is_struck
        });
        let pulled = pull("org/model", &Settings { retries: 1, ..bench.settings() }, &mut |_| true);
        match pulled {
            Ok(ref pulled) => bench.assert_whole(&pulled.path),
            Err(ref error) => assert!(error.to_string().contains("2000000 of 3145728"), "{error}"),
        }
        assert_eq!(pulled.is_ok(), is_enough);
    }
}

#[test]
fn attempts_end() {
    let bench = Bench::new(|request, _| is_storage(request));
    let error = bench.pull().unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
    assert!(error.to_string().contains("the last of 3 attempts"), "{error}");
    assert_eq!(bench.server.count(is_storage), 3);
}

#[test]
fn a_wrong_content_length_is_refused() {
    for length in [5usize, (3 << 20) - 1, (3 << 20) + 1] {
        let bench = Bench::new(first(9, is_storage, move |_, stream| {
            send(stream, "200 OK", "", &vec![7; length]);
        }));
        let error = bench.pull().unwrap_err().to_string();
        assert!(error.contains(&format!("{length} bytes where 3145728")), "{error}");
        assert!(!bench.repo_folder().join("snapshots").join("model.safetensors").exists());
    }
}

#[test]
fn a_body_without_length_that_is_too_long_is_refused() {
    let hub = Hub::new("org/model");
    let bench = Bench::new(first(9, is_storage, move |_, stream| {
        send_raw(stream, format!("HTTP/1.1 200 OK\r\n{CLOSE}").as_bytes());
        send_raw(stream, &hub.files[LARGE]);
        send_raw(stream, b"!");
    }));
    let error = bench.pull().unwrap_err().to_string();
    assert!(error.contains("more than 3145728 bytes"), "{error}");
    assert_eq!(fs::metadata(bench.part(LARGE)).unwrap().len(), 0);
}

#[test]
fn a_body_without_length_that_is_too_short_is_continued() {
    let hub = Hub::new("org/model");
    let bench = Bench::new(first(1, is_storage, move |_, stream| {
        send_raw(stream, format!("HTTP/1.1 200 OK\r\n{CLOSE}").as_bytes());
        send_raw(stream, &hub.files[LARGE][..1000]);
    }));
    bench.assert_whole(&bench.pull().unwrap().path);
    assert_eq!(starts(&bench), [None, Some(1000)]);
}

#[test]
fn wrong_bytes_are_refused_and_deleted() {
    let bench = Bench::new(first(9, is_storage, |_, stream| {
        send(stream, "200 OK", "", &vec![7; 3 << 20]);
    }));
    let error = bench.pull().unwrap_err();
    let Error::Checksum { file, found, expected, kept: None, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(file, "model.safetensors of org/model");
    assert_eq!(*found, sha256(&vec![7; 3 << 20]));
    assert_eq!(*expected, bench.hub.etag(LARGE));
    for name in [file, found, expected] {
        assert!(error.to_string().contains(name.as_str()), "{error}");
    }
    assert!(!bench.part(LARGE).exists());
    assert_eq!(bench.server.count(is_storage), 1, "the same bytes are not asked for again");
}

#[test]
fn a_damaged_part_is_dropped_and_fetched_anew() {
    let bench = Bench::good();
    fs::create_dir_all(bench.part(LARGE).parent().unwrap()).unwrap();
    fs::write(bench.part(LARGE), b"not the beginning of it").unwrap();
    bench.assert_whole(&bench.pull().unwrap().path);
    assert_eq!(starts(&bench), [Some(23), None]);
}

#[test]
fn a_part_that_is_too_long_is_dropped() {
    let bench = Bench::good();
    fs::create_dir_all(bench.part(LARGE).parent().unwrap()).unwrap();
    let mut long = bench.hub.files[LARGE].clone();
    long.push(0);
    fs::write(bench.part(LARGE), long).unwrap();
    let (pulled, stages) = pull_and_watch(&bench, &bench.settings());
    pulled.unwrap();
    assert_eq!(starts(&bench), [None]);
    assert!(!stages.contains(&Stage::Verifying), "it is not even read");
}

/// A small file has no hash that could tell: neither a part nor a whole blob is believed.
#[test]
fn what_cannot_be_checked_is_fetched_anew() {
    let bench = Bench::good();
    let part = bench.part("config.json");
    fs::create_dir_all(part.parent().unwrap()).unwrap();
    for n_bytes in [3, bench.hub.files["config.json"].len(), 100] {
        fs::write(&part, vec![7; n_bytes]).unwrap();
        bench.assert_whole(&bench.pull().unwrap().path);
        fs::remove_dir_all(bench.repo_folder().join("snapshots")).unwrap();
        fs::remove_file(bench.repo_folder().join("gemmule-sums.json")).unwrap();
        fs::write(part.with_extension(""), b"cut").unwrap();
        bench.assert_whole(&bench.pull().unwrap().path);
        fs::remove_dir_all(bench.repo_folder()).unwrap();
        fs::create_dir_all(part.parent().unwrap()).unwrap();
    }
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let hub = Hub::new("org/model");
    let bench = Bench::new(first(9, is_storage, move |_, stream| {
        send(stream, "200 OK", "", &hub.files[LARGE]);
    }));
    fs::create_dir_all(bench.part(LARGE).parent().unwrap()).unwrap();
    fs::write(bench.part(LARGE), &bench.hub.files[LARGE][..1000]).unwrap();
    let (pulled, stages) = pull_and_watch(&bench, &bench.settings());
    pulled.unwrap();
    assert!(stages.contains(&Stage::Downloading { resumed: 0 }));
    assert_eq!(starts(&bench), [Some(1000)]);
}

#[test]
fn a_server_that_knows_no_such_range_is_asked_for_all() {
    let has_range = |request: &Request| is_storage(request) && request.start().is_some();
    let bench = Bench::new(first(9, has_range, |_, stream| send(stream, "416 Range", "", b"")));
    fs::create_dir_all(bench.part(LARGE).parent().unwrap()).unwrap();
    fs::write(bench.part(LARGE), &bench.hub.files[LARGE][..1000]).unwrap();
    bench.assert_whole(&bench.pull().unwrap().path);
    assert_eq!(starts(&bench), [Some(1000), None]);
}

#[test]
fn a_range_that_was_not_asked_for_is_refused() {
    for range in ["bytes 999-3145727/3145728", "bytes 1000-3145727/9", "bytes 1000-2000/3145728"] {
        let hub = Hub::new("org/model");
        let bench = Bench::new(first(9, is_storage, move |_, stream| {
            let range = format!("content-range: {range}\r\n");
            send(stream, "206 P", &range, &hub.files[LARGE][1000..]);
        }));
        fs::create_dir_all(bench.part(LARGE).parent().unwrap()).unwrap();
        fs::write(bench.part(LARGE), &bench.hub.files[LARGE][..1000]).unwrap();
        let error = bench.pull().unwrap_err().to_string();
        assert!(error.contains(range), "{error}");
        assert_eq!(fs::metadata(bench.part(LARGE)).unwrap().len(), 1000);
    }
}

#[test]
fn a_silent_server_is_left_and_asked_again() {
    let hub = Hub::new("org/model");
    let bench = Bench::new(first(1, is_storage, move |request, stream| {
        cut(&hub, request, stream, 1000);
        hang(stream);
    }));
    let stall_timeout = Duration::from_millis(300);
    let (pulled, _) = pull_and_watch(&bench, &Settings { stall_timeout, ..bench.settings() });
    pulled.unwrap();
    assert_eq!(starts(&bench), [None, Some(1000)]);
}

#[test]
fn a_cancelled_pull_leaves_its_part_for_the_next() {
    let bench = Bench::good();
    let mut stop_at = |progress: Progress| progress.file != LARGE || progress.done < 1_000_000;
    let error = pull("org/model", &bench.settings(), &mut stop_at).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    let left = fs::metadata(bench.part(LARGE)).unwrap().len();
    assert!(left >= 1_000_000);

    let (pulled, stages) = pull_and_watch(&bench, &bench.settings());
    pulled.unwrap();
    assert_eq!(starts(&bench), [None, Some(left as usize)]);
    assert!(stages.contains(&Stage::Verifying), "the part is hashed again");
    assert!(stages.contains(&Stage::Downloading { resumed: left }));
}

#[test]
fn a_full_disk_is_named() {
    // More is announced than any disk has.
    let bench = Bench::new(|request, stream| {
        let is_struck = request.method == "HEAD";
        if is_struck {
            send_raw(stream, b"HTTP/1.1 302 Found\r\nx-linked-etag: \"abc\"\r\nlocation: /\r\n");
            send_raw(stream, format!("x-linked-size: {}\r\n{CLOSE}", 1u64 << 60).as_bytes());
        }
        is_struck
    });
    let error = bench.pull().unwrap_err();
    assert!(matches!(error, Error::DiskFull { free: Some(_), .. }), "{error}");
    assert_eq!(bench.server.count(is_large), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_fills_up_is_named() {
    let bench = Bench::good();
    fs::create_dir_all(bench.part(LARGE).parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", bench.part(LARGE)).unwrap();
    let error = bench.pull().unwrap_err();
    assert!(matches!(error, Error::DiskFull { free: None, .. }), "{error}");
}
