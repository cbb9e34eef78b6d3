//! `gemmule model`: the models that have a name.

use gemmule::Embedder;
use gemmule::engine::package::{NANO, Package};
use serde_json::{Value, json};

use crate::Done;
use crate::args::{Model, ModelCommand};
use crate::output::Output;

/// Every name that `--model` knows; all else is a path.
const NAMES: [&str; 1] = [NANO];

pub(crate) fn run(flags: &Model, output: &mut Output) -> anyhow::Result<Done> {
    match flags.command {
        ModelCommand::List => list(output),
    }
}

fn list(output: &mut Output) -> anyhow::Result<Done> {
    let models = NAMES.into_iter().map(Embedder::open).collect::<Result<Vec<_>, _>>()?;
    let packages: Vec<&Package> = models.iter().map(Embedder::package).collect();
    if output.json {
        let models: Vec<Value> = packages.into_iter().map(to_json).collect();
        output.value(&json!({ "models": models }))?;
        return Ok(Done::Whole);
    }
    for package in &packages {
        let widths: Vec<String> = package.widths.iter().map(usize::to_string).collect();
        output.line(format_args!(
            "{}  built in; widths {}; window {} tokens; {}",
            output.bold(&package.name),
            widths.join(", "),
            package.window,
            package.fingerprint
        ))?;
    }
    output.note("or give --model the path of a sentence-transformers folder of EmbeddingGemma");
    Ok(Done::Whole)
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
