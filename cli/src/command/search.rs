//! `gemmule search`: the passages that come closest to a question.

mod explain;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::bail;
use gemmule::engine::ingest::FileState;
use gemmule::storage::Lexicon;
use gemmule::{Answer, Collection, Filter, Hit, StoredChunk};
use serde_json::{Value, json};

use self::explain::Explanation;
use super::{as_of, index, open_collection};
use crate::args::{Global, Mode, Search};
use crate::output::{Output, Usage};
use crate::{Done, ids, interrupt, rows, text};

/// Lines of a passage that people are shown.
const SNIPPET_LINES: usize = 3;

pub(crate) fn run(global: &Global, flags: &Search, output: &mut Output) -> anyhow::Result<Done> {
    let how = &flags.how;
    let indexes = how.model.is_some() || how.dims.is_some() || how.quant.is_some();
    let indexes = indexes || how.chunk_tokens.is_some();
    if flags.within.is_none() && indexes {
        bail!(Usage("--model, --dims, --quant and --chunk-tokens go with --in PATH".to_owned()));
    }
    if flags.vector.is_some() && flags.mode == Mode::Text {
        bail!(Usage("--vector goes with --mode hybrid and vector".to_owned()));
    }
    let (db, collection) = match &flags.within {
        None => open_collection(global, flags.how.precision, output)?,
        Some(path) => {
            interrupt::listen()?;
            let paths = std::slice::from_ref(path);
            let opened = index::prepare(global, paths, &flags.how)?;
            if refresh(&opened.1, paths, flags, output)? {
                return Ok(index::stopped(output));
            }
            opened
        }
    };
    let vector = flags.vector.as_deref().map(rows::one_vector).transpose()?;
    // The model's loading is not part of the search's time.
    if flags.mode != Mode::Text && vector.is_none() {
        collection.embedder()?;
    }
    let began = Instant::now();
    let filter = filter(flags)?;
    let answer = request(&collection, flags, vector, filter.as_deref()).run()?;
    let millis = began.elapsed().as_secs_f64() * 1000.0;
    let explain = || Explanation::new(&db, &collection, &global.collection, filter.as_deref());
    let explanation = flags.explain.then(explain).transpose()?;
    let paths = paths_of(&collection, &answer)?;
    if output.json {
        let hits: Vec<Value> = answer.hits.iter().map(|hit| to_json(hit, &paths, flags)).collect();
        let mut value = json!({
            "hits": hits,
            "exact": answer.exact,
            "compared": answer.compared,
            "left_out": answer.n_left_out,
            "millis": millis,
            "as_of": as_of(&db),
        });
        if let Some(explanation) = explanation {
            value["explain"] = explanation.to_json();
        }
        output.value(&value)?;
    } else {
        print(&answer, &paths, flags, output)?;
        if explanation.is_some() && !answer.hits.is_empty() {
            output.line("")?;
        }
        for line in explanation.iter().flat_map(|told| told.lines(&answer, millis)) {
            output.line(output.dim(&line))?;
        }
    }
    Ok(Done::Whole)
}

/// Brings the folder into step before it is searched; true if the user stopped it.
fn refresh(
    collection: &Collection,
    paths: &[PathBuf],
    flags: &Search,
    output: &Output,
) -> anyhow::Result<bool> {
    let began = Instant::now();
    let ledger = index::sync(collection, paths, &flags.how, output)?;
    let has_changed = ledger.files.iter().any(|file| file.state != FileState::Unchanged);
    if has_changed && !ledger.stopped {
        index::report(&ledger, began.elapsed().as_secs_f64(), output);
    }
    Ok(ledger.stopped)
}

fn request<'a>(
    collection: &'a Collection,
    flags: &Search,
    vector: Option<Vec<f32>>,
    filter: Option<&str>,
) -> gemmule::Search<'a> {
    let request = collection.search(words(flags)).limit(flags.k).fusion(flags.mode.into());
    let mut request = request.context(flags.context).diversity(flags.diversity);
    if let Some(n_tokens) = flags.max_tokens {
        request = request.max_tokens(n_tokens);
    }
    if let Some(vector) = vector {
        request = request.vector(vector);
    }
    if flags.exact {
        request = request.exact();
    }
    if flags.group.is_some() {
        request = request.group_by_document();
    }
    if let Some(filter) = filter {
        request = request.filter(filter);
    }
    request
}

