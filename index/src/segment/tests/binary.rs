//! Segments with binary codes: what int8 ones promise holds for them too, and what is their own.

use super::*;
use crate::BINARY_DIMS_MIN;
use crate::mrl::Quant;

const WIDE: Shape = Shape { full: 72, dims: 72 };

fn binary(shape: Shape, n_rows: usize) -> Vec<u8> {
    let builder = builder(shape, n_rows).quant(Quant::Binary);
    builder.build(&|| false).unwrap().to_vec()
}

/// A numbered row of unit length, its later numbers smaller, as in a Matryoshka vector; no two are equal.
fn distinct_row(number: u64, full: usize) -> Vec<f16> {
    let x = |i: u64| ((number * (2 * i + 3) * 7_919) % 10_007) as f32 / 5_003.5 - 0.8;
    let x: Vec<f32> = (0..full as u64).map(|i| x(i) / (1 + i / 8) as f32).collect();
    crate::mrl::cut(&x, full).into_iter().map(f16::from_f32).collect()
}

/// A query between two of these rows, nearer to the first.
fn between(number: u64, other: u64) -> Query {
    let rows = [number, other].map(|number| distinct_row(number, WIDE.full));
    let mixed = rows[0].iter().zip(&rows[1]).map(|(a, b)| 0.7 * a.to_f32() + 0.3 * b.to_f32());
    Query::new(&mixed.collect::<Vec<f32>>(), WIDE.dims)
}

fn of_distinct(rows: std::ops::Range<u64>, quant: Quant) -> Segment {
    let mut builder = SegmentBuilder::new(WIDE, 5).quant(quant);
    rows.for_each(|number| builder.push(number, &distinct_row(number, WIDE.full)));
    open(builder.build(&|| false).unwrap().to_vec()).unwrap()
}

fn offset_of(segment: &Segment, part: Part) -> usize {
    segment.table.iter().find(|entry| entry.part == part).unwrap().offset as usize
}

#[test]
fn what_is_written_is_what_is_read() {
    let mut builder = builder(WIDE, 200).quant(Quant::Binary);
    builder.section(*b"text", b"opaque".to_vec());
    let segment = open(builder.build(&|| false).unwrap().to_vec()).unwrap();
    segment.verify().unwrap();
    assert_eq!((segment.len(), segment.shape(), segment.quant()), (200, WIDE, Quant::Binary));
    assert_eq!(segment.section(*b"text").unwrap(), Some(&b"opaque"[..]));
    assert_eq!(segment.row(RowId(97)), Values::F16(&row(97, WIDE.full)));
    let stats = segment.stats();
    assert_eq!((stats.nodes, stats.duplicate_rows), (97, 103), "equal rows are one node");
    let bytes_of =
        |tag: &[u8; 4]| stats.parts.iter().find(|part| part.part.0 == *tag).unwrap().bytes;
    assert_eq!((bytes_of(b".cod"), bytes_of(b".mea")), (97 * (16 + 8), 4 * 72));
    assert_eq!(open(bytes(WIDE, 5)).unwrap().quant(), Quant::Int8, "unless asked for");
}

#[test]
fn the_graph_is_that_of_int8_codes() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let (int8, binary) = pool.install(|| (bytes(WIDE, 300), binary(WIDE, 300)));
    let (int8, binary) = (open(int8).unwrap(), open(binary).unwrap());
    for part in [NODE_OFFSETS, NODE_ROWS, LIST_OFFSETS, LINKS] {
        assert!(int8.part::<u32>(part) == binary.part::<u32>(part), "{part}");
    }
}

#[test]
fn walks_and_scans_agree_on_a_small_segment() {
    let segment = open(binary(WIDE, 300)).unwrap();
    for number in 0..97 {
        let query = query(WIDE, number);
        let expected = expected(WIDE, 300, &query, 9);
        for how in [Search::Exact, Search::Graph { ef: 97 }, Search::default()] {
            let found = segment.search(&query, 9, how, ALL);
            assert_eq!(ids_and_scores(&segment, &found), expected, "query {number}, {how:?}");
        }
        let odd = RowSet::of(300, |row| row.0 % 2 == 1);
        let exact = segment.search(&query, 9, Search::Exact, Some(&odd));
        let found = segment.search(&query, 9, Search::Graph { ef: 97 }, Some(&odd));
        assert_eq!(found.hits, exact.hits, "query {number}");
    }
}

