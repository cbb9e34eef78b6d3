//! `gemmule model`: which models there are, bringing one here, checking and converting it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use gemmule::Embedder;
use gemmule::engine::hub::{self, Progress, Settings, Stage};
use gemmule::engine::model::{self, Balance, Verified};
use gemmule::engine::package::export::{self, Dtype, Formats};
use gemmule::engine::package::{NANO, Package};
use gemmule::engine::{Precision, package};
use serde_json::{Value, json};

use crate::Done;
use crate::args::{Convert, Model, ModelCommand, ModelName, Verify};
use crate::interrupt;
use crate::output::{Output, Usage};
use crate::progress::Bar;
use crate::text;

pub(crate) fn run(flags: &Model, output: &mut Output) -> anyhow::Result<Done> {
    match &flags.command {
        ModelCommand::List => list(output),
        ModelCommand::Pull(flags) => pull(flags, output),
        ModelCommand::Path(flags) => path(flags, output),
        ModelCommand::Verify(flags) => verify(flags, output),
        ModelCommand::Convert(flags) => convert(flags, output),
    }
}

fn list(output: &mut Output) -> anyhow::Result<Done> {
    let nano = Embedder::open(NANO)?;
    let settings = Settings::from_env()?;
    let mut models = vec![to_json(nano.package())];
    if !output.json {
        output.line(format_args!("{}  built in; {}", output.bold(NANO), about(nano.package())))?;
    }
    for known in hub::published() {
        let path = hub::find(known.name, &settings)?;
        if output.json {
            models.push(json!({
                "name": known.name,
                "repository": known.repo,
                "path": path.as_ref().map(|path| path.display().to_string()),
            }));
            continue;
        }
        let state = match &path {
            Some(path) => format!("in {}", path.display()),
            None => format!("not here: `gemmule model pull {}`", known.name),
        };
        output.line(format_args!("{}  {state}", output.bold(known.name)))?;
    }
    if output.json {
        output.value(&json!({ "models": models }))?;
        return Ok(Done::Whole);
    }
    output.note(
        "or give --model the path of a sentence-transformers folder or a GGUF file of EmbeddingGemma",
    );
    Ok(Done::Whole)
}

fn about(package: &Package) -> String {
    let widths: Vec<String> = package.widths.iter().map(usize::to_string).collect();
    format!(
        "widths {}; window {} tokens; {}",
        widths.join(", "),
        package.window,
        package.fingerprint
    )
}

fn to_json(package: &Package) -> Value {
    json!({
        "name": package.name,
        "widths": package.widths,
        "window": package.window,
        "fingerprint": package.fingerprint,
        "tasks": package.prompts.keys().collect::<Vec<_>>(),
    })
}

fn pull(flags: &ModelName, output: &mut Output) -> anyhow::Result<Done> {
    if flags.model == NANO {
        bail!(Usage(format!("{NANO} is built in: there is nothing to pull")));
    }
    interrupt::listen()?;
    let bar = Bar::of_bytes(output, &flags.model);
    let mut said = Instant::now();
    let mut told = |progress: Progress| {
        bar.show_bytes(progress.done, progress.total, &line(&progress));
        // Whoever reads a log wants to know that it lives, not every byte.
        if !output.shows_progress() && said.elapsed() > Duration::from_secs(10) {
            said = Instant::now();
            output.note(line(&progress));
        }
        !interrupt::is_asked()
    };
    let result = hub::pull(&flags.model, &Settings::from_env()?, &mut told);
    drop(bar);
    let pulled = match result {
        Err(gemmule::engine::Error::Cancelled) => {
            output.note("stopped; pull again to go on from here");
            return Ok(Done::Stopped);
        }
        result => result?,
    };
    if output.json {
        let files: Vec<Value> = pulled
            .files
            .iter()
            .map(|file| {
                let trust = trust(file.trust);
                json!({ "name": file.name, "bytes": file.bytes, "sha256": file.sha256, "trust": trust })
            })
            .collect();
        output.value(&json!({
            "path": pulled.path.display().to_string(),
            "repository": pulled.repo,
            "commit": pulled.commit,
            "files": files,
        }))?;
        return Ok(Done::Whole);
    }
    for file in &pulled.files {
        output.line(format_args!("{}  {}  {}", file.sha256, trust(file.trust), file.name))?;
    }
    output.line(pulled.path.display())?;
    Ok(Done::Whole)
}

fn trust(trust: hub::Trust) -> &'static str {
    match trust {
        hub::Trust::Pinned => "pinned",
        hub::Trust::Recorded => "recorded",
    }
}

