//! Segments written, opened, searched and damaged.

use super::*;
use crate::query::{Query, Search};

fn open(bytes: Vec<u8>) -> Result<Segment, SegmentError> {
    Segment::open(Arc::new(bytes))
}

#[test]
fn an_empty_segment_opens_and_answers_nothing() {
    let bytes = SegmentBuilder::new(Shape { full: 4, dims: 2 }, 1).build(&|| false).unwrap();
    let segment = open(bytes).unwrap();
    segment.verify().unwrap();
    let query = Query::new(&[1.0, 0.0, 0.0, 0.0], 2);
    for how in [Search::Exact, Search::Graph { ef: 5 }] {
        assert!(segment.search(&query, 3, how, &|_| true).hits.is_empty());
    }
}
