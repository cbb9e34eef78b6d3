//! The ladder on retrieval sets, with nano: `GEMMULE_LADDER=SETS/cosqa_dev,SETS/se_beer cargo test
//! --release -p gemmule-engine ladder_on -- --nocapture` prints a table; `GEMMULE_PLANTED=SETS/se_beer`
//! does it with invented words. `GEMMULE_LADDER_RUNGS` names rungs.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use half::f16;

use super::*;
use crate::eval::{Beir, BeirDocument};

/// A set's documents as a collection of nano keeps them: in f16, and cut to 128 in int8.
fn stored(embedder: &Embedder, documents: &[BeirDocument]) -> Documents {
    let tokens: Vec<Tokens> = documents
        .iter()
        .map(|document| {
            let title = Some(&*document.title).filter(|title| !title.is_empty());
            let prompt = embedder.document_prompt(title).unwrap();
            embedder.tokenize_truncated(&prompt, &document.text).unwrap()
        })
        .collect();
    let vectors = embedder.embed(&tokens, |_, _| true).unwrap();
    let full = vectors.iter().flatten().map(|&x| f16::from_f32(x).to_f32()).collect();
    let codes = |vector: &Vec<f32>| {
        let largest = vector[..128].iter().fold(f32::MIN_POSITIVE, |a, x| a.max(x.abs()));
        vector[..128].iter().map(move |x| (x / largest * 127.0).round()).collect::<Vec<f32>>()
    };
    let codes = vectors.iter().flat_map(codes).collect();
    let form = |name: &str, values, n_cols| Form {
        name: name.to_owned(),
        rows: Matrix { values, n_rows: documents.len(), n_cols },
    };
    let forms = vec![form("384 f16", full, embedder.full_width()), form("128 int8", codes, 128)];
    let ids = documents.iter().map(|document| document.id.clone()).collect();
    Documents::new(ids, (0..documents.len() as u32).collect(), forms)
}

/// Tries all rungs on these queries by five folds, and prints what they give.
fn climb(
    name: &str,
    embedder: &Embedder,
    documents: &Documents,
    mut queries: Vec<Query>,
) -> Report {
    let dropped = keep_known(&mut queries, documents);
    let prompt = embedder.prompt("query").unwrap();
    let tokens: Vec<Tokens> =
        queries.iter().map(|q| embedder.tokenize_truncated(prompt, &q.text).unwrap()).collect();
    let embed = |places: &[usize], adapter: Option<&Adapter>| -> crate::Result<Matrix> {
        let tokens: Vec<Tokens> = places.iter().map(|&i| tokens[i].clone()).collect();
        let rows = embedder.embed_with(&tokens, &vec![adapter; tokens.len()], |_, _| true)?;
        Ok(Matrix { values: rows.concat(), n_rows: rows.len(), n_cols: embedder.full_width() })
    };
    let all: Vec<usize> = (0..queries.len()).collect();
    let vectors = embed(&all, None).unwrap();
    let place = Before::open("nano", &tokens, Precision::Bf16).unwrap();
    let linked = |places: &[usize], link: &Link| {
        embed(places, Some(&Adapter { link: Some(link.clone()), head: None }))
    };
    let model = Some(Model { place: &place, embed: &linked });
    let problem = Problem { queries: &queries, vectors: &vectors, documents, model };
    let mut options = Options { deal: Deal::Folds(5), ..Options::for_queries(queries.len()) };
    if let Ok(names) = std::env::var("GEMMULE_LADDER_RUNGS") {
        options.rungs.retain(|rung| names.split(',').any(|name| name == rung.to_string()));
    }
    let began = Instant::now();
    let tell = |step: &Step| {
        let Step { rung, n_done, n_splits, gain } = step;
        println!("{name} {rung}: {n_done} of {n_splits}, {gain:+.4}, {:.0?}", began.elapsed());
    };
    let report = tune(&problem, &options, &Watch { tell: &tell, is_over: &|| false }).unwrap();
    println!(
        "{name}: {} queries in {} groups, dropped {dropped:?}",
        report.n_queries, report.n_groups
    );
    for rung in &report.rungs {
        let show = |delta: &Delta| {
            let (low, high) = delta.interval;
            format!(
                "{:.4} {:+.4} [{low:+.4}, {high:+.4}] n {}",
                delta.base,
                delta.gain(),
                delta.n_queries
            )
        };
        println!(
            "| {name} | {} | {} p {:.4} | seen {} | unseen {} | int8 {:+.4} | cos {:.3} | strengths {:?} | dev {:+.4} p {:.4}",
            rung.rung,
            show(&rung.test),
            rung.test.p,
            show(&rung.seen),
            show(&rung.unseen),
            rung.forms[1].1.gain(),
            rung.cosine,
            rung.strengths,
            rung.dev.gain(),
            rung.dev.p,
        );
    }
    println!("{name}: {:?}", report.verdict);
    report
}

#[test]
fn ladder_on_sets() {
    let Ok(names) = std::env::var("GEMMULE_LADDER") else {
        println!("skipped: GEMMULE_LADDER names no folders of sets");
        return;
    };
    let embedder = Embedder::open("nano").unwrap();
    for folder in names.split(',').map(Path::new) {
        let name = folder.file_name().unwrap().to_string_lossy();
        let documents = stored(&embedder, &Beir::read_documents(folder).unwrap());
        climb(&name, &embedder, &documents, Data::read_beir(folder).unwrap().queries);
    }
}

/// Invented names for words that stand in many queries: no document has them, so only tuning can say
/// what they mean. For se_beer, named by `GEMMULE_PLANTED`.
#[test]
fn ladder_on_a_planted_vocabulary() {
    let Some(folder) = std::env::var_os("GEMMULE_PLANTED") else {
        println!("skipped: GEMMULE_PLANTED names no folder");
        return;
    };
    let folder = Path::new(&folder);
    let names: HashMap<&str, &str> = [
        ("beer", "zorvex"),
        ("beers", "zorvexi"),
        ("brewing", "quandling"),
        ("brew", "quandle"),
        ("yeast", "mibbret"),
        ("hops", "trelkin"),
        ("bottle", "ospary"),
        ("bottles", "osparys"),
        ("alcohol", "vennoth"),
        ("ale", "drimmock"),
        ("lager", "plessicar"),
        ("glass", "yonder-kep"),
        ("taste", "smurrow"),
    ]
    .into();
    let mut queries = Data::read_beir(folder).unwrap().queries;
    let mut n_named = 0;
    for query in &mut queries {
        let renamed = query.text.split(' ').map(|word| {
            let bare = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
            names
                .get(&*bare)
                .map_or(word.to_owned(), |name| word.to_lowercase().replace(&bare, name))
        });
        let renamed = renamed.collect::<Vec<_>>().join(" ");
        n_named += usize::from(renamed != query.text);
        query.text = renamed;
    }
    println!("{n_named} of {} queries have an invented name", queries.len());
    let embedder = Embedder::open("nano").unwrap();
    let documents = stored(&embedder, &Beir::read_documents(folder).unwrap());
    let report = climb("planted", &embedder, &documents, queries);
    assert!(report.adapter.is_some(), "{:?}", report.verdict);
}
