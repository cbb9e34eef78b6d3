//! `gemmule import`, `export` and `search --vector`: vectors in and out, and files that are damaged.

use serde_json::{Value, json};

use super::Place;

const WIDTH: usize = 6;

/// Vectors in many directions and of many lengths, and their ids; row 3 is the zebra.
fn rows() -> Vec<(String, Vec<f32>)> {
    let number = |row: usize, at: usize| ((row * 37 + at * 101 + row * at * 13) % 97) as f32 - 48.0;
    let length = |row: usize| 10f32.powi(row as i32 % 7 - 3);
    let row = |row: usize| (0..WIDTH).map(|at| (number(row, at) + 0.5) * length(row)).collect();
    let id = |row: usize| if row == 3 { "the zebra".to_owned() } else { format!("item/{row}") };
    (0..300).map(|idx| (id(idx), row(idx))).collect()
}

fn npy(rows: &[Vec<f32>]) -> Vec<u8> {
    let width = rows.first().map_or(1, Vec::len);
    let header = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {width}), }}\n",
        rows.len()
    );
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(rows.iter().flatten().flat_map(|x| x.to_le_bytes()));
    bytes
}

fn fvecs(rows: &[Vec<f32>]) -> Vec<u8> {
    let row = |row: &Vec<f32>| {
        let numbers = row.iter().flat_map(|x| x.to_le_bytes());
        (row.len() as i32).to_le_bytes().into_iter().chain(numbers).collect::<Vec<u8>>()
    };
    rows.iter().flat_map(row).collect()
}

/// A folder with the same rows in every format.
fn with_rows() -> Place {
    let place = Place::new();
    let (ids, rows): (Vec<String>, Vec<Vec<f32>>) = rows().into_iter().unzip();
    for (name, bytes) in [("rows.npy", npy(&rows)), ("rows.fvecs", fvecs(&rows))] {
        place.write(name, bytes);
        place.write(&format!("{name}.ids"), ids.join("\n"));
    }
    let lines = ids.iter().zip(&rows).map(|(id, row)| {
        let meta = json!({ "first": row[0] > 0.0 });
        let object =
            json!({ "id": id, "vector": row, "text": format!("about {id}"), "meta": meta });
        format!("{object}\n")
    });
    place.write("rows.jsonl", lines.collect::<String>());
    place
}

/// The hits of a vector, compared with every row.
fn ask(place: &Place, collection: &str, vector: &[f32]) -> Value {
    place.write("query.json", json!(vector).to_string());
    let args = ["search", "--vector", "query.json", "--collection", collection, "--exact"];
    place.json(&args)["hits"].clone()
}

/// The ids and scores of the ten closest rows, in f64.
fn closest(metric: &str, query: &[f32]) -> Vec<(String, f64)> {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let score = |row: &[f32]| match metric {
        "dot" => dot(row, query),
        "l2" => {
            let squares =
                row.iter().zip(query).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
            -squares.sum::<f64>().sqrt()
        }
        _ => dot(row, query) / (dot(row, row) * dot(query, query)).sqrt(),
    };
    let mut all: Vec<_> = rows().into_iter().map(|(id, row)| (id, score(&row))).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.truncate(10);
    all
}

#[test]
fn rows_of_every_format_are_found_by_their_metric() {
    let place = with_rows();
    for (format, metric) in [("npy", "cosine"), ("fvecs", "dot"), ("jsonl", "l2")] {
        let file = format!("rows.{format}");
        let args = ["import", &file, "--collection", format, "--metric", metric];
        let told = place.json(&args);
        assert_eq!((&told["rows"], &told["width"]), (&300.into(), &WIDTH.into()));
        for query in [rows()[3].1.clone(), vec![1e-6, 2e-6, 0.0, 0.0, -1e-6, 0.0]] {
            let hits = ask(&place, format, &query);
            let expected = closest(metric, &query);
            assert_eq!(hits.as_array().unwrap().len(), 10);
            for (hit, (id, expected)) in hits.as_array().unwrap().iter().zip(expected) {
                let score = hit["score"].as_f64().unwrap();
                let error = (score - expected).abs();
                assert!(error <= 1e-6 * expected.abs(), "{hit}, expected {id} at {expected}");
            }
        }
        if metric != "dot" {
            let best = &ask(&place, format, &rows()[3].1)[0];
            assert_eq!(best["id"], "the zebra#0", "{best}");
        }
        // Into every format and back: not a bit differs from what was given.
        for out in ["out.npy", "out.fvecs", "out.jsonl"] {
            place.json(&["export", out, "--collection", format]);
        }
        let read = |name: &str| std::fs::read(place.path().join(name)).unwrap();
        let (_, given): (Vec<String>, Vec<Vec<f32>>) = rows().into_iter().unzip();
        let numbers = |npy: Vec<u8>| npy[npy.len() - 4 * 300 * WIDTH..].to_vec();
        assert_eq!(numbers(read("out.npy")), numbers(npy(&given)));
        assert_eq!(read("out.fvecs"), fvecs(&given));
        let lines = String::from_utf8(read("out.jsonl")).unwrap();
        for (line, row) in lines.lines().zip(&given) {
            let line: Value = serde_json::from_str(line).unwrap();
            let vector: Vec<f32> = serde_json::from_value(line["vector"].clone()).unwrap();
            assert!(vector.iter().zip(row).all(|(a, b)| a.to_bits() == b.to_bits()), "{line}");
        }
    }
}

