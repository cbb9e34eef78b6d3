//! Another process searches while this one writes, seals, merges and compacts.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use storage::{Access, Answer, Error, Filter, Reader, Request, Store};
use tempfile::TempDir;

use crate::concurrent::{N_CHUNKS, check_whole, versioned};
use crate::content::{self, NOTES};
use crate::model::Model;

const DIR_VARIABLE: &str = "GEMMULE_TEST_READER_DIR";
const N_DOCUMENTS: u64 = 8;

fn search_all(reader: &Reader) -> Answer {
    reader.search(NOTES, &Request::new(content::unit_vector(1), 10_000).exact()).unwrap()
}

/// Not a test of its own: the process that reads until its standard input ends.
#[test]
fn reader_child() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else { return };
    let reader = Reader::open(Path::new(&dir)).unwrap();
    println!("\nopen");
    std::io::stdout().flush().unwrap();
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let (mut n_searches, mut n_refreshed) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = std::io::stdin().read_line(&mut String::new());
            is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
            n_refreshed += u64::from(reader.refresh().unwrap());
            let answer = search_all(&reader);
            check_whole(&answer);
            let status = reader.status().unwrap();
            assert_eq!(status.warnings, Vec::<String>::new());
            // This process alone uses the reader, so what it says is of one manifest.
            for info in reader.documents(NOTES).unwrap() {
                assert_eq!(reader.document(NOTES, &info.id).unwrap().as_ref(), Some(&info));
                let chunks = reader.chunks(NOTES, &info.id, 0..u32::MAX).unwrap();
                assert_eq!(chunks.len() as u32, N_CHUNKS);
                assert!(answer.hits.iter().any(|hit| hit.chunk == chunks[0]));
            }
            assert_eq!(answer.hits.len(), status.collections[0].chunks);
            n_searches += 1;
        }
    });
    reader.refresh().unwrap();
    let texts = search_all(&reader).hits.into_iter().map(|hit| hit.chunk.text);
    let texts: std::collections::BTreeSet<String> = texts.collect();
    println!("\nread {n_searches} {n_refreshed} {texts:?}");
    std::io::stdout().flush().unwrap();
}

#[test]
fn another_process_searches_while_this_one_writes_seals_merges_and_compacts() {
    const N_VERSIONS: u64 = 60;
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    store.create(NOTES, &content::space()).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "reader::reader_child", "--nocapture"])
        .env(DIR_VARIABLE, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "open"), "the child opened it");
    for version in 1..=N_VERSIONS {
        let documents: Vec<_> = (0..N_DOCUMENTS).map(|n| versioned(n, version)).collect();
        store.put(NOTES, &documents[..4]).unwrap();
        store.put(NOTES, &documents[4..]).unwrap();
        store.seal(NOTES, &|| false).unwrap();
        match version % 6 {
            0 => drop(store.compact(NOTES, &|| false).unwrap()),
            2 | 4 => drop(store.merge(NOTES, &|| false).unwrap()),
            _ => {}
        }
    }
    drop(child.stdin.take());
    let read = lines.find(|line| line.starts_with("read ")).expect("the child met no error");
    assert!(child.wait().unwrap().success());
    let counts: Vec<u64> = read.split(' ').skip(1).take(2).map(|n| n.parse().unwrap()).collect();
    assert!(counts[0] > 0 && counts[1] > 0, "{read}");
    assert!(read.ends_with(&format!("{{\"version {N_VERSIONS}\"}}")), "{read}");
}

#[test]
fn a_reader_sees_what_was_sealed_and_follows_on_refresh() {
    let dir = TempDir::new().unwrap();
    let before = SystemTime::now();
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    store.create(NOTES, &content::space()).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(reader.collections().unwrap(), store.collections().unwrap());
    // To the millisecond.
    assert!(reader.written_at() + Duration::from_millis(1) > before);
    let put = |numbers: std::ops::Range<u64>| {
        let documents: Vec<_> = numbers.map(|number| content::document(number, 1)).collect();
        store.put(NOTES, &documents).unwrap();
    };
    put(0..6);
    assert!(!reader.refresh().unwrap(), "nothing is sealed yet");
    store.seal(NOTES, &|| false).unwrap();
    assert!(search_all(&reader).hits.is_empty(), "not before it refreshes");
    assert!(reader.refresh().unwrap() && !reader.refresh().unwrap());
    let query = Request::new(content::unit_vector(5), 7).exact();
    let same = || {
        assert_eq!(reader.search(NOTES, &query).unwrap(), store.search(NOTES, &query).unwrap());
        let with_chunks: Vec<_> = store.documents(NOTES).unwrap();
        let with_chunks: Vec<_> =
            with_chunks.into_iter().filter(|info| info.n_chunks > 0).collect();
        assert_eq!(reader.documents(NOTES).unwrap(), with_chunks);
        assert_eq!(reader.fields(NOTES).unwrap(), store.fields(NOTES).unwrap());
        let others = Filter::parse(&format!("id != '{}'", content::id(1))).unwrap();
        assert_eq!(reader.count(NOTES, &others).unwrap(), store.count(NOTES, &others).unwrap());
        let mut passing = with_chunks;
        passing.retain(|info| info.id != content::id(1));
        assert_eq!(reader.documents_where(NOTES, &others).unwrap(), passing);
    };
    same();
    store.delete(NOTES, &[content::id(2)]).unwrap();
    reader.refresh().unwrap();
    same();
    put(6..12);
    store.compact(NOTES, &|| false).unwrap();
    let held = search_all(&reader);
    assert!(!held.hits.is_empty(), "the unlinked segment is still mapped");
    reader.refresh().unwrap();
    same();
    assert!(matches!(reader.document("none", "x"), Err(Error::NoCollection { .. })));
    drop(store);
    assert_eq!(search_all(&Reader::open(dir.path()).unwrap()), search_all(&reader));
}

