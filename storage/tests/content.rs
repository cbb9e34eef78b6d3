//! Documents made for tests: everything follows from a document's number and version.

use std::time::Duration;

use half::f16;
use serde_json::json;
use storage::index::mrl::Quant;
use storage::index::{self, Form};
use storage::{Chunk, Document, Maintenance, Metric, Source, Space, Store, StoredChunk, Successor};

/// Wide enough for codes of a bit a number.
pub(crate) const WIDTH: usize = 72;
pub(crate) const NOTES: &str = "notes";

pub(crate) fn space() -> Space {
    Space {
        model: "tiny".to_owned(),
        fingerprint: "f00d".to_owned(),
        document_prompt: "title: none | text: ".to_owned(),
        link: None,
        full_width: WIDTH,
        dims: 16,
        quant: Quant::default(),
    }
}

/// Another space of the same width.
pub(crate) fn other_space() -> Space {
    Space { model: "other".to_owned(), fingerprint: "beef".to_owned(), ..space() }
}

/// A chunk of [`space`] as it is in [`other_space`].
pub(crate) fn to_other(mut chunk: Chunk) -> Chunk {
    numbers_of(&mut chunk.vector).rotate_left(1);
    chunk.hash[15] ^= 1;
    chunk
}

/// The way back.
pub(crate) fn from_other(mut chunk: Chunk) -> Chunk {
    numbers_of(&mut chunk.vector).rotate_right(1);
    chunk.hash[15] ^= 1;
    chunk
}

/// A document as it is in the space that a store's collection is in.
pub(crate) fn in_space_of(store: &Store, mut document: Document) -> Document {
    if store.space(NOTES).unwrap().unwrap().fingerprint == other_space().fingerprint {
        document.chunks = document.chunks.into_iter().map(to_other).collect();
    }
    document
}

/// Puts at most `n_most` documents that are missing into what is built of [`NOTES`] in the space that it is not in, as a
/// program with a model would. Returns their ids.
pub(crate) fn reembed<'a>(
    store: &'a Store,
    n_most: usize,
) -> storage::Result<(Successor<'a>, Vec<String>)> {
    let is_other = store.space(NOTES)?.unwrap().fingerprint == other_space().fingerprint;
    let (to, make): (Space, fn(Chunk) -> Chunk) =
        if is_other { (space(), from_other) } else { (other_space(), to_other) };
    let successor = store.begin_successor(NOTES, &to)?;
    let pending = successor.pending()?.into_iter().take(n_most);
    let ids: Vec<String> = pending.map(|(id, _)| id).collect();
    for id in &ids {
        let info = store.document(NOTES, id)?.unwrap();
        let mut chunks = Vec::new();
        for (stored, row) in store.chunks(NOTES, id, 0..u32::MAX)?.into_iter().zip(info.first_row..)
        {
            let StoredChunk { text, range, page, headings, n_tokens, precision, hash, .. } = stored;
            let vector = store.vector(NOTES, row)?.unwrap();
            #[rustfmt::skip]
            let chunk = Chunk { text, hash, range, page, headings, n_tokens, precision, vector };
            chunks.push(make(chunk));
        }
        assert!(successor.put(&[(info, chunks)])?[0].is_some());
    }
    Ok((successor, ids))
}

/// The document as one whose vectors were given: of lengths that differ, in f32.
pub(crate) fn given(document: Document, form: Form) -> Document {
    let as_given = |mut chunk: Chunk| {
        if form != Form::Unit {
            let factor = [0.125, 1.0, 8.0][usize::from(chunk.hash[0]) % 3];
            let numbers = chunk.vector.values().iter().map(|x| x * factor);
            chunk.vector = storage::Vector::F32(numbers.collect());
        }
        chunk
    };
    let chunks = document.chunks.into_iter().map(as_given).collect();
    Document { chunks, ..document }
}

/// A stream of numbers that follows from its seed (splitmix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

