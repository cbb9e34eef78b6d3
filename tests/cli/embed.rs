//! `gemmule embed`: lines in, vectors out.

use std::fs;

use super::Place;

const TEXTS: &str = "who frees this memory?\n\nPeel the apples.\nno newline at the end";

fn rows(stdout: &str) -> Vec<Vec<f32>> {
    stdout.lines().map(|line| serde_json::from_str(line).expect("an array of numbers")).collect()
}

fn norm(row: &[f32]) -> f64 {
    row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

/// Rows of an npy file of float32, read by the book.
fn read_npy(bytes: &[u8]) -> (usize, usize, Vec<f32>) {
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let header_bytes = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!((10 + header_bytes) % 64, 0, "the data is aligned");
    let header = std::str::from_utf8(&bytes[10..10 + header_bytes]).unwrap();
    assert!(header.contains("'descr': '<f4'") && header.contains("'fortran_order': False"));
    assert!(header.ends_with('\n'), "{header:?}");
    let shape =
        header.split_once("'shape': (").and_then(|(_, rest)| rest.split_once(')')).unwrap().0;
    let mut sides = shape.split(',').map(|side| side.trim().parse::<usize>().unwrap());
    let (n_rows, dims) = (sides.next().unwrap(), sides.next().unwrap());
    let data = &bytes[10 + header_bytes..];
    assert_eq!(data.len(), n_rows * dims * 4);
    let numbers = data.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()));
    (n_rows, dims, numbers.collect())
}

#[test]
fn every_line_is_a_unit_vector_and_an_empty_line_is_a_text() {
    let place = Place::new();
    let ran = place.run_with_input(&["embed"], TEXTS.as_bytes());
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{ran:?}");
    let rows = rows(&ran.stdout);
    assert_eq!(rows.len(), 4);
    for row in &rows {
        assert!((norm(row) - 1.0).abs() < 1e-4, "norm {}", norm(row));
        assert_eq!(row.len(), rows[0].len());
    }
    assert_ne!(rows[0], rows[1]);
    assert!(!place.path().join(".gemmule").exists(), "no database is made");
}

#[test]
fn npy_holds_the_same_numbers_as_json() {
    let place = Place::new();
    let expected: Vec<f32> =
        rows(&place.run_with_input(&["embed"], TEXTS.as_bytes()).stdout).concat();
    let piped = place.output_with_input(&["embed", "--format", "npy"], TEXTS.as_bytes());
    let (n_rows, dims, numbers) = read_npy(&piped.stdout);
    assert_eq!((n_rows, n_rows * dims), (4, expected.len()));
    assert_eq!(numbers, expected);

    let args = ["embed", "--format", "npy", "-o", "rows.npy"];
    let ran = place.run_with_input(&args, TEXTS.as_bytes());
    assert_eq!((ran.code, &*ran.stdout), (Some(0), ""), "{ran:?}");
    assert_eq!(fs::read(place.path().join("rows.npy")).unwrap(), piped.stdout);

    let none = place.output_with_input(&["embed", "--format", "npy"], b"");
    assert_eq!(read_npy(&none.stdout), (0, dims, Vec::new()));
}

#[test]
fn a_narrow_vector_is_the_start_of_the_wide_one_at_unit_length() {
    let place = Place::new();
    let wide = rows(&place.run_with_input(&["embed"], TEXTS.as_bytes()).stdout);
    let narrow = rows(&place.run_with_input(&["embed", "--dims", "64"], TEXTS.as_bytes()).stdout);
    for (wide, narrow) in wide.iter().zip(&narrow) {
        assert_eq!(narrow.len(), 64);
        let length = norm(&wide[..64]);
        for (wide, narrow) in wide.iter().zip(narrow) {
            assert!((f64::from(*wide) / length - f64::from(*narrow)).abs() < 1e-6);
        }
    }
    let ran = place.run_with_input(&["embed", "--dims", "65"], b"text\n");
    ran.expect_error(1, &["65", "64"]);
}

