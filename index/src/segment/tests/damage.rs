//! Damaged and hostile bytes: an error or the right answer, never a panic.

use proptest::prelude::*;

use super::*;

const TINY: Shape = Shape { full: 6, dims: 3 };

/// A few rows, two of them equal, and two sections.
fn tiny() -> Vec<u8> {
    let mut builder = builder(TINY, 7);
    builder.push(id_of(97), &row(97, TINY.full));
    builder.section(*b"text", b"opaque".to_vec());
    builder.section(*b"more", vec![7; 65]);
    builder.build(&|| false).unwrap().to_vec()
}

/// All that a caller can learn from a segment.
#[derive(Debug, PartialEq)]
struct Answers {
    rows: Vec<(u64, Vec<u16>, Option<RowId>)>,
    found: Vec<Found>,
    sections: Vec<Result<Option<Vec<u8>>, SegmentError>>,
}

fn ask_everything(segment: &Segment) -> Answers {
    let ids = (0..segment.len() as u32).map(RowId);
    let bits = |row: RowId| {
        let Values::F16(row) = segment.row(row) else { panic!("rows in f16") };
        row.iter().map(|x| x.to_bits()).collect()
    };
    let queries = if segment.shape() == TINY { 0..4 } else { 0..0 };
    let ways = [Search::Exact, Search::Graph { ef: 1 }, Search::Graph { ef: 9 }];
    let found = queries.flat_map(|number| ways.map(|how| (query(TINY, number), how)));
    let sections = [*b"text", *b"more", *b"none"];
    Answers {
        rows: ids.map(|row| (segment.id(row), bits(row), segment.find(segment.id(row)))).collect(),
        found: found.map(|(query, how)| segment.search(&query, 4, how, ALL)).collect(),
        sections: sections.map(|tag| segment.section(tag).map(|s| s.map(<[u8]>::to_vec))).into(),
    }
}

/// Makes all checksums right again, as far as the table can be followed.
pub(super) fn seal(bytes: &mut [u8]) {
    let n_parts = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let u64_at =
        |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let head_bytes = format::head_bytes(n_parts.min(256)).min(bytes.len());
    for line in (format::head_bytes(0)..head_bytes.saturating_sub(31)).step_by(32) {
        let start = u64_at(bytes, line + 8).min(bytes.len() as u64) as usize;
        let length = u64_at(bytes, line + 16).min((bytes.len() - start) as u64) as usize;
        let checksum = xxh3_64(&bytes[start..start + length]);
        bytes[line + 24..line + 32].copy_from_slice(&checksum.to_le_bytes());
    }
    let checksum = xxh3_64(&[&bytes[..24], &bytes[32..head_bytes]].concat());
    bytes[24..32].copy_from_slice(&checksum.to_le_bytes());
}

#[test]
fn sealing_a_sound_segment_changes_nothing() {
    let bytes = tiny();
    let mut sealed = bytes.clone();
    seal(&mut sealed);
    assert_eq!(sealed, bytes);
}

#[test]
fn a_segment_cut_short_anywhere_or_appended_to_does_not_open() {
    let mut bytes = tiny();
    for length in 0..bytes.len() {
        assert!(open(bytes[..length].to_vec()).is_err(), "cut to {length} bytes");
    }
    bytes.push(0);
    let expected = bytes.len() as u64 - 1;
    assert_eq!(open(bytes).err(), Some(SegmentError::Length { expected, found: expected + 1 }));
}

#[test]
fn a_changed_byte_is_found_or_changes_no_answer() {
    let bytes = tiny();
    let answers = ask_everything(&open(bytes.clone()).unwrap());
    let mut n_found = 0;
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            let Ok(segment) = open(bytes) else {
                n_found += 1;
                continue;
            };
            let same = ask_everything(&segment) == answers;
            let verdict = segment.verify();
            assert!(same || verdict.is_err(), "byte {at} ^ {flip}");
            n_found += usize::from(verdict.is_err());
        }
    }
    assert_eq!(n_found, 3 * bytes.len(), "even a byte between parts is found");
}

