//! One space, whatever the precision: what int8 has indexed, f32 asks, adds to and leaves as it is.

use std::collections::BTreeMap;
use std::fs;

use gemmule::{Answer, Collection, Database, Document, Precision};

const TEXTS: [(&str, &str); 8] = [
    (
        "ownership",
        "Each value has one owner. When the owner goes out of scope, the memory is freed.",
    ),
    ("pie", "Peel the apples, slice them thinly and bake the pie until the crust is golden."),
    ("volcano", "Lava is molten rock that flows from an erupting volcano."),
    ("printer", "The office laser printer takes A4 paper and stands beside the kitchen."),
    ("sorting", "A list of numbers is sorted by swapping neighbours until nothing moves."),
    ("whale", "Whales are mammals that live in the sea and breathe air."),
    ("tax", "Income tax is due at the end of May, and late payment costs a fee."),
    ("violin", "A violin has four strings, tuned in fifths, and is played with a bow."),
];

const QUERIES: [(&str, &str); 4] = [
    ("who frees this memory?", "ownership"),
    ("erupting mountain", "volcano"),
    ("how long do I bake apples?", "pie"),
    ("animals of the ocean", "whale"),
];

/// What the rows of each segment were made in.
fn made(db: &Database) -> Vec<BTreeMap<String, u64>> {
    let notes = db.status().unwrap().collections.remove(0);
    notes.segments.into_iter().map(|segment| segment.precisions).collect()
}

fn counts(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
    of.iter().map(|(name, n_rows)| ((*name).to_owned(), *n_rows)).collect()
}

fn ask(notes: &Collection, query: &str) -> Answer {
    notes.search(query).fusion(gemmule::Fusion::VectorOnly).limit(8).run().unwrap()
}

#[test]
fn what_is_indexed_in_int8_is_asked_and_added_to_in_f32() {
    let place = tempfile::tempdir().unwrap();
    let open = |name: &str, precision| {
        let db = Database::open(place.path().join(name)).unwrap().with_precision(precision);
        db.collection("notes").unwrap()
    };
    let documents = |range: std::ops::Range<usize>| {
        TEXTS[range].iter().map(|(id, text)| Document::new(*id, *text)).collect::<Vec<_>>()
    };
    let pure = open("pure", Precision::F32);
    pure.add(documents(0..8)).unwrap();
    let int8 = open("mixed", Precision::Int8);
    assert_eq!(int8.embedder().unwrap().precision(), Precision::Int8);
    int8.add(documents(0..5)).unwrap();
    int8.seal().unwrap();
    drop(int8);
    let mixed = open("mixed", Precision::F32);
    assert_eq!(mixed.embedder().unwrap().precision(), Precision::F32);
    mixed.add(documents(5..8)).unwrap();
    let mut differs = false;
    for (query, expected) in QUERIES {
        let (one, other) = (ask(&pure, query), ask(&mixed, query));
        assert_eq!(one.hits[0].document, expected);
        assert_eq!(other.hits[0].document, expected);
        for hit in &one.hits {
            let same = other.hits.iter().find(|other| other.document == hit.document).unwrap();
            assert!(
                (hit.score - same.score).abs() < 0.02,
                "{query}, {}: {hit:?} {same:?}",
                hit.document
            );
            differs |= hit.score != same.score;
        }
    }
    assert!(differs, "some of the rows were made in another precision");
    drop(mixed);

    let db = Database::open(place.path().join("mixed")).unwrap();
    db.collection("notes").unwrap().seal().unwrap();
    assert_eq!(made(&db), [counts(&[("int8", 5)]), counts(&[("f32", 3)])]);
    db.collection("notes").unwrap().compact(&|| false).unwrap();
    assert_eq!(made(&db), [counts(&[("f32", 3), ("int8", 5)])]);
}

#[test]
fn another_precision_embeds_nothing_again() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("docs");
    fs::create_dir(&folder).unwrap();
    for (id, text) in TEXTS {
        fs::write(folder.join(format!("{id}.txt")), text).unwrap();
    }
    let mut embedded = Vec::new();
    for precision in [Precision::Int8, Precision::F32, Precision::Bf16] {
        let db = Database::open(place.path().join("db")).unwrap().with_precision(precision);
        // Its stamp is too young to prove anything; its chunks are known by what they hold.
        embedded.push(db.collection("notes").unwrap().sync(&folder).unwrap().chunks_embedded);
    }
    assert_eq!(embedded, [TEXTS.len(), 0, 0]);
    // Rows that were put again keep what made them.
    fs::write(folder.join("pie.txt"), format!("{} And eat it warm.", TEXTS[1].1)).unwrap();
    let db = Database::open(place.path().join("db")).unwrap().with_precision(Precision::F32);
    let notes = db.collection("notes").unwrap();
    assert_eq!(notes.sync(&folder).unwrap().chunks_embedded, 1);
    notes.compact(&|| false).unwrap();
    assert_eq!(made(&db), [counts(&[("f32", 1), ("int8", TEXTS.len() as u64 - 1)])]);
}

#[test]
fn a_chunk_whose_row_has_a_damaged_text_is_embedded_again() {
    let place = tempfile::tempdir().unwrap();
    let (folder, path) = (place.path().join("docs"), place.path().join("db"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("pie.txt"), TEXTS[1].1).unwrap();
    let db = Database::open(&path).unwrap();
    let notes = db.collection("notes").unwrap();
    notes.sync(&folder).unwrap();
    notes.seal().unwrap();
    drop((notes, db));
    let segment = fs::read_dir(path.join("segments")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&segment).unwrap();
    // The table's entry: tag, padding, offset.
    let entry = bytes.windows(8).position(|part| part == b"TEXT\0\0\0\0").unwrap();
    let offset = u64::from_le_bytes(bytes[entry + 8..entry + 16].try_into().unwrap()) as usize;
    bytes[offset + 25] ^= 0xff;
    fs::write(&segment, bytes).unwrap();

    // The same text in another file.
    fs::write(folder.join("tart.txt"), TEXTS[1].1).unwrap();
    let db = Database::open(&path).unwrap();
    let notes = db.collection("notes").unwrap();
    assert_eq!(notes.sync(&folder).unwrap().chunks_embedded, 1);
    let tart = folder.join("tart.txt").canonicalize().unwrap();
    assert_eq!(notes.vectors(tart.to_str().unwrap()).unwrap().len(), 1);
}
