//! Rows in f32 as they were given, compared by each metric, against an obvious scan in f64.

use super::*;
use crate::form::{Form, Metric};

/// Numbers that follow from a seed, in `0..1`; a small linear congruential generator.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Roughly normal.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }
}

/// Clusters, as rows of each metric are: whole numbers in 0..=255 for l2, lengths spread over three orders else.
fn clustered(metric: Metric, n: usize, width: usize, seed: u64) -> Vec<Vec<f32>> {
    let random = &mut Random(seed);
    let centres: Vec<Vec<f64>> =
        (0..40).map(|_| (0..width).map(|_| random.normal()).collect()).collect();
    let row = |random: &mut Random| {
        let centre = &centres[random.below(centres.len())];
        let x: Vec<f64> = centre.iter().map(|c| c + 0.5 * random.normal()).collect();
        let length = 10f64.powf(3.0 * random.unit());
        let number = |x: &f64| match metric {
            Metric::L2 => (40.0 + 40.0 * x).round().clamp(0.0, 255.0) as f32,
            _ => (x * length) as f32,
        };
        x.iter().map(number).collect()
    };
    (0..n).map(|_| row(random)).collect()
}

fn truth_of(metric: Metric, row: &[f32], query: &[f32]) -> f64 {
    let pairs = || row.iter().zip(query).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let squares = |x: &[f32]| x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
    let dot: f64 = pairs().map(|(a, b)| a * b).sum();
    match metric {
        Metric::Dot => dot,
        Metric::L2 => -pairs().map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt(),
        Metric::Cosine if squares(row) == 0.0 || squares(query) == 0.0 => 0.0,
        Metric::Cosine => dot / (squares(row) * squares(query)).sqrt(),
    }
}

/// The scores of the best `k` rows, best first.
fn best_of(metric: Metric, rows: &[Vec<f32>], query: &[f32], k: usize) -> Vec<f64> {
    let mut all: Vec<f64> = rows.iter().map(|row| truth_of(metric, row, query)).collect();
    all.sort_by(|a, b| b.total_cmp(a));
    all.truncate(k);
    all
}

fn build_of(metric: Metric, rows: &[Vec<f32>]) -> Segment {
    build_from(metric, rows, 0)
}

fn build_from(metric: Metric, rows: &[Vec<f32>], first: usize) -> Segment {
    let full = rows[0].len();
    let mut builder = SegmentBuilder::new(Shape { full, dims: full }, 5).form(Form::Given(metric));
    rows.iter().enumerate().for_each(|(n, row)| builder.push((first + n) as u64, row));
    open(builder.build(&|| false).unwrap().to_vec()).unwrap()
}

/// What f32 can tell apart, of a score.
fn is_near(found: f32, expected: f64) -> bool {
    let error = (f64::from(found) - expected).abs();
    error <= expected.abs() * 1.2e-7 + f64::from(f32::MIN_POSITIVE)
}

fn share_found(segment: &Segment, rows: &[Vec<f32>], queries: &[Vec<f32>], how: Search) -> f64 {
    let Form::Given(metric) = segment.form() else { panic!("rows were given") };
    let mut n_found = 0;
    for query in queries {
        let worst = *best_of(metric, rows, query, 10).last().unwrap();
        let found = segment.search(&segment.query(query), 10, how, ALL);
        for hit in &found.hits {
            let expected = truth_of(metric, &rows[hit.row.0 as usize], query);
            assert!(is_near(hit.score, expected), "{metric}: {} for {expected}", hit.score);
            n_found += usize::from(expected >= worst);
        }
    }
    n_found as f64 / (10 * queries.len()) as f64
}

#[test]
fn walks_find_what_an_obvious_scan_finds() {
    for metric in Metric::ALL {
        let mut rows = clustered(metric, 4_100, 32, 3);
        let queries = rows.split_off(4_000);
        let segment = build_of(metric, &rows);
        segment.verify().unwrap();
        assert_eq!(share_found(&segment, &rows, &queries, Search::Exact), 1.0, "{metric}");
        let walked = share_found(&segment, &rows, &queries, Search::Graph { ef: 128 });
        let chosen = share_found(&segment, &rows, &queries, Search::default());
        let promised = segment.stats().recall;
        println!("{metric}: {walked} at ef 128, {chosen} by default, of {promised:?}");
        assert!(walked >= 0.97 && chosen >= 0.96, "{metric}: {walked} and {chosen}");
        assert_eq!(promised.len(), 10);
    }
}