#[test]
fn a_damaged_graph_turns_a_walk_into_a_scan() {
    let bytes = tiny();
    let sound = open(bytes.clone()).unwrap();
    for part in [NODE_OFFSETS, NODE_ROWS, LIST_OFFSETS, LINKS] {
        let entry = sound.table.iter().find(|entry| entry.part == part).unwrap();
        let mut bytes = bytes.clone();
        bytes[entry.offset as usize] ^= 0x40;
        let segment = open(bytes).unwrap();
        let query = query(TINY, 1);
        let found = segment.search(&query, 3, Search::Graph { ef: 3 }, ALL);
        assert_eq!(found, sound.search(&query, 3, Search::Exact, ALL));
        assert!(
            matches!(segment.verify(), Err(SegmentError::Checksum { part: p, .. }) if p == part)
        );
    }
}

#[test]
fn a_damaged_section_is_refused_and_the_others_are_not() {
    let mut bytes = tiny();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let segment = open(bytes).unwrap();
    assert!(segment.section(*b"text").unwrap().is_some());
    for _ in 0..2 {
        let error = segment.section(*b"more").unwrap_err();
        assert!(matches!(error, SegmentError::Checksum { part: Part(tag), .. } if tag == *b"more"));
    }
}

#[test]
fn what_is_wrong_is_said() {
    let say = |bytes: &[u8]| open(bytes.to_vec()).err().unwrap().to_string();
    let bytes = tiny();
    let mut other = bytes.clone();
    other[..4].copy_from_slice(b"%PDF");
    assert!(say(&other).starts_with("not a segment: it begins with \"%PDFSEG\\x00\""));
    assert!(say(b"%PDF-1.7").starts_with("not a segment"));
    let mut other = bytes.clone();
    other[8] = 3;
    assert!(say(&other).contains("format 3 and this version reads format 1"));
    assert!(say(&bytes[..300]).contains("300 are there"));
    assert!(say(&[]).contains("should have 192 bytes and 0 are there"));
    let mut other = bytes.clone();
    other[44] = 200;
    assert!(say(&other).contains("the file is damaged"));
    seal(&mut other);
    assert_eq!(say(&other), "header of the segment: dims is 200, but must be 1 to full");
}

#[test]
fn ids_that_do_not_ascend_are_found_by_verify() {
    let mut bytes = tiny();
    let first = open(bytes.clone()).unwrap().table[0].offset as usize;
    bytes.copy_within(first..first + 8, first + 8);
    seal(&mut bytes);
    let error = open(bytes).unwrap().verify().unwrap_err();
    let rule = "above the id before";
    assert_eq!(error, SegmentError::Content { part: IDS, rule, at: 1, found: id_of(0) });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..Default::default() })]

    #[test]
    fn hostile_headers_and_parts_with_right_checksums_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        in_head in any::<bool>(),
    ) {
        let mut bytes = tiny();
        let range = if in_head { bytes.len().min(560) } else { bytes.len() };
        for (at, value) in edits {
            bytes[at.index(range)] = value;
        }
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].fill(0);
        seal(&mut bytes);
        if let Ok(segment) = open(bytes) {
            ask_everything(&segment);
            let _ = segment.verify();
            segment.stats();
        }
    }

    #[test]
    fn random_bytes_behind_a_sound_beginning_never_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 192..900),
        n_parts in 0u8..12,
    ) {
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].fill(0);
        bytes[12..16].copy_from_slice(&[n_parts, 0, 0, 0]);
        let length = bytes.len() as u64;
        bytes[16..24].copy_from_slice(&length.to_le_bytes());
        seal(&mut bytes);
        prop_assert!(open(bytes).is_err());
    }

    #[test]
    fn hostile_links_with_right_checksums_never_panic_a_walk(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u32>()), 1..4),
        low in any::<bool>(),
    ) {
        let mut bytes = tiny();
        let table = open(bytes.clone()).unwrap().table;
        let places: Vec<usize> = table[2..7]
            .iter()
            .flat_map(|entry| (entry.offset as usize..entry.end() as usize).step_by(4))
            .collect();
        for (at, value) in edits {
            let value = if low { value % 9 } else { value };
            bytes[places[at.index(places.len())]..][..4].copy_from_slice(&value.to_le_bytes());
        }
        seal(&mut bytes);
        let segment = open(bytes).unwrap();
        ask_everything(&segment);
        let _ = segment.verify();
    }
}
