//! `gemmule bench`: the figures that it prints hang together.

use std::fs;

use serde_json::Value;

use super::Place;

fn number(answer: &Value, key: &str) -> f64 {
    answer[key].as_f64().unwrap_or_else(|| panic!("no {key} in {answer}"))
}

#[test]
fn bench_embed_measures_speed_memory_and_truth() {
    let place = Place::new();
    let flags = ["--batch", "2", "--tokens", "16", "--precision", "int8", "--threads", "1"];
    let answer = place.json(&[&["bench", "embed"], &flags[..]].concat());
    assert_eq!((&answer["precision"], &answer["threads"]), (&"int8".into(), &1.into()), "{answer}");
    let [tokens_per_s, millis, peak, cosine] =
        ["tokens_per_s", "millis_median", "peak_rss_bytes", "cosine_to_f32"]
            .map(|key| number(&answer, key));
    // 32 tokens in the median time.
    assert!((tokens_per_s * millis / 1e3 - 32.0).abs() < 1e-6, "{answer}");
    assert!(peak > 1e6 && peak < 1e10, "{answer}");
    assert!(cosine > 0.98 && cosine < 1.0, "{answer}");
    let ran = place.run(&["bench", "embed", "--batch", "0"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

#[test]
fn bench_train_measures_speed_memory_and_truth() {
    let place = Place::new();
    let flags = ["--batch", "2", "--tokens", "16", "--threads", "1"];
    let answer = place.json(&[&["bench", "train"], &flags[..]].concat());
    assert_eq!((&answer["precision"], &answer["threads"]), (&"bf16".into(), &1.into()), "{answer}");
    let [tokens_per_s, millis, peak, cosine] =
        ["tokens_per_s", "millis_median", "peak_rss_bytes", "gradient_cosine_to_f32"]
            .map(|key| number(&answer, key));
    // 32 tokens in the median time.
    assert!((tokens_per_s * millis / 1e3 - 32.0).abs() < 1e-6, "{answer}");
    assert!(peak > 1e6 && peak < 1e10, "{answer}");
    assert!(cosine > 0.99 && cosine < 1.0, "{answer}");
    let ran = place.run(&["bench", "train", "--precision", "int8"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let ran = place.run(&["bench", "train", "--tokens", "100000"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
}

#[test]
fn bench_search_measures_recall_speed_and_size() {
    let place = Place::new();
    let texts: String = (0..300).map(|i| format!("text {i} of {}\n", i * 7 % 13)).collect();
    for (task, name) in [("document", "base.npy"), ("query", "queries.npy")] {
        let args = ["embed", "--task", task, "--format", "npy", "-o", name];
        let ran = place.run_with_input(&args, texts.as_bytes());
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    let args = ["bench", "search", "--base", "base.npy", "--queries", "queries.npy"];
    let more = ["--dims", "128", "--ef", "1,300", "--rows", "200", "--threads", "1"];
    let answer = place.json(&[&args[..], &more].concat());
    assert_eq!((number(&answer, "rows"), number(&answer, "dims")), (200.0, 128.0), "{answer}");
    let sizes = &answer["bytes_per_row"];
    let full = number(sizes, "full");
    assert_eq!(full, 2.0 * number(&answer, "full"), "{answer}");
    let parts: f64 = ["codes", "graph", "ids", "full"].map(|part| number(sizes, part)).iter().sum();
    assert!(number(sizes, "codes") <= 132.0 && number(sizes, "disk") > parts, "{answer}");
    let points = answer["points"].as_array().expect("points is an array");
    assert_eq!(points.iter().map(|point| number(point, "ef")).collect::<Vec<_>>(), [1.0, 300.0]);
    let both = [&args[..], &more, &["--quant", "int8,binary"]].concat();
    let lines = place.run(&[&["--json"], &both[..]].concat());
    let lines: Vec<Value> = lines
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let bytes_of_codes = |line: &Value| number(&line["bytes_per_row"], "codes");
    assert_eq!((&lines[0]["quant"], &lines[1]["quant"]), (&"int8".into(), &"binary".into()));
    // 128 bits and a word for each node, and one mean of 128 numbers.
    assert!(bytes_of_codes(&lines[1]) <= 24.0 + 4.0 * 128.0 / 200.0, "{lines:?}");
    assert!(bytes_of_codes(&lines[0]) > 4.0 * bytes_of_codes(&lines[1]), "{lines:?}");
    assert_eq!(number(&lines[1]["points"][1], "recall10"), 1.0, "{lines:?}");
    let narrow = [&args[..], &["--dims", "32", "--quant", "binary"]].concat();
    place.run(&narrow).expect_error(1, &["32 numbers are too few for binary codes"]);
    // A walk that keeps more than there are rows misses none.
    assert_eq!(number(&points[1], "recall10"), 1.0, "{answer}");
    for point in points {
        assert!(number(point, "p50_ms") <= number(point, "p99_ms"), "{answer}");
        assert!(number(point, "qps") * number(point, "p50_ms") < 3e3, "{answer}");
    }
}

#[test]
fn bench_search_names_the_file_and_what_is_wrong_with_it() {
    let place = Place::new();
    let header = |descr: &str, order: &str, shape: &str| {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes()].concat()
    };
    place.write("good.npy", [header("<f4", "False", "(1, 2)"), vec![0; 8]].concat());
    place.write("wide.npy", [header("<f2", "False", "(1, 3)"), vec![0; 6]].concat());
    let bad = [
        ("text.npy", b"not a matrix".to_vec(), "does not begin"),
        ("short.npy", b"\x93NUM".to_vec(), "too short"),
        ("cut.npy", header("<f4", "False", "(2, 2)"), "row 0 is not whole"),
        ("ints.npy", header("<i8", "False", "(2, 2)"), "<i8"),
        ("fortran.npy", header("<f4", "True", "(2, 2)"), "Fortran"),
        ("axes.npy", header("<f4", "False", "(2,)"), "1 axes"),
        ("shape.npy", header("<f4", "False", "(-1, 2)"), "whole numbers"),
        ("absurd.npy", header("<f4", "False", "(1, 99999999999)"), "no such width"),
        ("version.npy", b"\x93NUMPY\x09\x00\x00\x00".to_vec(), "version 9"),
        ("empty.npy", header("<f4", "False", "(0, 2)"), "no rows"),
        ("wide.npy", fs::read(place.path().join("wide.npy")).unwrap(), "3 numbers"),
    ];
    for (name, bytes, problem) in bad {
        place.write(name, bytes);
        let ran = place.run(&["bench", "search", "--base", "good.npy", "--queries", name]);
        ran.expect_error(1, &[problem]);
        let ran = place.run(&["bench", "search", "--base", name, "--queries", "good.npy"]);
        ran.expect_error(1, &[]);
    }
    let ran = place.run(&["bench", "search", "--base", "gone.npy", "--queries", "good.npy"]);
    ran.expect_error(1, &["gone.npy"]);
}
