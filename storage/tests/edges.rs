//! What is rare and must not matter: sled gone or cut, very many equal rows, vectors of zeros.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use half::f16;
use storage::{Chunk, Document, Filter, Request, Store};
use tempfile::TempDir;

use crate::content::{self, NOTES, Numbers, WIDTH};
use crate::faults::{self, Tally};
use crate::model::Model;

/// A closed database `whole` with a segment and unsealed rows.
fn database(dir: &Path) -> Model {
    let store = Store::open(&dir.join("whole")).unwrap();
    store.maintain(false);
    store.create(NOTES, &content::space()).unwrap();
    let mut model = Model::default();
    for number in 0..12 {
        store.put(NOTES, &[content::document(number, 1)]).unwrap();
        model.put(content::document(number, 1));
        if number == 8 {
            store.seal(NOTES, &|| false).unwrap();
        }
    }
    model
}

#[test]
fn a_database_whose_sled_is_gone_does_not_open_and_keeps_its_segments() {
    let dir = TempDir::new().unwrap();
    database(dir.path());
    let damaged = dir.path().join("damaged");
    let remove_all = |sled: &Path| fs::remove_dir_all(sled).unwrap();
    let empty = |sled: &Path| {
        fs::remove_dir_all(sled).unwrap();
        fs::create_dir(sled).unwrap();
    };
    let cut = |sled: &Path| fs::write(sled.join("db"), "").unwrap();
    let no_log = |sled: &Path| fs::remove_file(sled.join("db")).unwrap();
    for (damage, has_manifest) in [
        (&remove_all as &dyn Fn(&Path), true),
        (&empty, true),
        (&cut, true),
        (&no_log, true),
        (&remove_all, false),
    ] {
        let _ = fs::remove_dir_all(&damaged);
        faults::copy_all(&dir.path().join("whole"), &damaged);
        damage(&damaged.join("sled"));
        if !has_manifest {
            fs::remove_file(damaged.join("MANIFEST")).unwrap();
        }
        for _ in 0..2 {
            let error = Store::open(&damaged).unwrap_err();
            assert!(error.is_corruption() && error.to_string().contains("sled"), "{error}");
            assert_eq!(fs::read_dir(damaged.join("segments")).unwrap().count(), 1);
        }
    }
}

#[test]
fn a_cut_or_flipped_log_of_sled_is_an_error_or_a_state_that_was() {
    let dir = TempDir::new().unwrap();
    let model = database(dir.path());
    let log = fs::read(dir.path().join("whole/sled/db")).unwrap();
    let damaged = dir.path().join("damaged");
    let mut numbers = Numbers(faults::seed());
    let mut tally = Tally::default();
    for round in 0..faults::rounds(6) {
        let _ = fs::remove_dir_all(&damaged);
        faults::copy_all(&dir.path().join("whole"), &damaged);
        let mut bytes = log.clone();
        let at = numbers.below(bytes.len() as u64) as usize;
        match round % 2 {
            0 => bytes.truncate(at),
            _ => bytes[at] ^= 1 << numbers.below(8),
        }
        fs::write(damaged.join("sled/db"), bytes).unwrap();
        tally.rounds += 1;
        let body = AssertUnwindSafe(|| {
            let Ok(store) = Store::open(&damaged) else {
                tally.critical += 1;
                assert_eq!(fs::read_dir(damaged.join("segments")).unwrap().count(), 1);
                return;
            };
            // A log that ends early is as if the last changes had never been: those that are there are right.
            for number in 0..12 {
                let id = content::id(number);
                let found = store.document(NOTES, &id);
                if found.is_ok_and(|found| found.is_some() && found != model.info(&id)) {
                    tally.wrong += 1;
                    tally.stories.push(format!("byte {at}: another document {id}"));
                }
            }
        });
        if catch_unwind(body).is_err() {
            tally.panics += 1;
            tally.stories.push(format!("byte {at}: a panic, see above"));
        }
    }
    tally.finish("sled's log cut or flipped");
}

#[test]
fn ten_thousand_equal_rows_are_sealed_merged_filtered_and_found() {
    const N_DOCUMENTS: u64 = 20;
    const N_CHUNKS: u32 = 500;
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    store.create(NOTES, &content::space()).unwrap();
    let vector: storage::Vector = content::unit_vector(1).into_iter().map(f16::from_f32).collect();
    let chunk = Chunk {
        text: "the same".to_owned(),
        hash: [1; 16],
        range: 0..8,
        page: None,
        headings: Vec::new(),
        n_tokens: 2,
        precision: None,
        vector,
    };
    for number in 0..N_DOCUMENTS {
        let chunks = vec![chunk.clone(); N_CHUNKS as usize];
        let meta = serde_json::json!({ "even": number % 2 == 0 }).as_object().unwrap().clone();
        let document =
            Document { id: content::id(number), source: None, title: None, meta, chunks };
        store.put(NOTES, &[document]).unwrap();
        if number % 7 == 6 {
            store.seal(NOTES, &|| false).unwrap();
        }
    }
    let check = || {
        let request = Request::new(content::unit_vector(1), 12);
        let even = Filter::parse("even = true").unwrap();
        for request in [request.clone(), request.clone().exact()] {
            let hits = store.search(NOTES, &request).unwrap().hits;
            assert!(hits.len() == 12 && hits.iter().all(|hit| hit.score > 0.99), "{hits:?}");
            let hits = store.search(NOTES, &request.filter(even.clone())).unwrap().hits;
            let is_even = |id: &str| (0..N_DOCUMENTS).step_by(2).any(|n| content::id(n) == id);
            assert!(hits.len() == 12 && hits.iter().all(|hit| is_even(&hit.document)));
        }
        let all = Request::new(content::unit_vector(1), 20_000).exact();
        let hits = store.search(NOTES, &all).unwrap().hits;
        assert!(hits.iter().map(|hit| hit.row).eq(0..N_DOCUMENTS * u64::from(N_CHUNKS)));
        assert_eq!(store.check(false).unwrap(), []);
    };
    check();
    while store.merge(NOTES, &|| false).unwrap() {}
    check();
    store.compact(NOTES, &|| false).unwrap();
    check();
}

#[test]
fn vectors_of_zeros_score_zero_and_disturb_nobody() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.maintain(false);
    store.create(NOTES, &content::space()).unwrap();
    let mut n_rows = 0;
    for number in 0..12 {
        let mut document = content::document(number, 1);
        for chunk in document.chunks.iter_mut().skip(1) {
            chunk.vector = vec![f16::ZERO; WIDTH].into();
        }
        n_rows += document.chunks.len();
        store.put(NOTES, &[document]).unwrap();
    }
    let search = || {
        let request = Request::new(content::unit_vector(3), 1_000).exact();
        store.search(NOTES, &request).unwrap().hits
    };
    let before = search();
    assert_eq!(before.len(), n_rows);
    store.compact(NOTES, &|| false).unwrap();
    assert_eq!(search(), before);
    let near = store.search(NOTES, &Request::new(vec![0.0; WIDTH], 5)).unwrap().hits;
    assert!(near.len() == 5 && near.iter().all(|hit| hit.score == 0.0));
}