#[test]
fn rows_come_back_bit_by_bit_and_duplicates_share_a_node() {
    for metric in Metric::ALL {
        let mut rows = clustered(metric, 60, 7, 11);
        rows.extend(rows[..20].to_vec());
        // The same direction, another length: another node, unless angles are all that counts.
        rows.extend(
            rows[..10].iter().map(|row| row.iter().map(|x| x * 4.0).collect()).collect::<Vec<_>>(),
        );
        let segment = build_of(metric, &rows);
        for (n, row) in rows.iter().enumerate() {
            let Values::F32(kept) = segment.row(RowId(n as u32)) else { panic!("rows in f32") };
            assert!(kept.iter().zip(row).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
        let n_nodes = if metric == Metric::Cosine { 60 } else { 70 };
        assert_eq!(segment.stats().nodes, n_nodes, "{metric}");
    }
}

#[test]
fn zeros_and_lengths_of_many_orders_are_scored_and_found() {
    for metric in Metric::ALL {
        let longest: i32 = if metric == Metric::Dot { 17 } else { 36 };
        let directions = clustered(metric, 300, 5, 17);
        let scale = |n: usize| 10f32.powi((n as i32 * 7) % (longest + 37) - 36);
        let mut rows: Vec<Vec<f32>> = directions
            .iter()
            .enumerate()
            .map(|(n, row)| row.iter().map(|x| x / 1_000.0 * scale(n)).collect())
            .collect();
        rows.push(vec![0.0; 5]);
        rows.push(vec![1e-40; 5]);
        let segment = build_of(metric, &rows);
        segment.verify().unwrap();
        for query in rows.iter().step_by(7).chain([&vec![0.0; 5], &vec![1.0; 5]]) {
            let expected = best_of(metric, &rows, query, 20);
            for how in [Search::Exact, Search::Graph { ef: rows.len() }] {
                let found = segment.search(&segment.query(query), 20, how, ALL);
                assert_eq!(found.hits.len(), 20);
                for (hit, expected) in found.hits.iter().zip(&expected) {
                    assert!(hit.score.is_finite(), "{metric}: {}", hit.score);
                    // Below the least number of f32 products are all 0.
                    let tolerance = expected.abs() * 1.2e-7 + 1.5e-45;
                    let error = (f64::from(hit.score) - expected).abs();
                    assert!(error <= tolerance, "{metric} {how:?}: {} for {expected}", hit.score);
                }
            }
        }
    }
}

#[test]
fn a_merge_keeps_the_numbers_and_finds_as_much() {
    for metric in Metric::ALL {
        let mut rows = clustered(metric, 4_100, 24, 23);
        let queries = rows.split_off(4_000);
        // The last rows lie elsewhere: their codes would be bad if the others' centre were theirs.
        for spread in [1.0f32, 30.0] {
            let mut rows = rows.clone();
            rows[1_000..]
                .iter_mut()
                .flatten()
                .for_each(|x| *x = *x * spread + 100.0 * (spread - 1.0));
            let small = build_from(metric, &rows[..1_000], 0);
            let large = build_from(metric, &rows[1_000..], 1_000);
            let shape = small.shape();
            let mut builder = SegmentBuilder::new(shape, 9).form(Form::Given(metric));
            builder.extend(&small, None).unwrap();
            builder.extend(&large, None).unwrap();
            let merged = open(builder.build(&|| false).unwrap().to_vec()).unwrap();
            merged.verify().unwrap();
            for n in (0..4_000).step_by(37) {
                assert_eq!(merged.row(RowId(n as u32)), Values::F32(&rows[n]));
            }
            let found = share_found(&merged, &rows, &queries, Search::Graph { ef: 128 });
            println!("{metric}, spread {spread}: {found}");
            assert!(found >= 0.95, "{metric}, spread {spread}: {found}");
        }
    }
}

#[test]
fn codes_of_few_rows_are_scanned_and_the_best_are_among_them() {
    for metric in Metric::ALL {
        let rows = clustered(metric, 4_000, 16, 29);
        let segment = build_of(metric, &rows);
        let some = RowSet::of(4_000, |row| row.0 % 9 == 0);
        for query in rows.iter().step_by(401) {
            let asked = crate::segment::search::Asked {
                query: &segment.query(query),
                k: 10,
                among: Some(&some),
            };
            let (coded, exact) = (segment.scan_codes(asked, 30), segment.scan_rows(asked));
            let worst = exact.hits[9].score;
            let n_right = coded.hits.iter().filter(|hit| hit.score >= worst).count();
            assert!(n_right >= 9, "{metric}: {n_right}");
        }
    }
}

#[test]
fn a_header_with_an_unknown_metric_or_form_is_refused() {
    let rows = clustered(Metric::L2, 20, 4, 31);
    let of = |at: usize, value: u8| {
        let mut bytes = build_of(Metric::L2, &rows).bytes.all().to_vec();
        bytes[at] = value;
        damage::seal(&mut bytes);
        open(bytes).err()
    };
    assert_eq!(of(61, 2), None, "as it was");
    let field = |error| match error {
        Some(SegmentError::Field { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(of(61, 3)), "metric");
    assert_eq!(field(of(62, 2)), "rows");
    assert_eq!(field(of(62, 0)), "metric", "l2 of rows in f16");
    assert_eq!(field(of(63, 1)), "unused bytes");
}

#[test]
fn a_damaged_centre_turns_a_walk_into_a_scan() {
    let rows = clustered(Metric::L2, 300, 4, 37);
    let sound = build_of(Metric::L2, &rows);
    let mut bytes = sound.bytes.all().to_vec();
    let entry = sound.table.iter().find(|entry| entry.part == SCALES).unwrap();
    let end = entry.end() as usize;
    bytes[end - 4..end].copy_from_slice(&f32::NAN.to_le_bytes());
    let damaged = open(bytes.clone()).unwrap();
    let found = damaged.search(&damaged.query(&rows[5]), 3, Search::Graph { ef: 50 }, ALL);
    assert_eq!((found.plan, found.hits[0].row), (Plan::ExactScan, RowId(5)));
    damage::seal(&mut bytes);
    let damaged = open(bytes).unwrap();
    assert!(matches!(damaged.verify(), Err(SegmentError::Content { .. })));
    let found = damaged.search(&damaged.query(&rows[5]), 3, Search::Graph { ef: 50 }, ALL);
    assert_eq!((found.plan, found.hits[0].row), (Plan::ExactScan, RowId(5)));
}
