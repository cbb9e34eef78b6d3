//! Segments made of segments.

use proptest::prelude::*;

use super::*;

/// A pool of one thread: its builds are equal byte for byte.
fn serial(builder: SegmentBuilder<'_>) -> Vec<u8> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| builder.build(&|| false)).unwrap().to_vec()
}

/// A segment of numbered rows.
fn segment(shape: Shape, numbers: std::ops::Range<usize>) -> Segment {
    let mut builder = SegmentBuilder::new(shape, 3);
    numbers.for_each(|number| builder.push(id_of(number), &row(number, shape.full)));
    open(builder.build(&|| false).unwrap().to_vec()).unwrap()
}

/// One piece of a new segment: rows, which of them live, whether they come fresh.
type Piece = (Vec<Vec<f16>>, Vec<bool>, bool);

fn pieces(full: usize) -> impl Strategy<Value = Vec<Piece>> {
    // Few distinct numbers, so that equal codes are common inside pieces and between them.
    let row = prop::collection::vec((-3i8..=3).prop_map(|x| f16::from_f32(x.into())), full);
    let rows = prop::collection::vec((row, prop::bool::weighted(0.8)), 0..40);
    let piece = (rows, any::<bool>()).prop_map(|(rows, is_fresh)| {
        let (rows, live) = rows.into_iter().unzip();
        (rows, live, is_fresh)
    });
    prop::collection::vec(piece, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..Default::default() })]

    #[test]
    fn every_live_row_is_in_the_result_once(
        pieces in pieces(5),
        dims in 1usize..6,
        other_dims in prop::option::weighted(0.2, 1usize..6),
        seed in any::<u64>(),
    ) {
        let shape = Shape { full: 5, dims };
        let source_shape = Shape { full: 5, dims: other_dims.unwrap_or(dims) };
        let mut next_id = 10;
        let mut expected: Vec<(u64, &[f16])> = Vec::new();
        let mut sources = Vec::new();
        for (rows, live, is_fresh) in &pieces {
            let mut source = SegmentBuilder::new(source_shape, 7);
            for (row, live) in rows.iter().zip(live) {
                source.push(next_id, row);
                if *live || *is_fresh {
                    expected.push((next_id, row));
                }
                next_id += 3;
            }
            sources.push(open(source.build(&|| false).unwrap().to_vec()).unwrap());
        }
        let mut builder = SegmentBuilder::new(shape, seed);
        let mut at_once = SegmentBuilder::new(shape, seed);
        for ((rows, live, is_fresh), source) in pieces.iter().zip(&sources) {
            if *is_fresh {
                let ids = source.ids().iter().zip(rows);
                ids.for_each(|(id, row)| builder.push(*id, row));
            } else {
                let live = RowSet::of(rows.len(), |row| live[row.0 as usize]);
                builder.extend(source, Some(&live)).unwrap();
            }
        }
        builder.section(*b"text", b"kept".to_vec());
        expected.iter().for_each(|(id, row)| at_once.push(*id, *row));

        let built = builder.build(&|| false).unwrap();
        let bytes = built.to_vec();
        prop_assert_eq!(built.n_bytes(), bytes.len() as u64);
        let segment = open(bytes).unwrap();
        prop_assert_eq!(segment.verify(), Ok(()));
        let found: Vec<_> = (0..segment.len() as u32)
            .map(|row| (segment.id(RowId(row)), segment.row(RowId(row))))
            .collect();
        let kept = expected.iter().map(|(id, row)| (*id, Values::F16(row)));
        prop_assert_eq!(&found, &kept.collect::<Vec<_>>());
        prop_assert_eq!(segment.section(*b"text").unwrap(), Some(&b"kept"[..]));
        let at_once = open(at_once.build(&|| false).unwrap().to_vec()).unwrap();
        prop_assert_eq!(segment.stats().nodes, at_once.stats().nodes, "equal codes share a node");

        let query = Query::new(&[0.5, -0.1, 0.2, 0.9, -0.3], dims);
        let wide = segment.search(&query, 20, Search::Graph { ef: 300 }, ALL);
        prop_assert_eq!(&wide.hits, &at_once.search(&query, 20, Search::Exact, ALL).hits);
        prop_assert!(wide.exact, "every node is reached");
    }
}

