//! `gemmule tune`: adapt a collection's queries, and look after the links that come of it.

mod report;

use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, bail};
use gemmule::adalink::{Adapter, Deal, Options, Rung, Step, Watch};
use gemmule::engine::eval::{Beir, BeirDocument};
use gemmule::engine::package::export::{self, Dtype, Formats};
use gemmule::{Collection, Data, Database, Document};
use serde_json::json;

use super::{collection_of, open_to_change};
use crate::args::Global;
use crate::args::tune::{
    Method, Queries, Tune, TuneBake, TuneCommand, TuneEval, TuneInstall, TuneMerge, TuneRun,
};
use crate::output::{Output, Usage};
use crate::progress::Bar;
use crate::{Done, interrupt, text};

pub(crate) fn run(global: &Global, flags: &Tune, output: &mut Output) -> anyhow::Result<Done> {
    if let TuneCommand::Run(TuneRun { add_corpus: Some(folder), .. }) = &flags.command {
        add_corpus(global, folder, output)?;
    }
    let db = open_to_change(global)?;
    let collection = collection_of(&db, global)?;
    match &flags.command {
        TuneCommand::Run(flags) => tune(&collection, flags, output),
        TuneCommand::Eval(flags) => eval(&collection, flags, output),
        TuneCommand::Install(flags) => install(&collection, flags, output),
        TuneCommand::Rollback => {
            collection.roll_back_link()?;
            say_active(&collection, output)
        }
        TuneCommand::Merge(flags) => merge(&collection, flags, output),
        TuneCommand::Bake(flags) => bake(&collection, flags, output),
    }
}

/// Documents that are added at once.
const BATCH: usize = 1024;

fn add_corpus(global: &Global, folder: &Path, output: &Output) -> anyhow::Result<()> {
    let db = Database::open(&global.db)?;
    let collection = db.collection(&global.collection)?;
    let documents = Beir::read_documents(folder)?;
    let bar = Bar::of_texts(output, "adding", documents.len());
    for (batch_idx, batch) in documents.chunks(BATCH).enumerate() {
        let document = |from: &BeirDocument| {
            let document = Document::new(&from.id, &from.text);
            if from.title.is_empty() { document } else { document.title(&from.title) }
        };
        let ledger = collection.add(batch.iter().map(document))?;
        for (file, reason) in ledger.files.iter().filter_map(|f| Some((f, f.reason.as_ref()?))) {
            output
                .note(format_args!("{}: {reason}", text::printable(&file.path.to_string_lossy())));
        }
        bar.show_texts((batch_idx * BATCH + batch.len()).min(documents.len()), 0);
    }
    // What is learnt is judged on the documents as they are kept: in a segment, as int8 too.
    collection.seal()?;
    Ok(())
}

fn read(queries: &Queries) -> anyhow::Result<Data> {
    let Queries { data, qrels, clicks } = queries;
    Ok(match (data, qrels, clicks) {
        (Some(path), ..) => Data::read_pairs(path)?,
        (_, Some(path), _) => Data::read_beir(path)?,
        (.., Some(path)) => Data::read_clicks(path)?,
        _ => bail!(Usage("name the queries with --data, --qrels or --clicks".to_owned())),
    })
}

/// Fits what is tried to the flags.
fn choose(options: &mut Options, flags: &TuneRun, is_divided: bool) {
    let all = [Rung::Ridge, Rung::Head(8), Rung::Link(4), Rung::LinkAndRidge(4)];
    options.rungs.retain(|rung| flags.method.allows(*rung));
    if flags.method != Method::Auto && options.rungs.is_empty() {
        // Few queries: asked for by name, it is tried all the same, at its smallest.
        options.rungs = all.into_iter().filter(|rung| flags.method.allows(*rung)).collect();
    }
    if let Some(rank) = flags.rank {
        for rung in &mut options.rungs {
            *rung = match rung {
                Rung::Ridge => Rung::Ridge,
                Rung::Head(_) => Rung::Head(rank),
                Rung::Link(_) => Rung::Link(rank),
                Rung::LinkAndRidge(_) => Rung::LinkAndRidge(rank),
            };
        }
        options.rungs.dedup();
    }
    options.n_seeds = flags.seeds as u64;
    options.seed = flags.seed;
    if is_divided {
        options.deal = Deal::AsGiven;
    }
    if let Some(n_folds) = flags.folds {
        options.deal = Deal::Folds(n_folds as usize);
    }
}

