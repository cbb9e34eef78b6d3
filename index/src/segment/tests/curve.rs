//! The recall that a segment measures about itself.

use super::*;
use crate::query::RECALL_TARGET;
use crate::segment::curve::{Curve, Rows, Subject};

const WIDE: Shape = Shape { full: 24, dims: 12 };

/// Measures a sealed segment as it was measured when it was built.
fn measure(segment: &Segment, cancelled: bool) -> Option<Curve> {
    let (graph, node_rows) = segment.graph()?;
    let Shape { full, dims } = segment.shape();
    let subject = Subject {
        graph,
        codes: segment.codes(),
        coding: &segment.coding(),
        node_rows,
        node_of_row: segment.node_of_row(),
        rows: Rows::new(full, segment.part::<f16>(ROWS).chunks(5 * full).map(Values::from)),
        dims,
        seed: segment.header.seed,
    };
    subject.measure(&|| cancelled)
}

#[test]
fn a_segment_knows_its_recall_and_small_ones_do_not() {
    let points = distinct(WIDE).stats().recall;
    assert_eq!(points.len(), 10);
    assert!(points.is_sorted_by_key(|point| point.ef));
    assert!(points.windows(2).all(|pair| pair[0].recall <= pair[1].recall + 0.01), "{points:?}");
    assert!(points[9].recall >= 0.98, "{points:?}");
    assert!(points.iter().all(|point| (1..=point.ef).contains(&point.depth)), "{points:?}");
    assert!(open(bytes(SHAPE, 2_000)).unwrap().stats().recall.is_empty(), "97 nodes are too few");
}

#[test]
fn a_graph_that_leads_nowhere_shows_in_the_curve() {
    let segment = distinct(WIDE);
    let mut bytes = segment.bytes.all().to_vec();
    let offset_of = |part| {
        let entry = segment.table.iter().find(|entry| entry.part == part).unwrap();
        (entry.offset as usize, entry.end() as usize)
    };
    // Three of four links lead to the entry instead.
    let (start, end) = offset_of(LINKS);
    for at in (start..end).step_by(4).filter(|at| at % 16 != 0) {
        bytes[at..at + 4].fill(0);
    }
    damage::seal(&mut bytes);
    let broken = open(bytes).unwrap();
    let (sound, broken) = (segment.stats().recall, measure(&broken, false).unwrap());
    assert_eq!(measure(&segment, false).unwrap().points(), sound, "measured again");
    assert!(broken.points()[0].recall < sound[0].recall - 0.05, "{broken:?}, sound {sound:?}");
    assert!(measure(&segment, true).is_none(), "cancelled");
}

#[test]
fn a_damaged_curve_is_searched_as_one_that_was_not_measured() {
    let segment = distinct(WIDE);
    let mut bytes = segment.bytes.all().to_vec();
    bytes[88..90].copy_from_slice(&10_001u16.to_le_bytes());
    damage::seal(&mut bytes);
    let damaged = open(bytes).unwrap();
    assert!(matches!(damaged.verify(), Err(SegmentError::Field { field: "recall", .. })));
    assert!(damaged.stats().recall.is_empty());
    let effort = damaged.header.curve.effort(RECALL_TARGET, 10);
    assert_eq!((effort.ef, effort.depth), (crate::EF_DEFAULT, crate::EF_DEFAULT));
    assert_eq!(damaged.search(&query(WIDE, 3), 10, Search::default(), ALL).hits.len(), 10);
}