#[test]
fn a_collection_keeps_its_metric_and_shows_it() {
    let place = with_rows();
    place.json(&["import", "rows.npy", "--metric", "l2"]);
    let ran = place.run(&["import", "rows.npy", "--metric", "dot"]);
    ran.expect_error(1, &["compared by l2", "compared by dot"]);
    place.json(&["import", "rows.npy", "--metric", "l2"]);
    assert_eq!(place.json(&["status"])["collections"][0]["metric"], "l2");
    assert!(place.run(&["status"]).stdout.contains("compared by l2"));
    place.write("far.jsonl", "{\"id\":\"a\",\"vector\":[1e38,0,0,0,0,0]}\n");
    let ran = place.run(&["import", "far.jsonl", "--metric", "l2"]);
    ran.expect_error(1, &["line 1", "1e37", "scale"]);
}

#[test]
fn what_is_exported_gives_the_same_answers() {
    let place = with_rows();
    place.json(&["import", "rows.jsonl", "--collection", "first"]);
    let queries: Vec<Vec<f32>> = (0..8).map(|i| rows()[i * 31].1.clone()).collect();
    let before: Vec<Value> = queries.iter().map(|query| ask(&place, "first", query)).collect();
    for format in ["npy", "fvecs", "jsonl", "parquet"] {
        let file = format!("out.{format}");
        let told = place.json(&["export", &file, "--collection", "first"]);
        assert_eq!((&told["rows"], &told["width"]), (&300.into(), &WIDTH.into()));
        place.json(&["import", &file, "--collection", format]);
        for (query, before) in queries.iter().zip(&before) {
            let after = ask(&place, format, query);
            for (before, after) in before.as_array().unwrap().iter().zip(after.as_array().unwrap())
            {
                let same = ["id", "score"].map(|name| (&before[name], &after[name]));
                assert!(same.iter().all(|(before, after)| before == after), "{before}, {after}");
            }
        }
        // Once more out: not a bit differs.
        let again = format!("again.{format}");
        place.json(&["export", &again, "--collection", format]);
        let read = |name: &str| std::fs::read(place.path().join(name)).unwrap();
        assert_eq!(read(&file), read(&again));
        if ["npy", "fvecs"].contains(&format) {
            let ids = [read("rows.npy.ids"), b"\n".to_vec()].concat();
            assert_eq!(read(&format!("{file}.ids")), ids);
        }
        assert!(!place.path().join(format!("{file}.part")).exists());
    }
    // Texts and metadata came along.
    let args = ["search", "zebra", "--mode", "text", "--collection", "jsonl"];
    assert_eq!(place.json(&args)["hits"][0]["text"], "about the zebra");
    let listed = place.run(&["list", "--filter", "first = true", "--collection", "jsonl"]);
    assert!((1..300).contains(&listed.stdout.lines().count()), "{listed:?}");
}

#[test]
fn vectors_of_a_model_can_be_taken_elsewhere() {
    let place = Place::with_documents();
    place.json(&["index", "docs"]);
    let embedded = place.run_with_input(&["embed", "--task", "query"], b"erupting mountain\n");
    place.write("query.json", &embedded.stdout);
    let by_vector = ["search", "--vector", "query.json", "--mode", "vector"];
    let before = place.json(&by_vector);
    let by_text = place.json(&["search", "erupting mountain", "--mode", "vector"]);
    assert_eq!(before["hits"], by_text["hits"]);
    place.json(&["export", "docs.jsonl"]);
    place.json(&["import", "docs.jsonl", "--collection", "copy"]);
    let after = place.json(&[&by_vector[..], &["--collection", "copy"]].concat());
    assert!(before["hits"][0]["text"].as_str().unwrap().contains("Lava"), "{before}");
    for (before, after) in
        before["hits"].as_array().unwrap().iter().zip(after["hits"].as_array().unwrap())
    {
        // A cosine now: rows of a model are of unit length but for rounding.
        let scores = [before, after].map(|hit| hit["score"].as_f64().unwrap());
        assert!((scores[0] - scores[1]).abs() < 1e-3, "{before}, {after}");
        assert_eq!(before["text"], after["text"]);
    }
    // Words beside the vector: both count.
    let both = place.json(&["search", "laser printer", "--vector", "query.json"]);
    assert!(both["hits"].as_array().unwrap().len() > 1, "{both}");
}

