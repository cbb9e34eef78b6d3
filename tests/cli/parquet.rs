//! `gemmule import` and `export` of Parquet: tables that pyarrow, pandas and polars made
//! (`tests/reference/make_parquet.py`), wrong ones, damaged ones, and our own.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Place;

/// A table of `tests/reference/parquet`.
fn table(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/parquet");
    folder.join(format!("{name}.parquet"))
}

/// What `make_parquet.py` puts into every good table.
fn lines() -> String {
    let rows = [
        json!({ "id": "a", "vector": [1.0, 0.5, -0.25], "text": "about a", "title": "same",
                "meta": { "n": 1, "deep": { "x": [1, 2] } } }),
        json!({ "id": "the zebra", "vector": [0.0, 3.0, 4.0], "title": "same" }),
        json!({ "id": "c/2", "vector": [-1.0, -2.0, 2.0] }),
        json!({ "id": "\u{f6}\n4", "vector": [0.125, 0.0, 0.0], "text": "two\nlines", "title": "same" }),
        json!({ "id": "5", "vector": [2.0, 2.0, 1.0], "text": "about 5", "title": "other",
                "meta": { "n": 5 } }),
    ];
    rows.map(|row| format!("{row}\n")).concat()
}

/// Imports a file into a collection of its own and returns what an export to JSON lines gives.
fn through(place: &Place, file: &str, collection: &str) -> String {
    place.json(&["import", file, "--collection", collection]);
    let out = format!("{collection}.out.jsonl");
    place.json(&["export", &out, "--collection", collection]);
    place.read(&out)
}

#[test]
fn tables_of_other_programs_hold_the_same_rows_as_lines_of_json() {
    let place = Place::new();
    place.write("rows.jsonl", lines());
    let expected = through(&place, "rows.jsonl", "lines");
    assert_eq!(expected.lines().count(), 5);
    for name in ["pyarrow", "pages", "halves", "pandas", "polars"] {
        let found = through(&place, table(name).to_str().unwrap(), name);
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn whole_numbers_are_ids_as_they_are_written() {
    let place = Place::new();
    for (name, expected) in [
        ("ids_int64", ["-3", "0", "4611686018427387904"]),
        ("ids_uint64", ["1", "0", "18446744073709551615"]),
        ("ids_int8", ["-3", "0", "2"]),
        ("ids_uint32", ["1", "0", "4294967295"]),
    ] {
        let rows = through(&place, table(name).to_str().unwrap(), name);
        let ids =
            rows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone());
        assert!(ids.eq(expected), "{name}: {rows}");
    }
}

#[test]
fn what_is_exported_is_imported_without_a_changed_bit() {
    let place = Place::new();
    place.write("rows.jsonl", lines());
    let expected = through(&place, "rows.jsonl", "lines");
    place.json(&["export", "out.parquet", "--collection", "lines"]);
    assert!(!place.path().join("out.parquet.part").exists());
    assert_eq!(through(&place, "out.parquet", "table"), expected);
    place.json(&["export", "again.parquet", "--collection", "table"]);
    let read = |name: &str| fs::read(place.path().join(name)).unwrap();
    assert_eq!(read("out.parquet"), read("again.parquet"));
    // A vector to search with comes from a table too.
    let ran = place.run(&["search", "--vector", "out.parquet", "--collection", "lines"]);
    ran.expect_error(1, &["several rows"]);
}

#[test]
fn tables_of_many_row_groups_and_pages_come_back_whole() {
    const WIDTH: usize = 1500;
    let place = Place::new();
    // More bytes than a row group has, and texts that differ in length by a thousand times.
    let row = |row: usize| {
        let vector: Vec<f32> =
            (0..WIDTH).map(|at| ((row * 7 + at * 3) % 101) as f32 - 50.5).collect();
        let text = "word ".repeat(if row.is_multiple_of(97) { 20_000 } else { row % 20 });
        format!("{}\n", json!({ "id": row.to_string(), "vector": vector, "text": text }))
    };
    place.write("rows.jsonl", (0..6_500).map(row).collect::<String>());
    let expected = through(&place, "rows.jsonl", "lines");
    place.json(&["export", "out.parquet", "--collection", "lines"]);
    assert!(through(&place, "out.parquet", "table") == expected);
}

#[test]
fn a_wrong_table_adds_nothing_and_names_the_row_or_the_column() {
    let place = Place::new();
    let cases: [(&str, &[&str]); 24] = [
        ("id_null", &["row 1", "'id' is null"]),
        ("id_empty", &["row 1", "id is empty"]),
        ("id_twice", &["row 2", "\"a\" is taken"]),
        ("id_float", &["column 'id'", "a text or a whole number", "DOUBLE"]),
        ("id_time", &["column 'id'", "a text or a whole number", "Timestamp"]),
        ("id_bytes", &["row 1", "'id' is not UTF-8"]),
        ("width", &["row 1", "1 values", "2"]),
        ("vector_null", &["row 1", "vector is null"]),
        ("vector_empty", &["row 1", "vector is empty"]),
        ("number_null", &["row 1", "number 1 of its vector is null"]),
        ("number_nan", &["row 1", "\"b\"", "position 1"]),
        ("number_inf", &["row 1", "\"b\"", "position 0"]),
        ("number_large", &["row 1", "\"b\"", "position 0"]),
        ("zeros", &["row 1", "all zeros"]),
        ("ints", &["column 'vector'", "a list of float", "INT32"]),
        ("matrix", &["column 'vector'", "a list of lists"]),
        ("scalar", &["column 'vector'", "a list of float", "is FLOAT"]),
        ("column", &["column 'colour'", "known are"]),
        ("meta_list", &["row 1", "'meta' is an array"]),
        ("meta_text", &["row 1", "'meta' is not JSON"]),
        ("meta_struct", &["column 'meta'", "JSON object", "a group"]),
        ("no_rows", &["no rows"]),
        ("no_id", &["no column 'id'"]),
        ("no_vector", &["no column 'vector'"]),
    ];
    for (name, expected) in cases {
        let path = table(&format!("bad_{name}"));
        let ran = place.run(&["import", path.to_str().unwrap()]);
        ran.expect_error(1, &[&["parquet"], expected].concat());
        assert!(!place.path().join(".gemmule").exists(), "{name} left a database");
    }
    place.write("text.parquet", "not a table at all");
    place.run(&["import", "text.parquet"]).expect_error(1, &["text.parquet", "Parquet file"]);
    place.write("empty.parquet", "");
    place.run(&["import", "empty.parquet"]).expect_error(1, &["empty.parquet", "Parquet file"]);
}

/// The library panics over some damage; that ends as an error too, and nothing of it is printed.
#[test]
fn a_table_cut_short_or_changed_is_an_error_of_one_line_or_rows() {
    let place = Place::new();
    let whole = fs::read(table("pages")).unwrap();
    // Pages that need a dictionary, after which there is none; a column that begins before the file does.
    let mut damaged: Vec<Vec<u8>> =
        (0..whole.len()).step_by(97).map(|end| whole[..end].to_vec()).collect();
    damaged.extend((0..whole.len()).step_by(61).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x5b;
        bytes
    }));
    for (number, bytes) in damaged.iter().enumerate() {
        place.write("damaged.parquet", bytes);
        let collection = format!("c{number}");
        let ran = place.run(&["import", "damaged.parquet", "--collection", &collection]);
        match ran.code {
            Some(0) => {}
            _ => ran.expect_error(1, &["damaged.parquet"]),
        }
    }
}