#[test]
fn task_and_title_change_the_vector() {
    let place = Place::new();
    let first = |args: &[&str]| {
        let ran = place.run_with_input(args, b"borrow and own\n");
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stdout
    };
    let ways = [
        first(&["embed", "--task", "query"]),
        first(&["embed", "--task", "none"]),
        first(&["embed"]),
        first(&["embed", "--title", "Rust"]),
    ];
    for (idx, way) in ways.iter().enumerate() {
        assert!(!ways[..idx].contains(way), "way {idx} equals an earlier one");
    }
    assert_eq!(ways[2], first(&["embed", "--task", "document"]));
    let args = ["embed", "--task", "query", "--title", "Rust"];
    place.run_with_input(&args, b"text\n").expect_error(2, &["--title", "document"]);
    place.run_with_input(&["embed", "--task", "nothing"], b"text\n").expect_error(1, &["nothing"]);
}

#[test]
fn a_text_beyond_the_window_is_an_error_unless_truncated() {
    let place = Place::new();
    let input = format!("short\n{}\n", "word ".repeat(6000));
    let ran = place.run_with_input(&["embed"], input.as_bytes());
    ran.expect_error(1, &["line 2", "tokens", "window"]);
    let ran = place.run_with_input(&["embed", "--truncate"], input.as_bytes());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(rows(&ran.stdout).len(), 2);
    assert!(ran.stderr.contains("1 text cut"), "{}", ran.stderr);
}

#[test]
fn bytes_that_are_no_text_are_refused_by_line() {
    let place = Place::new();
    let ran = place.run_with_input(&["embed"], b"fine\n\xff\xfe\n");
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("line 2") && ran.stderr.contains("UTF-8"), "{ran:?}");
}

#[test]
fn numbers_have_as_few_digits_as_bring_them_back() {
    let place = Place::new();
    let ran = place.run_with_input(&["embed"], b"text\n");
    let digits = |number: &str| {
        let mantissa = number.split('e').next().unwrap_or_default();
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        digits.trim_matches('0').to_owned()
    };
    for number in ran.stdout.trim().trim_matches(['[', ']']).split(',') {
        let value: f32 = number.parse().expect("a number");
        // Rust's own printing is the shortest.
        assert_eq!(digits(number), digits(&format!("{value:e}")), "{number}");
    }
}

#[test]
fn each_precision_is_near_f32_and_the_default_is_one_of_them() {
    let place = Place::new();
    let of = |args: &[&str]| rows(&place.run_with_input(args, TEXTS.as_bytes()).stdout);
    let exact = of(&["embed", "--precision", "f32"]);
    let found = ["bf16", "int8", "int4"].map(|name| of(&["embed", "--precision", name]));
    for (found, bound) in found.iter().zip([0.9995, 0.995, 0.97]) {
        assert_eq!(found.len(), exact.len());
        assert_ne!(*found, exact, "nothing is rounded");
        for (found, exact) in found.iter().zip(&exact) {
            let cosine: f32 = found.iter().zip(exact).map(|(a, b)| a * b).sum();
            assert!(cosine >= bound, "{cosine} is below {bound}");
        }
    }
    let default = of(&["embed"]);
    assert!(default == exact || found.contains(&default));
    let ran = place.run_with_input(&["embed", "--precision", "f64"], b"text\n");
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("f64") && ran.stderr.contains("int8"), "{ran:?}");
}

#[test]
fn little_memory_gives_the_same_vectors() {
    let place = Place::new();
    let input = format!("{TEXTS}\n{}\n{}\n", "a longer text ".repeat(40), "lava ".repeat(300));
    let of = |args: &[&str]| {
        let ran = place.run_with_input(args, input.as_bytes());
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{ran:?}");
        rows(&ran.stdout)
    };
    let expected = of(&["embed", "--precision", "f32"]);
    assert_eq!(expected.len(), 6);
    for size in ["1", "64K", "200M", "2g"] {
        let found = of(&["embed", "--precision", "f32", "--memory", size]);
        for (found, expected) in found.iter().zip(&expected) {
            let square: f32 = found.iter().zip(expected).map(|(a, b)| (a - b).powi(2)).sum();
            assert!(square.sqrt() < 1e-5, "{size}: {:e}", square.sqrt());
        }
        assert_eq!(found.len(), expected.len());
    }
    for bad in ["0", "", "-1", "1.5G", "much", "0K", "99999999999G", "5T", "M"] {
        let ran = place.run_with_input(&["embed", &format!("--memory={bad}")], b"text\n");
        assert_eq!((ran.code, &*ran.stdout), (Some(2), ""), "{bad}: {ran:?}");
        assert!(ran.stderr.contains("--memory"), "{bad}: {ran:?}");
    }
}