#[test]
fn a_scan_of_codes_finds_what_the_exact_one_does() {
    let segment = of_distinct(0..2_000, Quant::Binary);
    let among = RowSet::of(2_000, |row| row.0 % 3 == 0);
    let (mut n_found, mut n_true) = (0, 0);
    for number in 0..40 {
        let query = between(number, 1_000 - number);
        let exact = segment.search(&query, 10, Search::Exact, Some(&among)).hits;
        let asked = search::Asked { query: &query, k: 10, among: Some(&among) };
        let found = segment.scan_codes(asked, 100);
        assert_eq!(found.plan, Plan::CodeScan);
        n_found += exact.iter().filter(|hit| found.hits.contains(hit)).count();
        n_true += exact.len();
    }
    assert!(n_found * 100 >= n_true * 97, "{n_found} of {n_true}");
}

#[test]
fn the_curve_of_bits_is_deeper_and_its_target_is_reached() {
    let (int8, binary) = (of_distinct(0..3_000, Quant::Int8), of_distinct(0..3_000, Quant::Binary));
    let depth = |segment: &Segment| segment.header.curve.effort(0.95, 10).depth;
    assert!(depth(&binary) > depth(&int8), "{} and {}", depth(&binary), depth(&int8));
    let (mut n_found, mut n_true) = (0, 0);
    for number in 0..60 {
        let query = between(number, 1_000 - number);
        let exact = binary.search(&query, 10, Search::Exact, ALL).hits;
        let found = binary.search(&query, 10, Search::Recall { target: 0.95 }, ALL).hits;
        n_found += exact.iter().filter(|hit| found.contains(hit)).count();
        n_true += exact.len();
    }
    assert!(n_found * 100 >= n_true * 93, "{n_found} of {n_true}");
}

#[test]
fn segments_of_both_kinds_become_one_of_either() {
    let sources = [of_distinct(0..1_500, Quant::Binary), of_distinct(1_500..2_000, Quant::Int8)];
    for quant in [Quant::Int8, Quant::Binary] {
        let mut builder = SegmentBuilder::new(WIDE, 9).quant(quant);
        let live = RowSet::of(1_500, |row| row.0 % 50 != 7);
        builder.extend(&sources[0], Some(&live)).unwrap();
        builder.extend(&sources[1], None).unwrap();
        let merged = open(builder.build(&|| false).unwrap().to_vec()).unwrap();
        merged.verify().unwrap();
        assert_eq!((merged.len(), merged.quant()), (1_970, quant));
        let anew = {
            let mut builder = SegmentBuilder::new(WIDE, 9).quant(quant);
            for row in (0..merged.len() as u32).map(RowId) {
                builder.push(merged.id(row), merged.row(row));
            }
            open(builder.build(&|| false).unwrap().to_vec()).unwrap()
        };
        assert_eq!(merged.stats().nodes, anew.stats().nodes);
        // The codes of each row are those that it would have had without a merge.
        let scores = |segment: &Segment, query: &Query| {
            let nodes = segment.node_of_row().to_vec();
            let (codes, mut scores) = (segment.codes(), Vec::new());
            codes.scorer(query).score_many(&nodes, &mut scores);
            scores
        };
        let query = between(3, 900);
        let pairs = scores(&merged, &query).into_iter().zip(scores(&anew, &query));
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5));
        let walked = merged.search(&query, 10, Search::Graph { ef: 300 }, ALL);
        let exact = merged.search(&query, 10, Search::Exact, ALL);
        let n_found = exact.hits.iter().filter(|hit| walked.hits.contains(hit)).count();
        assert!(n_found >= 9, "{n_found} of 10");
        assert!(merged.search(&query, 1_970, Search::Graph { ef: 1_970 }, ALL).exact, "reachable");
    }
}

