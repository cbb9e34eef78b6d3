//! Against trec_eval and scipy (`tests/reference/measures.json`), and what they do not say.

use std::path::Path;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Reference {
    queries: Vec<ReferenceQuery>,
    n_evaluated: usize,
    means: Measures,
    spearman: Vec<Correlation>,
}

#[derive(Deserialize)]
struct ReferenceQuery {
    query: String,
    ranking: Option<Vec<(String, f32)>>,
    relevant: Option<HashMap<String, i32>>,
    measures: Option<Measures>,
}

#[derive(Deserialize)]
struct Measures {
    ndcg_10: f64,
    recall_10: f64,
    recall_100: f64,
    mrr_10: f64,
}

#[derive(Deserialize)]
struct Correlation {
    x: Vec<f64>,
    y: Vec<f64>,
    rho: Option<f64>,
}

fn reference() -> Reference {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/measures.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn assert_near(found: f64, expected: f64, what: &str) {
    assert!((found - expected).abs() < 1e-9, "{what}: {found}, expected {expected}");
}

fn ranking(results: &[(&str, f32)]) -> Vec<(String, f32)> {
    results.iter().map(|(id, score)| ((*id).to_owned(), *score)).collect()
}

fn grades(judgements: &[(&str, i32)]) -> HashMap<String, i32> {
    judgements.iter().map(|(id, grade)| ((*id).to_owned(), *grade)).collect()
}

#[test]
fn each_query_measures_as_in_trec_eval() {
    let mut n_compared = 0;
    for entry in reference().queries {
        let (Some(ranking), Some(relevant), Some(expected)) =
            (entry.ranking, entry.relevant, entry.measures)
        else {
            continue;
        };
        let query = entry.query;
        let near = |found, expected, measure| {
            assert_near(found, expected, &format!("{measure} of {query}"));
        };
        near(ndcg(&ranking, &relevant, 10), expected.ndcg_10, "ndcg@10");
        near(recall(&ranking, &relevant, 10), expected.recall_10, "recall@10");
        near(recall(&ranking, &relevant, 100), expected.recall_100, "recall@100");
        near(reciprocal_rank(&ranking, &relevant, 10), expected.mrr_10, "mrr@10");
        n_compared += 1;
    }
    assert_eq!(n_compared, 39);
}

#[test]
fn means_count_the_queries_that_trec_eval_counts() {
    let reference = reference();
    let mut run = Vec::new();
    let mut qrels = HashMap::new();
    for entry in reference.queries {
        if let Some(ranking) = entry.ranking {
            run.push((entry.query.clone(), ranking));
        }
        if let Some(relevant) = entry.relevant {
            qrels.insert(entry.query, relevant);
        }
    }
    let found = Retrieval::of(&run, &qrels);
    assert_eq!(found.n_queries, reference.n_evaluated);
    assert!(run.len() > found.n_queries && qrels.len() > found.n_queries);
    assert_near(found.ndcg10, reference.means.ndcg_10, "ndcg@10");
    assert_near(found.recall10, reference.means.recall_10, "recall@10");
    assert_near(found.recall100, reference.means.recall_100, "recall@100");
    assert_near(found.mrr10, reference.means.mrr_10, "mrr@10");
}

#[test]
fn correlations_are_those_of_scipy() {
    for (i, Correlation { x, y, rho }) in reference().spearman.iter().enumerate() {
        let found = spearman(x, y);
        assert_eq!(found.is_some(), rho.is_some(), "correlation {i}");
        assert_near(found.unwrap_or(0.0), rho.unwrap_or(0.0), &format!("correlation {i}"));
    }
}

#[test]
fn a_ranking_is_measured_by_hand() {
    let found = ranking(&[("c", 0.1), ("a", 0.9), ("b", 0.5)]);
    let relevant = grades(&[("b", 2), ("c", 1), ("elsewhere", 3)]);
    let expected =
        (2.0 / 3_f64.log2() + 1.0 / 4_f64.log2()) / (3.0 + 2.0 / 3_f64.log2() + 1.0 / 4_f64.log2());
    assert_near(ndcg(&found, &relevant, 10), expected, "ndcg@10");
    assert_near(ndcg(&found, &relevant, 1), 0.0, "ndcg@1");
    assert_near(recall(&found, &relevant, 2), 1.0 / 3.0, "recall@2");
    assert_near(reciprocal_rank(&found, &relevant, 10), 0.5, "reciprocal rank");
}

#[test]
fn zero_and_minus_zero_are_equal_scores() {
    let found = ranking(&[("a", 0.0), ("b", -0.0)]);
    assert_eq!(reciprocal_rank(&found, &grades(&[("b", 1)]), 10), 1.0);
}

#[test]
fn no_queries_have_zero_means() {
    let found = Retrieval::of(&[], &HashMap::new());
    assert_eq!((found.n_queries, found.ndcg10, found.mrr10), (0, 0.0, 0.0));
}

#[test]
fn too_few_values_have_no_correlation() {
    assert_eq!(spearman(&[], &[]), None);
    assert_eq!(spearman(&[1.0], &[2.0]), None);
}

#[derive(Deserialize)]
struct Learners {
    classes: Vec<Classes>,
}

#[derive(Deserialize)]
struct Classes {
    #[serde(rename = "true")]
    expected: Vec<usize>,
    found: Vec<usize>,
    accuracy: f64,
    macro_f1: f64,
    v_measure: f64,
}

#[test]
fn classes_are_measured_as_in_scikit_learn() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reference/learners.json");
    let learners: Learners = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(learners.classes.len(), 9);
    for (i, case) in learners.classes.iter().enumerate() {
        let near = |found, expected, measure| {
            assert_near(found, expected, &format!("{measure} of case {i}"));
        };
        near(accuracy(&case.expected, &case.found), case.accuracy, "accuracy");
        near(macro_f1(&case.expected, &case.found), case.macro_f1, "macro F1");
        near(v_measure(&case.expected, &case.found), case.v_measure, "V-measure");
    }
}