/// The query, empty if there is only a vector.
fn words(flags: &Search) -> &str {
    flags.query.as_deref().unwrap_or_default()
}

/// All that a passage has to pass, as one filter.
fn filter(flags: &Search) -> Result<Option<String>, gemmule::Error> {
    let asked = flags.filter.as_deref().map(str::parse::<Filter>).transpose()?;
    let below = flags.within.as_ref().map(|path| Filter::below(&text::absolute(path)));
    let both = match (asked, below) {
        (Some(asked), Some(below)) => Some(below.and(asked)),
        (asked, below) => asked.or(below),
    };
    Ok(both.map(|filter| filter.to_string()))
}

/// The paths of the documents that are files, by id.
fn paths_of(
    collection: &Collection,
    answer: &Answer,
) -> Result<HashMap<String, String>, gemmule::Error> {
    let mut paths = HashMap::new();
    for hit in &answer.hits {
        if !paths.contains_key(&hit.document)
            && collection.get(&hit.document)?.is_some_and(|info| info.source.is_some())
        {
            // A file's id is its path.
            paths.insert(hit.document.clone(), hit.document.clone());
        }
    }
    Ok(paths)
}

fn to_json(hit: &Hit, paths: &HashMap<String, String>, flags: &Search) -> Value {
    let chunk = &hit.chunk;
    let mut value = json!({
        "id": ids::of_chunk(&hit.document, chunk.chunk_idx),
        "score": hit.score,
        "path": paths.get(&hit.document),
        "range": [chunk.range.start, chunk.range.end],
        "page": chunk.page,
        "heading": heading(chunk),
        "text": chunk.text,
    });
    if flags.explain {
        value["explain"] = explain::hit_to_json(hit);
    }
    if flags.context > 0 {
        let texts = |chunks: &[StoredChunk]| -> Vec<String> {
            chunks.iter().map(|chunk| chunk.text.clone()).collect()
        };
        value["before"] = json!(texts(&hit.before));
        value["after"] = json!(texts(&hit.after));
    }
    value
}

/// The headings above a chunk on one line, if it has any.
pub(super) fn heading(chunk: &StoredChunk) -> Option<String> {
    (!chunk.headings.is_empty()).then(|| chunk.headings.join(" > "))
}

fn print(
    answer: &Answer,
    paths: &HashMap<String, String>,
    flags: &Search,
    output: &mut Output,
) -> anyhow::Result<()> {
    if answer.hits.is_empty() && answer.n_left_out == 0 {
        output.note("no hits");
    }
    if answer.n_left_out > 0 {
        let n = text::counted(answer.n_left_out, "hit");
        output.note(format_args!("{n} left out: with them the text would be over --max-tokens"));
    }
    let columns = text::columns();
    let rank_width = answer.hits.len().to_string().len();
    let indent = " ".repeat(rank_width + 2);
    for (rank, hit) in (1..).zip(&answer.hits) {
        if rank > 1 {
            output.line("")?;
        }
        let place = paths.get(&hit.document).unwrap_or(&hit.document);
        let place = output.bold(&text::relative(place));
        let page = hit.chunk.page.map(|page| format!(", page {page}")).unwrap_or_default();
        output.line(format_args!("{rank:>rank_width$}  {:.3}  {place}{page}", hit.score))?;
        if let Some(heading) = heading(&hit.chunk) {
            let heading = text::shortened(&heading, columns - indent.len());
            output.line(format_args!("{indent}{}", output.dim(&heading)))?;
        }
        if flags.explain {
            output.line(format_args!("{indent}{}", output.dim(&explain::hit_line(hit))))?;
        }
        let chunks = hit.before.iter().chain([&hit.chunk]).chain(&hit.after);
        for chunk in chunks {
            for line in text::snippet(&chunk.text, columns - indent.len(), SNIPPET_LINES) {
                let line =
                    if flags.mode == Mode::Vector { line } else { marked(&line, flags, output) };
                output.line(format_args!("{indent}{line}"))?;
            }
        }
    }
    Ok(())
}

/// A line of a passage with the words that were looked for in bold.
fn marked(line: &str, flags: &Search, output: &Output) -> String {
    let mut marked = String::with_capacity(line.len());
    let mut end = 0;
    for found in Lexicon::marks(line, words(flags)) {
        marked.push_str(&line[end..found.start]);
        marked.push_str(&output.bold(&line[found.clone()]));
        end = found.end;
    }
    marked + &line[end..]
}
