//! The whole ladder on problems whose answer is known: something to learn, or nothing.

use std::ops::Range;

use super::super::documents::Form;
use super::super::head::to_unit;
use super::super::place::LossOf;
use super::super::query::Positive;
use super::*;
use crate::random::Random;

const WIDTH: usize = 24;
const HALF: usize = WIDTH / 2;

fn unit_row(random: &mut Random) -> Vec<f32> {
    let mut row: Vec<f32> = (0..WIDTH).map(|_| random.normal() as f32).collect();
    to_unit(&mut row);
    row
}

fn matrix(rows: Vec<Vec<f32>>) -> Matrix {
    Matrix { n_rows: rows.len(), n_cols: rows[0].len(), values: rows.concat() }
}

/// Documents in two forms: full, and cut in half.
fn stored(rows: &[Vec<f32>]) -> Documents {
    let ids = (0..rows.len()).map(|i| format!("d{i}")).collect();
    let half = rows.iter().map(|row| row[..HALF].to_vec()).collect();
    let form = |name: &str, rows: Vec<Vec<f32>>| Form { name: name.to_owned(), rows: matrix(rows) };
    let forms = vec![form("24", rows.to_vec()), form("12", half)];
    Documents::new(ids, (0..rows.len() as u32).collect(), forms)
}

fn query(i: usize, document: usize) -> Query {
    let positive = Positive { document: format!("d{document}"), grade: 1, weight: 1.0 };
    Query { text: format!("query {i}"), positives: vec![positive], ..Query::default() }
}

/// Queries lie where their documents are, turned by the same map, with noise: the map can be learnt.
fn turned(n_queries: usize, seed: u64) -> (Vec<Query>, Matrix, Documents) {
    let mut random = Random::new(seed);
    let rows: Vec<Vec<f32>> = (0..300).map(|_| unit_row(&mut random)).collect();
    let turn: Vec<Vec<f32>> = (0..WIDTH).map(|_| unit_row(&mut random)).collect();
    let vector = |i: usize, random: &mut Random| {
        let row = &rows[i];
        let mapped = turn.iter().map(|t| t.iter().zip(row).map(|(t, x)| t * x).sum::<f32>());
        let noise = unit_row(random);
        let mut vector: Vec<f32> =
            mapped.zip(row).zip(noise).map(|((y, x), n)| 0.7 * x + y + 0.7 * n).collect();
        to_unit(&mut vector);
        vector
    };
    let vectors = (0..n_queries).map(|i| vector(i, &mut random)).collect();
    ((0..n_queries).map(|i| query(i, i)).collect(), matrix(vectors), stored(&rows))
}

const WATCH: Watch = Watch { tell: &|_| {}, is_over: &|| false };

fn cheap() -> Options {
    let rungs = vec![Rung::Ridge, Rung::Head(8)];
    Options { rungs, deal: Deal::Folds(5), n_seeds: 1, seed: 3 }
}

#[test]
fn what_can_be_learnt_is_accepted() {
    let (queries, vectors, documents) = turned(200, 1);
    let problem =
        Problem { queries: &queries, vectors: &vectors, documents: &documents, model: None };
    let told = std::sync::Mutex::new(Vec::new());
    let watch = Watch { tell: &|step| told.lock().unwrap().push(step.clone()), ..WATCH };
    let report = tune(&problem, &cheap(), &watch).unwrap();
    assert!(matches!(report.verdict, Verdict::Accepted(_)), "{report:#?}");
    let adapter = report.adapter.clone().unwrap();
    assert!(adapter.link.is_none() && adapter.head.is_some());
    for rung in &report.rungs {
        // Each query has a document of its own, so none is seen.
        assert_eq!((rung.test.n_queries, rung.seen.n_queries), (200, 0));
        assert_eq!(rung.unseen, rung.test);
        assert_eq!(rung.forms[0], ("24".to_owned(), rung.test.clone()));
    }
    assert_eq!(told.into_inner().unwrap().len(), 10);
    assert_eq!(report, tune(&problem, &cheap(), &WATCH).unwrap());
    let hold_out = Options { deal: Deal::HoldOut, ..cheap() };
    let report = tune(&problem, &hold_out, &WATCH).unwrap();
    assert_eq!(report.rungs[0].dev.n_queries + report.rungs[0].test.n_queries, 60);
}

/// Shuffled labels must not get through: `GEMMULE_SHUFFLE_ROUNDS=100` for the long form.
#[test]
fn shuffled_labels_are_refused() {
    let n_rounds = std::env::var("GEMMULE_SHUFFLE_ROUNDS").ok().and_then(|n| n.parse().ok());
    let n_rounds: u64 = n_rounds.unwrap_or(8);
    let (queries, vectors, documents) = turned(200, 1);
    let mut n_accepted = 0;
    for round in 0..n_rounds {
        let mut labels: Vec<usize> = (0..200).collect();
        Random::new(round).shuffle(&mut labels);
        let queries: Vec<Query> = (0..200)
            .map(|i| Query { text: queries[i].text.clone(), ..query(i, labels[i]) })
            .collect();
        let problem =
            Problem { queries: &queries, vectors: &vectors, documents: &documents, model: None };
        let report = tune(&problem, &Options { seed: round, ..cheap() }, &WATCH).unwrap();
        n_accepted += u64::from(report.adapter.is_some());
    }
    println!("{n_accepted} of {n_rounds} shuffles were accepted");
    assert!(n_accepted * 100 <= n_rounds * 2, "{n_accepted} of {n_rounds} were accepted");
}