#[test]
fn a_cancelled_merge_gives_nothing_whenever_it_is_cancelled() {
    let parts = [segment(SHAPE, 0..60), segment(SHAPE, 60..97)];
    let merge = |cancelled: &(dyn Fn() -> bool + Sync)| {
        let mut builder = SegmentBuilder::new(SHAPE, 1);
        parts.iter().for_each(|part| builder.extend(part, None).unwrap());
        (97..120).for_each(|number| builder.push(id_of(number), &row(number, SHAPE.full)));
        builder.build(cancelled).is_some()
    };
    let n_looks = AtomicUsize::new(0);
    assert!(merge(&|| n_looks.fetch_add(1, Ordering::Relaxed) == usize::MAX));
    let n_looks = n_looks.into_inner();
    assert!(n_looks >= 8);
    for last in 0..n_looks {
        let n_left = AtomicUsize::new(last);
        let cancelled = || {
            let left = n_left.load(Ordering::Relaxed);
            n_left.store(left.saturating_sub(1), Ordering::Relaxed);
            left == 0
        };
        assert!(!merge(&cancelled), "at look {last}");
    }
}

#[test]
fn one_thread_merges_into_the_same_bytes_again() {
    let parts = [segment(SHAPE, 0..30), segment(SHAPE, 30..97)];
    let merge = || {
        let mut builder = SegmentBuilder::new(SHAPE, 1);
        parts.iter().for_each(|part| builder.extend(part, None).unwrap());
        serial(builder)
    };
    assert!(merge() == merge());
}

#[test]
fn a_segment_of_other_codes_gives_its_rows_only() {
    let other = segment(Shape { dims: 5, ..SHAPE }, 0..97);
    let mut builder = SegmentBuilder::new(SHAPE, 1);
    builder.extend(&other, None).unwrap();
    let mut fresh = SegmentBuilder::new(SHAPE, 1);
    (0..97).for_each(|number| fresh.push(id_of(number), &row(number, SHAPE.full)));
    assert!(serial(builder) == serial(fresh));
}

#[test]
fn the_graph_of_the_donor_is_kept() {
    let donor = segment(SHAPE, 0..97);
    let mut builder = SegmentBuilder::new(SHAPE, 9);
    builder.extend(&donor, None).unwrap();
    let copy = open(serial(builder)).unwrap();
    // Freezing again keeps every list; only places may be given anew among nodes met alike.
    let lists = |segment: &Segment| {
        let (_, rows) = segment.graph().unwrap();
        let first_rows = |node: u32| rows.of(node)[0];
        let offsets = segment.part::<u32>(LIST_OFFSETS);
        let mut lists: Vec<(u32, Vec<u32>)> = (0..97u32)
            .map(|node| {
                let list = offsets[node as usize] as usize..offsets[node as usize + 1] as usize;
                let links = segment.part::<u32>(LINKS)[list].iter();
                let mut links: Vec<u32> = links.map(|to| first_rows(*to)).collect();
                links.sort_unstable();
                (first_rows(node), links)
            })
            .collect();
        lists.sort();
        lists
    };
    assert_eq!(lists(&copy), lists(&donor));
}

#[test]
fn ten_thousand_equal_rows_are_one_node() {
    let same = row(5, SHAPE.full);
    let part = |ids: std::ops::Range<u64>| {
        let mut builder = SegmentBuilder::new(SHAPE, 1);
        ids.for_each(|id| builder.push(id, &same));
        open(builder.build(&|| false).unwrap().to_vec()).unwrap()
    };
    let parts = [part(0..4_000), part(4_000..9_000)];
    let mut builder = SegmentBuilder::new(SHAPE, 1);
    parts.iter().for_each(|part| builder.extend(part, None).unwrap());
    (9_000..10_000).for_each(|id| builder.push(id, &same));
    let merged = open(builder.build(&|| false).unwrap().to_vec()).unwrap();
    merged.verify().unwrap();
    assert_eq!((merged.len(), merged.stats().nodes), (10_000, 1));
    let found = merged.search(&query(SHAPE, 5), 10_000, Search::Graph { ef: 1 }, ALL);
    assert_eq!(found.hits.len(), 10_000);
}

#[test]
fn nothing_and_the_dead_leave_nothing() {
    let (empty, full) = (segment(SHAPE, 0..0), segment(SHAPE, 0..50));
    let mut builder = SegmentBuilder::new(SHAPE, 1);
    builder.extend(&empty, None).unwrap();
    builder.extend(&full, Some(&RowSet::empty(50))).unwrap();
    builder.extend(&empty, Some(&RowSet::empty(0))).unwrap();
    builder.section(*b"text", b"kept".to_vec());
    let merged = open(builder.build(&|| false).unwrap().to_vec()).unwrap();
    merged.verify().unwrap();
    assert_eq!((merged.len(), merged.stats().nodes), (0, 0));
    assert_eq!(merged.section(*b"text").unwrap(), Some(&b"kept"[..]));
}

