//! Files of vectors.

// The command line is a program and no library: its readers are taken by their files.
#[path = "../../../cli/src/rows/fvecs.rs"]
mod fvecs_file;
#[path = "../../../cli/src/rows/jsonl.rs"]
#[allow(dead_code, reason = "its rows are read here, not written")]
mod jsonl;
#[path = "../../../cli/src/rows/parquet/mod.rs"]
mod parquet_file;

use bytes::Bytes;
use gemmule::engine::npy as npy_file;
use gemmule::{Document, Metric, Space};

pub(super) use parquet_file::is_reading;

/// As the command line has it.
const MAX_WIDTH: usize = 1 << 16;

/// Rows of a seed.
const ROWS: [[f32; 3]; 2] = [[1.0, -0.5, 0.0], [f32::MIN_POSITIVE, f32::MAX, -1e-9]];

pub(super) fn npy_seeds() -> Vec<Vec<u8>> {
    let mut whole = Vec::new();
    npy_file::write(&mut whole, &ROWS.map(Vec::from), 3).expect("memory takes all");
    let halves = "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 2), }\n";
    let header =
        [b"\x93NUMPY\x02\x00", &(halves.len() as u32).to_le_bytes()[..], halves.as_bytes()];
    vec![whole, [header.concat(), vec![0x3c; 8]].concat()]
}

pub(super) fn npy(bytes: &[u8]) {
    let Ok(mut reader) = npy_file::Reader::new(bytes) else { return };
    let mut row = Vec::new();
    while let Ok(true) = reader.next_row(&mut row) {
        assert_eq!(row.len(), reader.width());
    }
}

pub(super) fn fvecs_seeds() -> Vec<Vec<u8>> {
    let mut whole = Vec::new();
    ROWS.iter().for_each(|row| fvecs_file::write_row(&mut whole, row).expect("memory takes all"));
    vec![whole]
}

pub(super) fn fvecs(bytes: &[u8]) {
    let mut reader = fvecs_file::Reader::new(bytes);
    let mut row = Vec::new();
    while let Ok(true) = reader.next_row(&mut row) {
        assert!((1..=MAX_WIDTH).contains(&row.len()));
    }
}

pub(super) fn jsonl_seeds() -> Vec<Vec<u8>> {
    let deep = |n: usize| format!("{}1{}", "{\"a\":".repeat(n), "}".repeat(n));
    let lines = [
        r#"{"id": "a", "vector": [1, -2.5e-3], "text": "\ud83d\ude00", "title": null, "meta": {"a": [1, {}]}}"#.to_owned(),
        r#"{"id": 17, "vector": [1e38, 1e39]}"#.to_owned(),
        format!(r#"{{"id": "b", "vector": [1], "meta": {}}}"#, deep(64)),
        format!(r#"{{"id": "b", "vector": [1], "meta": {}}}"#, deep(1000)),
    ];
    lines.map(|line| format!("{line}\n\n{line}\n").into_bytes()).into()
}

pub(super) fn jsonl(bytes: &[u8]) {
    let mut reader = jsonl::Reader::new(bytes);
    drain(|| reader.next_row());
}

pub(super) fn parquet_seeds() -> Vec<Vec<u8>> {
    let names = ["pyarrow", "pages", "halves", "pandas", "polars", "ids_uint64", "bad_number_null"];
    let made = names.map(|name| super::reference(&format!("parquet/{name}.parquet")));
    let mut ours = parquet_file::Writer::new(Vec::new(), 3).expect("memory takes all");
    for row in &ROWS {
        ours.row(&Document::new("id", "text").meta("a", 1), row).expect("memory takes all");
    }
    made.into_iter().chain([ours.finish().expect("memory takes all")]).collect()
}

pub(super) fn parquet(bytes: &[u8]) {
    let Ok(mut reader) = parquet_file::Reader::new(Bytes::copy_from_slice(bytes)) else { return };
    drain(|| reader.next_row());
}

/// Reads to the end or to the first error, and asks of each row what the import asks.
fn drain(mut next_row: impl FnMut() -> anyhow::Result<Option<(Document, Vec<f32>)>>) {
    let mut space: Option<Space> = None;
    while let Ok(Some((_, vector))) = next_row() {
        let _ =
            space.get_or_insert_with(|| Space::of_vectors(vector.len(), Metric::Dot)).kept(&vector);
    }
}
