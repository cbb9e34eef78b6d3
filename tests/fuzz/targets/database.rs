//! Segments, and a database whose MANIFEST or segment is another, behind checksums that are right.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use half::f16;
use serde_json::json;
use storage::index::mrl::Quant;
use storage::index::{Form, Metric, RowId, Search, Segment, SegmentBuilder, Shape};
use storage::{Chunk, Document, Filter, Reader, Request, Space, Store};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

const COLLECTION: &str = "notes";
const WIDTH: usize = 6;
const DIMS: usize = 3;

/// Where the checksum of a manifest lies: before its payload, over all else.
const MANIFEST_SUM: std::ops::Range<usize> = 24..32;

fn row(number: usize) -> Vec<f16> {
    let numbers = (0..WIDTH).map(|at| ((number * 7 + at * 3) % 11) as f32 - 5.0);
    let length = numbers.clone().map(|x| x * x).sum::<f32>().sqrt();
    numbers.map(|x| f16::from_f32(x / length)).collect()
}

pub(super) fn segment_seeds() -> Vec<Vec<u8>> {
    let segment = |n_rows: usize, dims: usize, form: Form| {
        let mut builder = SegmentBuilder::new(Shape { full: WIDTH, dims }, 7).form(form);
        for (id, row) in (0..n_rows).map(|number| (number as u64 * 3, row(number))) {
            match form {
                Form::Unit => builder.push(id, &row),
                Form::Given(_) => {
                    builder.push(id, &row.iter().map(|x| x.to_f32()).collect::<Vec<f32>>());
                }
            }
        }
        builder.section(*b"text", b"opaque".to_vec());
        let bytes = builder.build(&|| false).expect("nobody cancels").to_vec();
        let mut broken = bytes.clone();
        broken[24..32].fill(0);
        seal(&mut broken);
        assert_eq!(broken, bytes, "the header of segments has changed: so must `seal`");
        bytes
    };
    let [dot, l2] = [Metric::Dot, Metric::L2].map(|metric| segment(12, WIDTH, Form::Given(metric)));
    let unit = [(1, DIMS), (12, DIMS), (40, WIDTH)];
    let unit = unit.map(|(n_rows, dims)| segment(n_rows, dims, Form::Unit));
    unit.into_iter().chain([dot, l2]).collect()
}

pub(super) fn segment(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    seal(&mut sealed);
    for bytes in [bytes.to_vec(), sealed] {
        let Ok(segment) = Segment::open(Arc::new(bytes)) else { continue };
        let _ = (segment.verify(), segment.stats(), segment.section(*b"text"));
        for number in (0..segment.len() as u32).take(64).map(RowId) {
            let _ = (segment.find(segment.id(number)), segment.row(number));
        }
        let query = segment.query(&vec![0.5; segment.shape().full]);
        for how in [Search::Exact, Search::Graph { ef: 1 }, Search::Graph { ef: 9 }] {
            assert!(segment.search(&query, 4, how, None).hits.len() <= 4);
        }
    }
}

/// Makes the checksums of a segment right, as far as its table can be followed: `index/SEGMENT.md`.
fn seal(bytes: &mut [u8]) {
    const HEAD: usize = 192;
    const LINE: usize = 32;
    let u64_at = |bytes: &[u8], at: usize| {
        let bytes = bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    };
    let n_parts = (u64_at(bytes, 8) >> 32).min(256) as usize;
    let head_bytes = HEAD + n_parts * LINE;
    if head_bytes > bytes.len() {
        return;
    }
    for line in (HEAD..head_bytes).step_by(LINE) {
        let start = u64_at(bytes, line + 8).min(bytes.len() as u64) as usize;
        let length = u64_at(bytes, line + 16).min((bytes.len() - start) as u64) as usize;
        let checksum = xxh3_64(&bytes[start..start + length]);
        bytes[line + 24..line + 32].copy_from_slice(&checksum.to_le_bytes());
    }
    let checksum = xxh3_64(&[&bytes[..24], &bytes[32..head_bytes]].concat());
    bytes[24..32].copy_from_slice(&checksum.to_le_bytes());
}

