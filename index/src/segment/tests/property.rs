//! Walks and scans against each other on random rows, with duplicates and dead rows.

use proptest::prelude::*;

use super::*;

/// Rows and whether each lives.
type Rows = Vec<(Vec<f16>, bool)>;

/// Rows from few distinct values, so that equal rows and equal scores are common.
fn rows(full: usize) -> impl Strategy<Value = Rows> {
    let number = prop_oneof![4 => (-3i8..=3).prop_map(f32::from), 1 => -1.0f32..1.0];
    let row = prop::collection::vec(number.prop_map(f16::from_f32), full);
    let plain = prop::collection::vec((row, any::<bool>()), 1..60);
    (plain, prop::collection::vec(any::<prop::sample::Index>(), 0..20)).prop_map(
        |(mut rows, repeats)| {
            for repeat in repeats {
                let (row, live) = rows[repeat.index(rows.len())].clone();
                rows.push((row, !live));
            }
            rows
        },
    )
}

fn cases() -> impl Strategy<Value = (Shape, Rows, Vec<f32>)> {
    (1usize..9).prop_flat_map(|full| (Just(full), 1..=full)).prop_flat_map(|(full, dims)| {
        let query = prop::collection::vec(-1.0f32..1.0, full);
        (Just(Shape { full, dims }), rows(full), query)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..Default::default() })]

    #[test]
    fn a_wide_walk_a_scan_of_the_segment_and_a_scan_of_loose_rows_agree(
        (shape, rows, full) in cases(),
        k in 0usize..90,
        ef in 0usize..20,
        seed in any::<u64>(),
    ) {
        let mut builder = SegmentBuilder::new(shape, seed);
        for (number, (row, _)) in rows.iter().enumerate() {
            builder.push(id_of(number), row);
        }
        let segment = open(builder.build(&|| false).unwrap().to_vec()).unwrap();
        prop_assert_eq!(segment.verify(), Ok(()));
        let query = Query::new(&full, shape.dims);
        let live = RowSet::of(rows.len(), |row| rows[row.0 as usize].1);

        let exact = segment.search(&query, k, Search::Exact, Some(&live));
        let loose = rows.iter().enumerate().filter(|(_, (_, live))| *live);
        let loose = loose.map(|(number, (row, _))| (id_of(number), &row[..]));
        let loose = scan(loose, Form::Unit, query.full(), k);
        prop_assert_eq!(ids_and_scores(&segment, &exact), loose);

        let wide = segment.search(&query, k, Search::Graph { ef: rows.len() }, Some(&live));
        prop_assert_eq!(&wide.hits, &exact.hits);
        prop_assert!(wide.exact);

        let narrow = segment.search(&query, k, Search::Graph { ef }, Some(&live));
        prop_assert_eq!(narrow.hits.len(), exact.hits.len(), "as many as there are");
        for (hit, best) in narrow.hits.iter().zip(&exact.hits) {
            prop_assert!(live.contains(hit.row) && hit.score <= best.score);
        }
        if narrow.exact {
            prop_assert_eq!(narrow.hits, exact.hits);
        }
    }
}