#[test]
fn few_left_of_a_donor_are_found_all_the_same() {
    for every in [2, 3, 40] {
        let donor = segment(SHAPE, 0..97);
        let live = RowSet::of(97, |row| row.0.is_multiple_of(every));
        let mut builder = SegmentBuilder::new(SHAPE, 1);
        builder.extend(&donor, Some(&live)).unwrap();
        let merged = open(builder.build(&|| false).unwrap().to_vec()).unwrap();
        merged.verify().unwrap();
        let found = merged.search(&query(SHAPE, 1), 97, Search::Graph { ef: 97 }, ALL);
        assert!(found.exact && found.hits.len() == live.len(), "every {every}");
    }
}

#[test]
fn damage_in_rows_is_refused_and_damage_elsewhere_is_healed() {
    let bytes = bytes(SHAPE, 120);
    let sound = open(bytes.clone()).unwrap();
    for part in format::own(Quant::Int8) {
        let entry = sound.table.iter().find(|entry| entry.part == part).unwrap();
        let mut bytes = bytes.clone();
        bytes[entry.offset as usize + 1] ^= 0x40;
        let damaged = open(bytes).unwrap();
        let mut builder = SegmentBuilder::new(SHAPE, 1);
        let extended = builder.extend(&damaged, None);
        if part == IDS || part == ROWS {
            assert!(matches!(extended, Err(SegmentError::Checksum { part: p, .. }) if p == part));
            continue;
        }
        extended.unwrap();
        let merged = open(builder.build(&|| false).unwrap().to_vec()).unwrap();
        merged.verify().unwrap();
        let (found, expected) = [&merged, &sound]
            .map(|segment| {
                segment.search(&query(SHAPE, 4), 120, Search::Graph { ef: 120 }, ALL).hits
            })
            .into();
        assert_eq!(found, expected, "{part}");
    }
}

#[test]
fn a_writer_that_fails_says_so() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let built = builder(SHAPE, 50).build(&|| false).unwrap();
    let n_bytes = built.n_bytes() as usize;
    assert!(built.write_to(&mut Full(n_bytes)).is_ok());
    let error = built.write_to(&mut Full(n_bytes - 1)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}

#[test]
fn clusters_that_lie_far_apart_stay_one_graph() {
    // 4,000 rows in 40 tight clusters, each larger than a list of links: linked to the nearest only,
    // or by links in one direction, it would be 40 islands or more.
    let shape = Shape { full: 16, dims: 16 };
    let number = |x: u64| {
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let row = |i: u64| {
        let x = (0..16).map(|j| number(i % 40 * 16 + j + 1) + 0.3 * number((i + 40) * 16 + j + 1));
        x.collect::<Vec<f32>>()
    };
    let half = |i: u64| row(i).into_iter().map(f16::from_f32).collect::<Vec<f16>>();
    let mut donor = SegmentBuilder::new(shape, 1);
    (0..40).for_each(|i| donor.push(i, &half(i)));
    let donor = open(serial(donor)).unwrap();
    let mut builder = SegmentBuilder::new(shape, 1);
    builder.extend(&donor, None).unwrap();
    (40..4_000).for_each(|i| builder.push(i, &half(i)));
    let segment = open(serial(builder)).unwrap();
    let mended = segment.stats().mended;
    assert!(mended <= 12, "{mended} links were mended");
    // Of so few nodes hnsw_rs builds the whole graph.
    let mut at_once = SegmentBuilder::new(shape, 1);
    (0..4_000).for_each(|i| at_once.push(i, &half(i)));
    let at_once = open(serial(at_once)).unwrap();
    let [grown, at_once] = [&segment, &at_once].map(|segment| {
        let n_found = (4_000..4_400).map(|i| {
            let query = Query::new(&row(i), 16);
            let last = segment.search(&query, 10, Search::Exact, ALL).hits[9].score;
            let found = segment.search(&query, 10, Search::Graph { ef: 40 }, ALL);
            found.hits.iter().filter(|hit| hit.score >= last).count()
        });
        n_found.sum::<usize>() as f64 / 4_000.0
    });
    assert!(grown >= at_once - 0.05, "recall@10 {grown}, of hnsw_rs's graph {at_once}");
}
