//! Click logs: what people chose from a ranking, read as answers.
//!
//! ```text
//! {"query": "…", "doc_id": "…", "rank": 3, "clicked": true, "dwell_ms": 20000, "ts": 1700000000}
//! ```
//!
//! One line for each result that was shown, in the order of time. Lines of a query that follow each
//! other with growing ranks (and one `ts`, where there is one) are one ranking.
//!
//! People click what stands high, so a click counts `1 / p(rank)` with `p = rank^-0.7`, at most 10
//! (inverse propensity: Joachims, Swaminathan, Schnabel, WSDM 2017). One click may be a slip: a pair
//! counts if it was clicked twice or looked at for 15 seconds. A result that was passed over for a lower
//! one does not answer.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;

use super::data::{Queries, add_positive};
use super::query::Positive;
use crate::Result;
use crate::eval::lines::{for_each, json};

const PROPENSITY: f32 = 0.7;
const MOST_WEIGHT: f32 = 10.0;
const LONG_DWELL_MS: u64 = 15_000;
const ENOUGH_CLICKS: usize = 2;

#[derive(Deserialize)]
struct Line {
    query: String,
    doc_id: String,
    rank: u32,
    clicked: bool,
    dwell_ms: Option<u64>,
    ts: Option<f64>,
}

/// What a query and a document have in common.
#[derive(Default)]
struct Pair {
    n_clicks: usize,
    is_long: bool,
    weight: f32,
    /// Where it was first clicked, in lines.
    first: u64,
}

pub(super) fn read(path: &Path, queries: &mut Queries) -> Result<()> {
    let mut log = Log::default();
    for_each(path, "read the click log", |number, text| {
        let line: Line = json(text)?;
        log.check(&line)?;
        log.take(line, number);
        Ok(())
    })?;
    log.end_ranking();
    // In the order of their first click: the order of time is kept.
    let mut pairs: Vec<_> = log.pairs.into_iter().collect();
    pairs.sort_by_key(|(_, pair)| pair.first);
    let counts = |pair: &Pair| pair.n_clicks >= ENOUGH_CLICKS || pair.is_long;
    let mut chosen = HashSet::new();
    for ((query, document), pair) in pairs.into_iter().filter(|(_, pair)| counts(pair)) {
        chosen.insert((query.clone(), document.clone()));
        let weight = pair.weight.min(MOST_WEIGHT);
        add_positive(queries.of(&query), Positive { document, grade: 1, weight });
    }
    let mut passed: Vec<_> = log.passed.into_iter().filter(|pair| !chosen.contains(pair)).collect();
    passed.sort();
    for (query, document) in passed {
        queries.of(&query).negatives.push(document);
    }
    Ok(())
}

#[derive(Default)]
struct Log {
    /// The ranking that is being read.
    ranking: Vec<Line>,
    last_ts: Option<f64>,
    has_ts: Option<bool>,
    pairs: HashMap<(String, String), Pair>,
    passed: HashSet<(String, String)>,
}

impl Log {
    fn check(&mut self, line: &Line) -> Result<(), String> {
        if line.query.trim().is_empty() {
            return Err("the query is empty".to_owned());
        }
        if line.rank == 0 {
            return Err("rank 0; ranks begin at 1".to_owned());
        }
        if *self.has_ts.get_or_insert(line.ts.is_some()) != line.ts.is_some() {
            return Err(
                "some lines have ts and some have not; give it in all or in none".to_owned()
            );
        }
        if let (Some(before), Some(ts)) = (self.last_ts, line.ts)
            && ts < before
        {
            return Err(format!(
                "ts {ts} comes after {before}: the log must be in the order of time, since its end \
                 is what tuning is tested on; sort it by ts"
            ));
        }
        self.last_ts = line.ts;
        Ok(())
    }

    fn take(&mut self, line: Line, number: u64) {
        let goes_on = self.ranking.last().is_some_and(|last| {
            last.query == line.query && last.rank < line.rank && last.ts == line.ts
        });
        if !goes_on {
            self.end_ranking();
        }
        if line.clicked {
            let pair = self.pairs.entry((line.query.clone(), line.doc_id.clone())).or_default();
            if pair.n_clicks == 0 {
                pair.first = number;
            }
            pair.n_clicks += 1;
            pair.is_long |= line.dwell_ms.is_some_and(|ms| ms >= LONG_DWELL_MS);
            pair.weight += (line.rank as f32).powf(PROPENSITY);
        }
        self.ranking.push(line);
    }

    fn end_ranking(&mut self) {
        let ranking = std::mem::take(&mut self.ranking);
        let last = ranking.iter().rposition(|line| line.clicked).unwrap_or(0);
        let passed = ranking.into_iter().take(last).filter(|line| !line.clicked);
        self.passed.extend(passed.map(|line| (line.query, line.doc_id)));
    }
}