pub(crate) fn unit_vector(seed: u64) -> Vec<f32> {
    let mut numbers = Numbers(seed);
    let values: Vec<f32> =
        (0..WIDTH).map(|_| (numbers.next() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect();
    let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.iter().map(|value| value / norm).collect()
}

pub(crate) fn id(number: u64) -> String {
    format!("document {number}")
}

/// The document of this number and version: zero to five chunks, sometimes with texts or metadata of many parts.
pub(crate) fn document(number: u64, version: u64) -> Document {
    let seed = number * 1_000_003 + version;
    let mut numbers = Numbers(seed);
    let n_chunks = numbers.below(6);
    let chunks = (0..n_chunks).map(|idx| chunk(seed * 10 + idx, &mut numbers)).collect();
    let meta = if numbers.below(8) == 0 { "many words ".repeat(2_000) } else { "few".to_owned() };
    let source = (numbers.below(2) == 0).then(|| source(seed));
    let title = (numbers.below(2) == 0).then(|| format!("Title {seed}"));
    let meta = json!({ "version": version, "text": meta }).as_object().unwrap().clone();
    Document { id: id(number), source, title, meta, chunks }
}

fn chunk(seed: u64, numbers: &mut Numbers) -> Chunk {
    let n_words = if numbers.below(10) == 0 { 3_000 } else { numbers.below(60) };
    let text: String = (0..n_words).map(|_| format!("word{} ", numbers.below(500))).collect();
    let mut hash = [0; 16];
    hash[..8].copy_from_slice(&seed.to_le_bytes());
    // Few different vectors, so that equal scores occur.
    let vector = unit_vector(seed % 97).into_iter().map(f16::from_f32).collect();
    Chunk {
        range: 7..7 + text.len() as u64,
        text,
        hash,
        page: (numbers.below(2) == 0).then_some(3),
        headings: vec!["One".to_owned(), format!("Two \u{e9} {seed}")],
        n_tokens: n_words as u32,
        precision: [None, Some("int8"), Some("f32")][seed as usize % 3].map(str::to_owned),
        vector,
    }
}

/// The numbers of a vector that is kept in f16.
pub(crate) fn numbers_of(vector: &mut storage::Vector) -> &mut Vec<f16> {
    let storage::Vector::F16(numbers) = vector else { panic!("a vector in f32") };
    numbers
}

/// The score of a vector, obviously.
pub(crate) fn score(vector: &storage::Vector, query: &[f32], form: Form) -> f32 {
    match (vector, form) {
        (storage::Vector::F16(row), Form::Unit) => index::score::dot_f16(row, query),
        (storage::Vector::F32(row), Form::Given(metric)) => {
            let pairs = || row.iter().zip(query).map(|(a, b)| (f64::from(*a), f64::from(*b)));
            let dot: f64 = pairs().map(|(a, b)| a * b).sum();
            let lengths = pairs().fold((0.0, 0.0), |(a, b), (x, y)| (a + x * x, b + y * y));
            let scored = match metric {
                Metric::Dot => dot,
                Metric::L2 => -pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt(),
                Metric::Cosine => dot / (lengths.0 * lengths.1).sqrt(),
            };
            scored as f32
        }
        _ => panic!("a vector of another form"),
    }
}

pub(crate) fn source(seed: u64) -> Source {
    Source {
        root: "/notes".to_owned(),
        path: format!("/notes/{seed}.md"),
        len: seed,
        mtime_ns: -5,
        ctime_ns: 1 << 60,
        inode: seed,
        content: [seed as u8; 32],
        indexed_at_ns: 77,
        settings: [9; 16],
        kind: "markdown".to_owned(),
    }
}

/// Maintenance that always has something to do: it seals a few rows, and merges at once.
pub(crate) fn busy() -> Maintenance {
    Maintenance::default().seal_at(8).delay(Duration::ZERO)
}