#[test]
fn a_vector_comes_on_standard_input() {
    let place = with_rows();
    place.json(&["import", "rows.npy"]);
    let query = json!(rows()[3].1).to_string();
    let ran = place.run_with_input(&["search", "--vector", "-", "-k", "1"], query.as_bytes());
    assert!(ran.stdout.contains("the zebra"), "{ran:?}");
    let ran = place.run_with_input(&["search", "--vector", "-"], b"[1, 2");
    ran.expect_error(1, &["standard input", "JSON array"]);
    let several = place.run(&["search", "--vector", "rows.npy"]);
    several.expect_error(1, &["rows.npy has several rows"]);
}

#[test]
fn a_collection_without_a_model_says_so() {
    let place = with_rows();
    place.json(&["import", "rows.npy"]);
    place.run(&["search", "who is striped?"]).expect_error(1, &["default", "ask with a vector"]);
    place.write("docs/a.txt", "A text.");
    place.run(&["index", "docs"]).expect_error(1, &["no model"]);
    place.run(&["index", "docs", "--model", "nano"]).expect_error(1, &["no model", "nano"]);
    place.run(&["search", "--vector", "rows.npy", "--mode", "text"]).expect_error(2, &["--mode"]);
    let status = place.json(&["status"]);
    assert_eq!(status["collections"][0]["model"], "none");
    assert!(status["collections"][0]["fingerprint"].is_null());
    assert!(place.run(&["status"]).stdout.contains("vectors were given"));
    let ran = place.run(&["import", "rows.npy", "--metric", "cosign", "--collection", "other"]);
    assert!(ran.code == Some(2) && ran.stderr.contains("cosine"), "{ran:?}");
    // Another width, and a collection of a model.
    place.write("wide.fvecs", fvecs(&[vec![1.0; 7]]));
    place.run(&["import", "wide.fvecs"]).expect_error(1, &["width 6", "width 7"]);
    place.json(&["index", "docs", "--collection", "texts"]);
    place.run(&["import", "rows.npy", "--collection", "texts"]).expect_error(1, &["texts", "nano"]);
    place.write("query.json", "[1, 0]");
    place.run(&["search", "--vector", "query.json"]).expect_error(1, &["2 values", "6"]);
    place.write("query.json", "[0, 0, 0, 0, 0, 0]");
    place.run(&["search", "--vector", "query.json"]).expect_error(1, &["query", "all zeros"]);
}