#[test]
fn few_queries_prove_nothing_but_are_measured() {
    let (queries, vectors, documents) = turned(49, 1);
    let problem =
        Problem { queries: &queries, vectors: &vectors, documents: &documents, model: None };
    let report = tune(&problem, &cheap(), &WATCH).unwrap();
    assert_eq!(report.verdict, Verdict::Kept(Reason::TooFewQueries(49)));
    assert!(report.adapter.is_none() && report.rungs[0].test.n_queries == 49);
}

#[test]
fn when_the_time_is_up_no_further_rung_is_tried() {
    let (queries, vectors, documents) = turned(60, 1);
    let problem =
        Problem { queries: &queries, vectors: &vectors, documents: &documents, model: None };
    let watch = Watch { is_over: &|| true, ..WATCH };
    let report = tune(&problem, &cheap(), &watch).unwrap();
    assert!(report.is_cut && report.rungs.is_empty() && report.adapter.is_none());
}

/// A model without layers: a query is the mean of its tokens' rows.
struct Bag {
    table: Vec<Vec<f32>>,
    tokens: Vec<Vec<usize>>,
}

impl Bag {
    fn rows(&self, query: usize) -> Vec<f32> {
        self.tokens[query].iter().flat_map(|&token| self.table[token].clone()).collect()
    }

    fn mean(rows: &[f32]) -> Vec<f32> {
        let mut mean = vec![0.0; WIDTH];
        let n_rows = (rows.len() / WIDTH) as f32;
        for row in rows.chunks(WIDTH) {
            mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x / n_rows);
        }
        mean
    }
}

impl Place for Bag {
    fn width(&self) -> usize {
        WIDTH
    }

    fn vectors(&self, queries: &[usize], link: &Link) -> Result<Matrix> {
        let vector = |&query: &usize| {
            let mut rows = self.rows(query);
            link.apply(&mut rows);
            Bag::mean(&rows)
        };
        Ok(matrix(queries.iter().map(vector).collect()))
    }

    fn learn(
        &self,
        queries: &[usize],
        links: &[Link],
        loss: &LossOf,
        gradients: &mut [Link],
    ) -> Result<Matrix> {
        let mut vectors = Vec::new();
        for (i, (&query, gradient)) in queries.iter().zip(gradients).enumerate() {
            let before = self.rows(query);
            let mut rows = before.clone();
            links[i].apply(&mut rows);
            let mean = Bag::mean(&rows);
            let mut of_mean = vec![0.0; WIDTH];
            loss(i, &mean, &mut of_mean);
            let n_tokens = self.tokens[query].len();
            let of_row: Vec<f32> = of_mean.iter().map(|g| g / n_tokens as f32).collect();
            links[i].add_gradient(&before, &of_row.repeat(n_tokens), gradient);
            vectors.push(mean);
        }
        Ok(matrix(vectors))
    }

    fn shift(&self, queries: &[usize], link: &Link) -> f64 {
        let rows: Vec<f32> = queries.iter().flat_map(|&query| self.rows(query)).collect();
        link.shift(&rows)
    }
}

/// Tokens of the planted vocabulary, and what they mean.
const WORDS: Range<usize> = 0..40;
const ACRONYMS: usize = 4;

/// A document is three words. A query is three words of its document, the first of which has an invented
/// name instead, if it has one; names are 4, and stand in most queries.
fn planted() -> (Vec<Query>, Bag, Documents) {
    let mut random = Random::new(11);
    let table: Vec<Vec<f32>> = (0..WORDS.end + ACRONYMS).map(|_| unit_row(&mut random)).collect();
    let words: Vec<Vec<usize>> =
        (0..300).map(|i| vec![i % ACRONYMS, 4 + random.below(36), 4 + random.below(36)]).collect();
    let tokens = words.iter().map(|w| vec![WORDS.end + w[0], w[1], w[2]]).collect();
    let bag = Bag { table, tokens };
    let row = |words: &Vec<usize>| {
        Bag::mean(&words.iter().flat_map(|&w| bag.table[w].clone()).collect::<Vec<f32>>())
    };
    let documents = stored(&words.iter().map(row).collect::<Vec<_>>());
    ((0..300).map(|i| query(i, i)).collect(), bag, documents)
}

#[test]
fn a_planted_vocabulary_is_learnt_and_helps_on_documents_never_seen() {
    let (queries, bag, documents) = planted();
    let all: Vec<usize> = (0..queries.len()).collect();
    let embed = |places: &[usize], link: &Link| {
        let mut vectors = bag.vectors(places, link)?;
        vectors.values.chunks_exact_mut(WIDTH).for_each(to_unit);
        Ok(vectors)
    };
    let vectors = embed(&all, &Link::new(WIDTH, 1, 0)).unwrap();
    let model = Some(Model { place: &bag, embed: &embed });
    let problem = Problem { queries: &queries, vectors: &vectors, documents: &documents, model };
    let options = Options { rungs: vec![Rung::Link(4)], ..cheap() };
    let report = tune(&problem, &options, &WATCH).unwrap();
    assert!(matches!(report.verdict, Verdict::Accepted(Rung::Link(4))), "{report:#?}");
    assert!(report.rungs[0].unseen.gain() > 0.05, "{report:#?}");
    assert!(report.adapter.unwrap().link.is_some());
}