#[test]
fn a_torn_manifest_is_an_error_for_readers_until_a_writer_opens() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    store.create(NOTES, &content::space()).unwrap();
    store.put(NOTES, &[content::document(5, 1)]).unwrap();
    store.seal(NOTES, &|| false).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let path = dir.path().join("MANIFEST");
    let whole = fs::read(&path).unwrap();
    for n_bytes in 0..whole.len() {
        fs::write(&path, &whole[..n_bytes]).unwrap();
        for error in [Reader::open(dir.path()).unwrap_err(), reader.refresh().unwrap_err()] {
            assert!(matches!(error, Error::Manifest { .. }), "{error}");
            assert!(error.to_string().contains("open the database for writing"), "{error}");
        }
    }
    assert_eq!(store.check(false).unwrap()[0].what, "file MANIFEST");
    let hits = search_all(&reader);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    assert_eq!(store.check(false).unwrap(), []);
    assert!(reader.refresh().unwrap());
    assert_eq!(search_all(&reader), hits);
    let none = TempDir::new().unwrap();
    assert!(matches!(Reader::open(none.path()), Err(Error::NotADatabase { .. })));
}

#[test]
fn a_segment_that_is_replaced_under_a_reader_leads_it_to_the_newer_manifest() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    store.create(NOTES, &content::space()).unwrap();
    let mut model = Model::default();
    for number in 0..6 {
        store.put(NOTES, &[content::document(number, 1)]).unwrap();
        model.put(content::document(number, 1));
        store.seal(NOTES, &|| false).unwrap();
    }
    let old = fs::read(dir.path().join("MANIFEST")).unwrap();
    store.compact(NOTES, &|| false).unwrap();
    let new = fs::read(dir.path().join("MANIFEST")).unwrap();
    // As if it had read the old one just before: without a newer one this is damage, and said so.
    fs::write(dir.path().join("MANIFEST"), old).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    assert!(!reader.status().unwrap().warnings.is_empty());
    fs::write(dir.path().join("MANIFEST"), new).unwrap();
    assert!(reader.refresh().unwrap());
    assert_eq!(reader.status().unwrap().warnings, Vec::<String>::new());
    model.check(&store);
}

#[test]
fn what_another_process_writes_is_read_and_writing_to_it_names_that_process() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    store.create(NOTES, &content::space()).unwrap();
    store.put(NOTES, &[content::document(1, 1)]).unwrap();
    store.seal(NOTES, &|| false).unwrap();
    let beside = Access::open(dir.path()).unwrap();
    assert!(beside.as_of().is_some());
    assert_eq!(beside.collections().unwrap(), store.collections().unwrap());
    assert_eq!(beside.space(NOTES).unwrap(), store.space(NOTES).unwrap());
    assert_eq!(beside.documents(NOTES).unwrap(), store.documents(NOTES).unwrap());
    assert!(!beside.refresh().unwrap());
    let error = beside.store().unwrap_err();
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    drop(store);
    let all = Access::open(dir.path()).unwrap();
    assert!(all.as_of().is_none() && all.store().is_ok());
}

#[test]
fn a_lock_taken_at_a_time_that_is_far_away_or_still_to_come_is_waited_for_by_nobody() {
    const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.create(NOTES, &content::space()).unwrap();
    let owner = fs::File::options().write(true).open(dir.path().join("owner.json")).unwrap();
    for taken in [SystemTime::now() + TEN_YEARS, SystemTime::now() - TEN_YEARS, UNIX_EPOCH] {
        owner.set_modified(taken).unwrap();
        let beside = Access::open(dir.path()).unwrap();
        assert!(beside.as_of().is_some() && beside.store().is_err());
    }
    drop(store);
    // What it says of itself is for messages only.
    fs::write(
        dir.path().join("owner.json"),
        "{\"pid\":1,\"started_at_unix_ms\":99999999999999999}",
    )
    .unwrap();
    assert!(Access::open(dir.path()).unwrap().store().is_ok());
}

#[test]
fn a_database_that_is_just_being_made_is_not_there_to_read() {
    let dir = TempDir::new().unwrap();
    let _store = Store::open(dir.path()).unwrap();
    fs::remove_file(dir.path().join("MANIFEST")).unwrap();
    assert!(matches!(Access::open(dir.path()), Err(Error::Locked { .. })));
}

#[test]
fn a_reader_answers_and_refuses_what_the_store_does() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    store.create(NOTES, &content::space()).unwrap();
    store
        .put(NOTES, &(0..5).map(|number| content::document(number, 0)).collect::<Vec<_>>())
        .unwrap();
    store.seal(NOTES, &|| false).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let vector = content::unit_vector(1);
    for request in [
        Request::words("one word7 word8", 9),
        Request::new(vector.clone(), 9).text("one word7 word8"),
        Request::new(vector.clone(), 9),
    ] {
        let found = store.search(NOTES, &request).unwrap();
        assert!(!found.hits.is_empty(), "{request:?}");
        assert_eq!(reader.search(NOTES, &request).unwrap(), found);
    }
    let too_diverse = Request { diversity: 1.5, ..Request::new(vector, 9) };
    for request in [too_diverse, Request::new(vec![0.0; 1], 9)] {
        assert!(store.search(NOTES, &request).unwrap_err().is_invalid_input());
        assert!(reader.search(NOTES, &request).unwrap_err().is_invalid_input());
    }
}
