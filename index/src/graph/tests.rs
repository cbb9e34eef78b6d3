//! Walks over graphs small enough to see.

use super::*;
use crate::mrl;
use crate::score::{CodeRows, QueryCodes, Scorer};

const NO_LIMIT: usize = usize::MAX;

fn query(x: &[f32]) -> QueryCodes {
    QueryCodes::new(mrl::quantise(&mrl::cut(x, x.len())))
}

/// Codes of `n` directions in a half circle, closest to (1, 0) first.
fn half_circle(n: usize) -> (Vec<i8>, Vec<f32>) {
    let angle = |i: usize| i as f32 * std::f32::consts::PI / n as f32;
    let rows = (0..n).map(|i| mrl::quantise(&[angle(i).cos(), angle(i).sin()]));
    let rows: Vec<mrl::Codes> = rows.collect();
    let codes = rows.iter().flat_map(|row| row.codes.clone()).collect();
    (codes, rows.iter().map(|row| row.scale).collect())
}

#[test]
fn a_walk_along_a_path_finds_its_end() {
    // 0 - 1 - 2 - ... - 9 in layer 0; the query lies at the far end.
    let (codes, scales) = half_circle(10);
    let codes = CodeRows::new(&codes, &scales, 2);
    let lists: Vec<Vec<u32>> = (0..10u32)
        .map(|node| [node.checked_sub(1), Some(node + 1)].into_iter().flatten().collect())
        .map(|list: Vec<u32>| list.into_iter().filter(|to| *to < 10).collect())
        .collect();
    let mut offsets = vec![0u32];
    lists.iter().for_each(|list| offsets.push(offsets[offsets.len() - 1] + list.len() as u32));
    let links = lists.concat();
    let graph = Graph::new(&[10], &offsets, &links);
    let query = query(&[-1.0, 0.1]);
    let scorer = Scorer::Int8(codes, &query);
    let limits = Limits { ef: 3, compared: NO_LIMIT };
    let walked = walk(graph, &scorer, limits, |_| true);
    assert_eq!(walked.best, [9, 8, 7]);
    assert!(!walked.gave_up && !walked.complete);

    let walked = walk(graph, &scorer, limits, |node| node % 4 == 0);
    assert_eq!(walked.best, [8, 4, 0], "unwanted nodes are walked through");
    assert!(walked.complete);

    let walked = walk(graph, &scorer, Limits { ef: 3, compared: 4 }, |_| true);
    assert!(walked.gave_up && walked.compared < 8);

    let walked = walk(graph, &scorer, Limits { ef: 10, compared: NO_LIMIT }, |_| true);
    assert_eq!((walked.best.len(), walked.complete), (10, true));
}

#[test]
fn every_built_graph_reaches_all_its_nodes() {
    for n in [0, 1, 2, 3, 17, 300] {
        let (codes, scales) = half_circle(n);
        let codes = CodeRows::new(&codes, &scales, 2);
        let frozen = build(codes, None, 3, &|| false).unwrap();
        let graph = Graph::new(&frozen.layer_nodes, &frozen.list_offsets, &frozen.links);
        let limits = Limits { ef: n, compared: NO_LIMIT };
        let walked = walk(graph, &Scorer::Int8(codes, &query(&[0.3, 0.7])), limits, |_| true);
        assert_eq!(walked.best.len(), n);
        assert!(walked.complete);
    }
}

/// Codes of `n` rows on a line that winds through all dimensions: neighbours on it are nearly equal.
fn winding_line(n: usize) -> (Vec<i8>, Vec<f32>) {
    let number = |i: usize| ((i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32;
    let at = |i: usize| half::f16::from_f32(number(i) / (1u64 << 23) as f32 - 1.0);
    let mut codes = vec![0; n * DIMS];
    let rows = codes.chunks_exact_mut(DIMS).enumerate().map(|(i, codes)| {
        let mut row: Vec<f32> = (DIMS * i..DIMS * (i + 1)).map(|i| at(i).to_f32()).collect();
        mrl::encode_cut(&mut row, codes)
    });
    let scales = rows.collect();
    (codes, scales)
}

const DIMS: usize = 16;

#[test]
fn threads_that_insert_at_once_lose_no_node() {
    let (codes, scales) = winding_line(12_000);
    let codes = CodeRows::new(&codes, &scales, DIMS);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    let frozen = pool.install(|| build(codes, None, 3, &|| false)).unwrap();
    let mut nodes = frozen.order.clone();
    nodes.sort_unstable();
    assert!(nodes.into_iter().eq(0..12_000));
    let graph = Graph::new(&frozen.layer_nodes, &frozen.list_offsets, &frozen.links);
    let limits = Limits { ef: 12_000, compared: NO_LIMIT };
    // The graph's codes lie in the order of its places.
    let place = |node: &u32| codes.codes(*node);
    let in_order: Vec<i8> = frozen.order.iter().flat_map(place).copied().collect();
    let scales: Vec<f32> = frozen.order.iter().map(|node| scales[*node as usize]).collect();
    let codes = CodeRows::new(&in_order, &scales, DIMS);
    let walked = walk(graph, &Scorer::Int8(codes, &query(&[0.5; DIMS])), limits, |_| true);
    assert!(walked.complete && walked.best.len() == 12_000);
    assert!(frozen.n_mended < 60, "{} links were mended", frozen.n_mended);
    for list in frozen.list_offsets.windows(2) {
        let mut links = frozen.links[list[0] as usize..list[1] as usize].to_vec();
        links.sort_unstable();
        let n_links = links.len();
        links.dedup();
        assert_eq!(links.len(), n_links, "no link twice");
    }
}

#[test]
fn a_cancelled_build_gives_nothing() {
    let (codes, scales) = half_circle(50);
    let codes = CodeRows::new(&codes, &scales, 2);
    assert!(build(codes, None, 3, &|| true).is_none());
    assert!(build(CodeRows::new(&[], &[], 2), None, 3, &|| true).is_none());
}
