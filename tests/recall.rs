//! Answers of the graph and re-scoring against those of the exact scan, on real vectors.
//!
//! An ordinary run makes its own texts. With `GEMMULE_DB` set, the test asks that database instead, for
//! the titles of its documents.

use std::collections::BTreeSet;

use gemmule::{Collection, Database, Document, Fusion};

const K: usize = 10;

/// The share of the exact scan's ten best that the graph finds, over all queries.
fn recall(collection: &Collection, queries: &[String]) -> f64 {
    let rows = |exact: bool, query: &String| -> BTreeSet<(String, u32)> {
        let search = collection.search(query).limit(K).fusion(Fusion::VectorOnly);
        let answer = if exact { search.exact().run() } else { search.run() }.unwrap();
        assert_eq!(answer.exact, exact, "the graph must have been used, and only where asked for");
        answer.hits.into_iter().map(|hit| (hit.document, hit.chunk.chunk_idx)).collect()
    };
    let shares = queries.iter().map(|query| {
        let truth = rows(true, query);
        truth.intersection(&rows(false, query)).count() as f64 / truth.len() as f64
    });
    shares.sum::<f64>() / queries.len() as f64
}

/// Short texts that share most of their words, so that neighbours are close.
fn texts(n: usize) -> Vec<String> {
    fn pick(list: &[&'static str], i: usize) -> &'static str {
        list[i % list.len()]
    }
    let who = ["the engineer", "a farmer", "my sister", "the pilot", "an old teacher", "the baker"];
    let does = ["repairs", "sells", "paints", "forgets", "carries", "studies", "hides"];
    let what = ["a bridge", "the engine", "three apples", "a map of the coast", "his violin"];
    let place =
        ["in winter", "near the harbour", "before breakfast", "under the roof", "on a train"];
    let text = |i: usize| {
        let (a, b) = (i / 6, i / 42);
        format!(
            "{} {} {} {}, number {}",
            pick(&who, i),
            pick(&does, a),
            pick(&what, b),
            pick(&place, i / 210),
            i % 97
        )
    };
    (0..n).map(text).collect()
}

#[test]
fn the_graph_finds_what_the_exact_scan_finds() {
    let place = tempfile::tempdir().unwrap();
    let db = Database::open(place.path().join("db")).unwrap();
    for dims in [384, 128] {
        let name = format!("width-{dims}");
        let collection = db.collection_with(&name, None, Some(dims), None).unwrap();
        let texts = texts(2000);
        // A tenth of the rows are duplicates.
        let document = |i: usize| Document::new(format!("{i}"), &*texts[i % 1800]);
        collection.add((0..2000).map(document)).unwrap();
        collection.seal().unwrap();
        let queries: Vec<String> = texts.into_iter().skip(7).step_by(19).collect();
        let recall = recall(&collection, &queries);
        println!("width {dims}: recall@{K} {recall:.4} over {} queries", queries.len());
        assert!(recall >= 0.98, "width {dims}: {recall}");
    }
}

#[test]
fn a_database_at_hand_is_searched_as_well_as_scanned() {
    let Some(path) = std::env::var_os("GEMMULE_DB") else {
        println!("skipped: GEMMULE_DB names no database");
        return;
    };
    let db = Database::open(path).unwrap();
    for (name, space) in db.collections().unwrap() {
        let collection = db.collection(&name).unwrap();
        let titles = collection.list().unwrap().into_iter().filter_map(|info| info.title);
        let queries: Vec<String> = titles.take(500).collect();
        let recall = recall(&collection, &queries);
        println!("{name}, width {}: recall@{K} {recall:.4} over {}", space.dims, queries.len());
        assert!(recall >= 0.98, "{name}: {recall}");
    }
}