fn tune(collection: &Collection, flags: &TuneRun, output: &mut Output) -> anyhow::Result<Done> {
    interrupt::listen()?;
    let data = read(&flags.queries)?;
    // A folder that says what is to be learnt from and what is to be tested is taken at its word.
    let has = |part| data.queries.iter().any(|query| query.part == Some(part));
    let is_divided = has(gemmule::adalink::Part::Train) && has(gemmule::adalink::Part::Test);
    let began = Instant::now();
    let is_late = || flags.budget.is_some_and(|budget| began.elapsed() >= budget);
    let shown = Mutex::new(&*output);
    let tell = |step: &Step| {
        if let Ok(output) = shown.lock() {
            output.note(report::step(step, began.elapsed().as_secs_f64()));
        }
    };
    let watch = Watch { tell: &tell, is_over: &|| is_late() || interrupt::is_asked() };
    let tuned = collection.tune(data, |options| choose(options, flags, is_divided), &watch)?;
    if interrupt::is_asked() {
        output.note("stopped; nothing was installed");
        return Ok(Done::Stopped);
    }
    let mut installed = None;
    if let Some(link) = &tuned.link {
        if let Some(path) = &flags.out {
            let writing = || format!("could not write {}", path.display());
            std::fs::write(path, link).with_context(writing)?;
        }
        if !flags.dry_run {
            collection.install_link(&flags.name, link)?;
            installed = Some(&*flags.name);
        }
    }
    report::print(&tuned, installed, began.elapsed().as_secs_f64(), output)?;
    Ok(Done::Whole)
}

fn eval(collection: &Collection, flags: &TuneEval, output: &mut Output) -> anyhow::Result<Done> {
    let evaluated = collection.evaluate_link(flags.name.as_deref(), read(&flags.queries)?)?;
    report::print_evaluated(&evaluated, output)?;
    Ok(Done::Whole)
}

fn install(
    collection: &Collection,
    flags: &TuneInstall,
    output: &mut Output,
) -> anyhow::Result<Done> {
    match &flags.link {
        None => collection.use_link(None)?,
        Some(link) if collection.links()?.names.contains(link) && flags.name.is_none() => {
            collection.use_link(Some(link))?;
        }
        Some(link) => {
            let path = Path::new(link);
            let bytes = std::fs::read(path).with_context(|| {
                format!("the collection has no link '{link}', and it could not be read as a file")
            })?;
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            let name = flags.name.clone().or(stem).unwrap_or_default();
            collection.install_link(&name, &bytes)?;
        }
    }
    say_active(collection, output)
}

fn say_active(collection: &Collection, output: &mut Output) -> anyhow::Result<Done> {
    let links = collection.links()?;
    if output.json {
        let (active, previous) = (links.active, links.previous);
        output.value(&json!({ "active": active, "previous": previous, "links": links.names }))?;
    } else {
        match links.active {
            Some(name) => output.line(format_args!("queries go through {name}"))?,
            None => output.line("queries go through no link")?,
        }
    }
    Ok(Done::Whole)
}

fn merge(collection: &Collection, flags: &TuneMerge, output: &mut Output) -> anyhow::Result<Done> {
    let even = 1.0 / flags.links.len() as f32;
    let links: Vec<(String, f32)> =
        flags.links.iter().map(|(name, weight)| (name.clone(), weight.unwrap_or(even))).collect();
    let bytes = collection.merge_links(&links)?;
    collection.install_link(&flags.into, &bytes)?;
    say_active(collection, output)
}

fn bake(collection: &Collection, flags: &TuneBake, output: &mut Output) -> anyhow::Result<Done> {
    let out: &Path = &flags.out;
    if out.exists() {
        bail!("{} is there already: name another, or remove it first", out.display());
    }
    let name = match flags.name.clone().or(collection.links()?.active) {
        Some(name) => name,
        None => bail!("the collection's queries go through no link: name one with --name"),
    };
    let (adapter, about) = Adapter::from_bytes(&collection.link(&name)?)?;
    let model = &collection.space().model;
    // The model must be the one that the link was made for.
    collection.embedder()?;
    let is_gguf = out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    match (is_gguf, flags.to) {
        (true, to) => {
            let formats = Formats::uniform(to.map_or(Dtype::F32, Into::into));
            export::bake_to_gguf(model, &adapter, out, formats)?;
        }
        (false, None) => export::bake_to_folder(model, &adapter, &about, out)?,
        (false, Some(_)) => bail!(Usage(
            "a folder is written in f32; --to goes with a file that ends in .gguf".to_owned()
        )),
    }
    if output.json {
        output.value(&json!({ "path": out.display().to_string(), "link": name }))?;
    } else {
        output.line(format_args!(
            "{}  for queries only: documents are embedded by {} without it",
            text::printable(&out.display().to_string()),
            text::printable(model)
        ))?;
    }
    Ok(Done::Whole)
}