/// A closed database with one segment, made once a process; its MANIFEST and its segment.
fn database() -> &'static (TempDir, Vec<u8>, PathBuf, Vec<u8>) {
    static DATABASE: OnceLock<(TempDir, Vec<u8>, PathBuf, Vec<u8>)> = OnceLock::new();
    DATABASE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("there is a folder for temporary files");
        let space = Space {
            model: "tiny".to_owned(),
            fingerprint: "f00d".to_owned(),
            document_prompt: String::new(),
            link: None,
            full_width: WIDTH,
            dims: DIMS,
            quant: Quant::Int8,
        };
        let store = Store::open(dir.path()).expect("it is new");
        store.create(COLLECTION, &space).expect("it is new");
        let chunk = |number: usize| Chunk {
            text: format!("text {number}"),
            hash: [number as u8; 16],
            range: 0..6,
            page: None,
            headings: vec!["One".to_owned()],
            n_tokens: 2,
            precision: None,
            vector: row(number).into(),
        };
        let document = |number: usize| Document {
            id: format!("document {number}"),
            source: None,
            title: Some("Title".to_owned()),
            meta: json!({ "n": number, "a": { "b": [true, "x", 1.5] } })
                .as_object()
                .cloned()
                .unwrap_or_default(),
            chunks: vec![chunk(number), chunk(number + 5)],
        };
        store
            .put(COLLECTION, &(0..5).map(document).collect::<Vec<_>>())
            .expect("the disk takes it");
        store.seal(COLLECTION, &|| false).expect("the disk takes it");
        store.delete(COLLECTION, &["document 3".to_owned()]).expect("the disk takes it");
        drop(store);
        let entry = fs::read_dir(dir.path().join("segments")).expect("it is there").next();
        let segment = entry.expect("there is one").expect("it can be listed").path();
        let read = |path: &Path| fs::read(path).expect("it is there");
        let (manifest, bytes) = (read(&dir.path().join("MANIFEST")), read(&segment));
        (dir, manifest, segment, bytes)
    })
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let (_, manifest, _, segment) = database();
    vec![[&[0], &**manifest].concat(), [&[1], &**segment].concat()]
}

/// The first byte says whether the others are a manifest (even) or a segment.
pub(super) fn run(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let (dir, manifest, segment, _) = database();
    let mut bytes = bytes.to_vec();
    let manifest_path = dir.path().join("MANIFEST");
    if which.is_multiple_of(2) {
        if let Some((head, payload)) = bytes.split_at_checked(MANIFEST_SUM.end) {
            let sum = xxh3_64(&[&head[..MANIFEST_SUM.start], payload].concat());
            bytes[MANIFEST_SUM].copy_from_slice(&sum.to_le_bytes());
        }
        fs::write(&manifest_path, &bytes).expect("the folder takes a file");
        ask(dir.path());
        fs::write(&manifest_path, manifest).expect("the folder takes a file");
        return;
    }
    seal(&mut bytes);
    // As long as the record says, or it is refused at once. A new file: the old one is mapped.
    bytes.resize(database().3.len(), 0);
    fs::remove_file(segment).expect("it is there");
    fs::write(segment, &bytes).expect("the folder takes a file");
    ask(dir.path());
    fs::remove_file(segment).expect("it is there");
    fs::write(segment, &database().3).expect("the folder takes a file");
}

/// Asks a database all that a reader in another process can ask.
fn ask(dir: &Path) {
    let Ok(reader) = Reader::open(dir) else { return };
    drop((reader.status(), reader.written_at()));
    for (name, space) in reader.collections().unwrap_or_default() {
        let width = space.full_width.min(1 << 16);
        drop((
            reader.documents(&name),
            reader.chunks(&name, "document 1", 0..9),
            reader.vector(&name, 1),
        ));
        let filter =
            Filter::parse("n >= 1 AND a.b = 'x' AND NOT title IS NULL").expect("it is one");
        let request = Request::new(vec![0.5; width], 3);
        for request in [request.clone(), request.clone().exact(), request.filter(filter)] {
            drop(reader.search(&name, &request));
        }
    }
}