/// One line about a download.
fn line(progress: &Progress) -> String {
    let of = match progress.total {
        0 => String::new(),
        total => format!(" of {}", text::bytes(total)),
    };
    match progress.stage {
        Stage::Locked => format!("{}: another process is pulling it, waiting", progress.file),
        Stage::Verifying => {
            format!("{}: checking {}{of}", progress.file, text::bytes(progress.done))
        }
        Stage::Downloading { .. } => {
            format!("{}: {}{of}", progress.file, text::bytes(progress.done))
        }
        Stage::Retrying { wait } => {
            format!("{}: no answer, again in {:.1} s", progress.file, wait.as_secs_f64())
        }
    }
}

fn path(flags: &ModelName, output: &mut Output) -> anyhow::Result<Done> {
    let path = package::find(&flags.model)?;
    if output.json {
        let path = path.as_ref().map(|path| path.display().to_string());
        output.value(&json!({ "model": flags.model, "path": path }))?;
        return Ok(Done::Whole);
    }
    match path {
        Some(path) => output.line(path.display())?,
        None => bail!("{} is built in: it lies nowhere", flags.model),
    }
    Ok(Done::Whole)
}

fn verify(flags: &Verify, output: &mut Output) -> anyhow::Result<Done> {
    let wanted: Vec<Precision> = match flags.precision.is_empty() {
        true => Precision::ALL.to_vec(),
        false => flags.precision.iter().map(|&name| name.into()).collect(),
    };
    let mut results = Vec::new();
    let mut done = Done::Whole;
    for precision in wanted {
        let Verified { report, image } = model::verify(&flags.model, precision)?;
        let bound = model::bound(precision);
        let passes = report.worst() >= bound;
        if !passes {
            done = Done::Part;
        }
        let count = |balance| report.balances.iter().filter(|&&b| b == balance).count();
        let [plain, folded, balanced] =
            [Balance::Plain, Balance::Folded, Balance::Balanced].map(count);
        let image = image.map(|path| path.display().to_string());
        if output.json {
            results.push(json!({
                "precision": precision.name(),
                "cosine_min": report.worst(),
                "cosine_mean": report.mean(),
                "bound": bound,
                "passes": passes,
                "texts": report.cosines.len(),
                "matrices": { "plain": plain, "folded": folded, "balanced": balanced },
                "prepared": image,
            }));
            continue;
        }
        let balances = match report.balances.is_empty() {
            true => String::new(),
            false => format!("; matrices: {plain} plain, {folded} folded, {balanced} balanced"),
        };
        output.line(format_args!(
            "{}  {}  cosine to f32 at least {:.6}, mean {:.6} (bound {bound}) on {}{balances}",
            output.bold(&format!("{:4}", precision.name())),
            if passes { "passes" } else { "FAILS " },
            report.worst(),
            report.mean(),
            text::counted(report.cosines.len(), "text"),
        ))?;
        output.flush()?;
    }
    if output.json {
        output.value(&json!({ "model": flags.model, "results": results }))?;
    }
    Ok(done)
}

fn convert(flags: &Convert, output: &mut Output) -> anyhow::Result<Done> {
    let out: &Path = &flags.out;
    if out.exists() {
        bail!("{} is there already: name another, or remove it first", out.display());
    }
    let is_gguf = out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    if is_gguf {
        let mut formats = Formats::uniform(flags.to.map_or(Dtype::F32, Into::into));
        formats.embedding = flags.table.map_or(formats.embedding, Into::into);
        export::to_gguf(&flags.model, out, formats)?;
    } else if flags.to.is_none() && flags.table.is_none() {
        export::to_folder(&flags.model, out)?;
    } else {
        bail!(Usage(
            "a folder is written in f32; --to and --table go with a file that ends in .gguf"
                .to_owned()
        ));
    }
    let n_bytes = size(out).with_context(|| format!("could not read {}", out.display()))?;
    if output.json {
        output.value(&json!({ "path": out.display().to_string(), "bytes": n_bytes }))?;
    } else {
        output.line(format_args!("{}  {}", out.display(), text::bytes(n_bytes)))?;
    }
    Ok(Done::Whole)
}

/// Bytes of a file, or of all files in a folder and its folders.
fn size(path: &Path) -> std::io::Result<u64> {
    if !path.is_dir() {
        return Ok(path.metadata()?.len());
    }
    path.read_dir()?.map(|entry| size(&entry?.path())).sum()
}