#[test]
fn a_damaged_file_adds_nothing_and_names_the_row() {
    let place = Place::new();
    let good = vec![vec![1.0, 2.0], vec![3.0, 4.0], vec![5.0, 6.0]];
    let with = |row: Vec<f32>| [good[0].clone(), row, good[2].clone()];
    let (whole_npy, whole_fvecs) = (npy(&good), fvecs(&good));
    let mut order = whole_npy.clone();
    let at = order.windows(5).position(|part| part == b"False").unwrap();
    order.splice(at..at + 5, *b"True ");
    let mut ints = whole_npy.clone();
    let at = ints.windows(3).position(|part| part == b"<f4").unwrap();
    ints.splice(at..at + 3, *b"<i4");
    let negative = [&whole_fvecs[..12], &(-2i32).to_le_bytes()[..]].concat();
    let huge = [&whole_fvecs[..12], &i32::MAX.to_le_bytes()[..], &[0; 8]].concat();
    let json =
        |second: &str| format!("{{\"id\": \"a\", \"vector\": [1, 2]}}\n{second}\n").into_bytes();
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("x.npy", whole_npy[..whole_npy.len() - 1].to_vec(), &["3 rows", "row 2 is not whole"]),
        ("x.npy", whole_npy[..40].to_vec(), &["header is cut short"]),
        ("x.npy", [&whole_npy[..], &[0]].concat(), &["3 rows", "more bytes follow"]),
        ("x.npy", order, &["Fortran"]),
        ("x.npy", ints, &["<i4"]),
        ("x.npy", b"PK\x03\x04 something".to_vec(), &["does not begin as an npy file"]),
        ("x.npy", npy(&[]), &["no rows"]),
        ("x.npy", npy(&with(vec![f32::NAN, 1.0])), &["row 1", "\"1\"", "position 0"]),
        ("x.npy", npy(&with(vec![1.0, f32::INFINITY])), &["row 1", "position 1"]),
        ("x.npy", npy(&with(vec![0.0, -0.0])), &["row 1", "all zeros"]),
        ("x.fvecs", whole_fvecs[..whole_fvecs.len() - 3].to_vec(), &["row 2", "not whole"]),
        ("x.fvecs", whole_fvecs[..26].to_vec(), &["row 2 is not whole", "width"]),
        ("x.fvecs", fvecs(&with(vec![1.0; 3])), &["row 1", "3 values", "2"]),
        ("x.fvecs", negative, &["row 1 should have -2 numbers"]),
        ("x.fvecs", huge, &["row 1 should have 2147483647 numbers"]),
        ("x.fvecs", fvecs(&with(vec![f32::NEG_INFINITY, 0.0])), &["row 1", "position 0"]),
        ("x.fvecs", Vec::new(), &["no rows"]),
        ("x.jsonl", json("{\"id\": \"b\", \"vector\": [1, 2"), &["line 2", "whole JSON"]),
        ("x.jsonl", json("{\"id\": \"b\", \"vector\": [1]}"), &["line 2", "1 values"]),
        (
            "x.jsonl",
            json("{\"id\": \"b\", \"vector\": [1, null]}"),
            &["line 2", "number 1", "null"],
        ),
        ("x.jsonl", json("{\"id\": \"b\", \"vector\": [1, 1e99]}"), &["line 2", "position 1"]),
        ("x.jsonl", json("{\"id\": \"b\", \"vector\": [0, 0]}"), &["line 2", "all zeros"]),
        ("x.jsonl", json("{\"id\": \"a\", \"vector\": [1, 1]}"), &["line 2", "\"a\" is taken"]),
        ("x.jsonl", json("{\"vector\": [1, 1]}"), &["line 2", "no 'id'"]),
        (
            "x.jsonl",
            json(&format!("{{\"id\": \"{}\", \"vector\": [1, 1]}}", "b".repeat(5_000))),
            &["line 2", "id has 5000 bytes, 4096"],
        ),
        (
            "x.jsonl",
            json(&format!(
                "{{\"id\": \"b\", \"vector\": [1, 1], \"meta\": {{\"a\": {}1{}}}}}",
                "[".repeat(70),
                "]".repeat(70)
            )),
            &["line 2", "nested more than 64 deep"],
        ),
        ("x.jsonl", json("{\"id\": \"b\"}"), &["line 2", "no 'vector'"]),
        ("x.jsonl", json("{\"id\": \"b\", \"vector\": \"x\"}"), &["line 2", "'vector'", "a text"]),
        ("x.jsonl", json("{\"id\": \"b\", \"vector\": [1, 1], \"txt\": 1}"), &["line 2", "'txt'"]),
        ("x.jsonl", json("[1, 2]"), &["line 2"]),
        ("x.jsonl", json("\u{0}\u{1}"), &["line 2"]),
        ("x.jsonl", Vec::new(), &["no rows"]),
    ];
    for (name, bytes, expected) in cases {
        place.write(name, &bytes);
        let ran = place.run(&["import", name]);
        ran.expect_error(1, &[&[name], expected].concat());
        assert!(!place.path().join(".gemmule").exists(), "{name}: {expected:?} left a database");
    }
    place.run(&["import", "x.csv"]).expect_error(2, &["x.csv", ".jsonl, .parquet, .npy or .fvecs"]);
    place.run(&["import", "missing.npy"]).expect_error(1, &["missing.npy"]);
    // Ids that do not fit the rows.
    place.write("x.npy", &whole_npy);
    for (ids, expected) in [
        ("a\nb\n", &["x.npy.ids", "no id for row 2"][..]),
        ("a\nb\nc\nd\n", &["x.npy.ids", "more ids"]),
        ("a\n\nc\n", &["x.npy.ids", "line 2", "empty"]),
        ("a\nb\na\n", &["row 2", "\"a\" is taken"]),
    ] {
        place.write("x.npy.ids", ids);
        place.run(&["import", "x.npy"]).expect_error(1, expected);
    }
    assert!(!place.path().join(".gemmule").exists());
}