#[test]
fn rows_without_signs_are_found_all_the_same() {
    // All rows are equal, so each is the mean; then all are zeros; then both halves of the rows are.
    let constant = |_: usize| vec![f16::from_f32(0.1); WIDE.full];
    let zero = |_: usize| vec![f16::ZERO; WIDE.full];
    let two =
        |n: usize| vec![f16::from_f32(if n.is_multiple_of(2) { 0.1 } else { -0.1 }); WIDE.full];
    let rows: [&dyn Fn(usize) -> Vec<f16>; 3] = [&constant, &zero, &two];
    for (row, n_nodes) in rows.into_iter().zip([1, 1, 2]) {
        let mut builder = SegmentBuilder::new(WIDE, 11).quant(Quant::Binary);
        (0..500).for_each(|number| builder.push(id_of(number), &row(number)));
        let segment = open(builder.build(&|| false).unwrap().to_vec()).unwrap();
        segment.verify().unwrap();
        assert_eq!(segment.stats().nodes, n_nodes);
        for query in [query(WIDE, 3), Query::new(&[0.0; WIDE.full], WIDE.dims)] {
            let exact = segment.search(&query, 7, Search::Exact, ALL);
            assert_eq!(exact.hits.len(), 7);
            for how in [Search::Graph { ef: 10 }, Search::default()] {
                assert_eq!(segment.search(&query, 7, how, ALL).hits, exact.hits);
            }
        }
    }
    let empty = open(binary(WIDE, 0)).unwrap();
    empty.verify().unwrap();
    assert!(empty.search(&query(WIDE, 1), 3, Search::default(), ALL).hits.is_empty());
}

#[test]
fn a_damaged_mean_turns_searches_into_scans() {
    let bytes = binary(WIDE, 120);
    let sound = open(bytes.clone()).unwrap();
    let at = offset_of(&sound, MEAN);
    let mut damaged = bytes.clone();
    damaged[at + 5] ^= 0x40;
    let mut hostile = bytes;
    hostile[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    damage::seal(&mut hostile);
    for (bytes, with_checksum) in [(damaged, false), (hostile, true)] {
        let segment = open(bytes).unwrap();
        let query = query(WIDE, 1);
        let found = segment.search(&query, 3, Search::Graph { ef: 3 }, ALL);
        assert_eq!(found, sound.search(&query, 3, Search::Exact, ALL));
        assert!(segment.noticed().is_some());
        let error = segment.verify().unwrap_err();
        if with_checksum {
            let is_content = matches!(error, SegmentError::Content { part: MEAN, at: 0, .. });
            assert!(is_content, "{error}");
        } else {
            assert!(matches!(error, SegmentError::Checksum { part: MEAN, .. }), "{error}");
            assert_eq!(segment.damaged_parts(), [MEAN]);
        }
        // Its rows are sound, so that it can be made anew, and its ids and rows stay.
        let mut builder = SegmentBuilder::new(WIDE, 11).quant(Quant::Binary);
        builder.extend(&segment, None).unwrap();
        let anew = open(builder.build(&|| false).unwrap().to_vec()).unwrap();
        anew.verify().unwrap();
        assert!(anew.part::<u64>(CODES).len() == sound.part::<u64>(CODES).len());
    }
}

#[test]
fn unknown_codes_and_bits_of_narrow_rows_do_not_open() {
    let say = |bytes: &[u8]| open(bytes.to_vec()).err().unwrap().to_string();
    let bytes = binary(WIDE, 10);
    let mut other = bytes.clone();
    other[60] = 2;
    damage::seal(&mut other);
    assert_eq!(
        say(&other),
        "header of the segment: quant is 2, but must be 0 (int8) or 1 (binary)"
    );
    let mut narrow = bytes.clone();
    narrow[44] = BINARY_DIMS_MIN as u8 - 1;
    damage::seal(&mut narrow);
    assert!(say(&narrow).contains("dims is 63"));
    let mut int8 = bytes;
    int8[60] = 0;
    damage::seal(&mut int8);
    assert!(say(&int8).contains("length of part \".cod\""), "{}", say(&int8));
    assert!(!Quant::Binary.takes(BINARY_DIMS_MIN - 1) && Quant::Binary.takes(BINARY_DIMS_MIN));
}

#[test]
fn a_changed_byte_is_found_and_never_panics() {
    let shape = Shape { full: 64, dims: 64 };
    let bytes = binary(shape, 5);
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x11;
        let Ok(segment) = open(bytes.clone()) else { continue };
        segment.search(&query(shape, 2), 3, Search::Graph { ef: 9 }, ALL);
        assert!(segment.verify().is_err(), "byte {at}");
        damage::seal(&mut bytes);
        if let Ok(segment) = open(bytes) {
            segment.search(&query(shape, 2), 3, Search::Graph { ef: 9 }, ALL);
            let _ = segment.verify();
        }
    }
}
