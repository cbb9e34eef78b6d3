//! The chain of modules behind the transformer: mean pooling, two dense layers, normalisation.
//!
//! `modules.json` names them by dotted Python paths that differ between library versions, so only
//! the last component counts. A missing dense layer is refused: without it the vectors look right
//! and are nearly orthogonal to the true ones.

use serde::Deserialize;

use super::files::Files;
use super::{Refusal, refuse};
use crate::Result;

/// A dense layer: `[n_out, n_in]` without bias or activation, and where its file lies.
pub(super) struct DenseHead {
    pub(super) path: String,
    pub(super) n_in: usize,
    pub(super) n_out: usize,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct DenseConfig {
    in_features: usize,
    out_features: usize,
    bias: Option<bool>,
    activation_function: Option<String>,
}

const CHAIN: [&str; 5] = ["Transformer", "Pooling", "Dense", "Dense", "Normalize"];

/// Reads `modules.json` and the configs it names.
pub(super) fn read(files: &Files) -> Result<Result<[DenseHead; 2], Refusal>> {
    let json = files.read("modules.json")?;
    let modules = match chain(&json) {
        Ok(modules) => modules,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let pooling_file = format!("{}/config.json", modules[1].path);
    if let Err(refusal) = check_pooling(&pooling_file, &files.read(&pooling_file)?) {
        return Ok(Err(refusal));
    }
    let mut heads = Vec::with_capacity(2);
    for module in &modules[2..4] {
        let file = format!("{}/config.json", module.path);
        match dense(&file, &module.path, &files.read(&file)?) {
            Ok(head) => heads.push(head),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    let heads: [DenseHead; 2] = heads.try_into().unwrap_or_else(|_| unreachable!("two modules"));
    Ok(Ok(heads))
}

/// The folders of the modules behind the transformer; none if `modules.json` is not to be read.
pub(super) fn folders(files: &Files) -> Vec<String> {
    let modules = files.read("modules.json").ok().and_then(|json| chain(&json).ok());
    modules.into_iter().flatten().skip(1).map(|module| module.path).collect()
}

fn chain(json: &[u8]) -> Result<Vec<Module>, Refusal> {
    let modules: Vec<Module> =
        serde_json::from_slice(json).map_err(|e| refuse("modules.json", e, "a list of modules"))?;
    let kinds: Vec<&str> =
        modules.iter().map(|m| m.kind.rsplit('.').next().unwrap_or_default()).collect();
    // The last link may be absent: vectors are made unit length in any case.
    if kinds != CHAIN && kinds != CHAIN[..4] {
        return Err(refuse("modules.json", kinds.join(", "), CHAIN.join(", ")));
    }
    // A path names a folder inside the package, never one outside it.
    if let Some(module) =
        modules[1..].iter().find(|m| m.path.contains("..") || m.path.contains('/'))
    {
        return Err(refuse("modules.json path", &module.path, "the name of a folder"));
    }
    Ok(modules)
}

/// Both spellings: `pooling_mode_mean_tokens: true` and all others false, or `pooling_mode: mean`.
fn check_pooling(file: &str, json: &[u8]) -> Result<(), Refusal> {
    let config: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(json).map_err(|e| refuse(file, e, "a pooling config"))?;
    let flagged: Vec<&str> = config
        .iter()
        .filter(|(key, value)| key.starts_with("pooling_mode_") && value.as_bool() == Some(true))
        .map(|(key, _)| key.as_str())
        .collect();
    let mode = match config.get("pooling_mode").and_then(|v| v.as_str()) {
        Some(mode) => mode.to_owned(),
        None if flagged == ["pooling_mode_mean_tokens"] => "mean".to_owned(),
        None => flagged.join(", "),
    };
    if mode != "mean" {
        return Err(refuse(format!("{file} pooling_mode"), mode, "mean"));
    }
    match config.get("include_prompt").and_then(|v| v.as_bool()) {
        Some(false) => Err(refuse(format!("{file} include_prompt"), false, true)),
        _ => Ok(()),
    }
}

fn dense(file: &str, path: &str, json: &[u8]) -> Result<DenseHead, Refusal> {
    let config: DenseConfig =
        serde_json::from_slice(json).map_err(|e| refuse(file, e, "a dense config"))?;
    if config.bias == Some(true) {
        return Err(refuse(format!("{file} bias"), true, false));
    }
    if let Some(activation) = &config.activation_function
        && !activation.ends_with("Identity")
    {
        return Err(refuse(format!("{file} activation_function"), activation, "Identity"));
    }
    Ok(DenseHead { path: path.to_owned(), n_in: config.in_features, n_out: config.out_features })
}
