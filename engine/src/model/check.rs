//! The texts by which a model is judged: short, long, code, and the scripts of many languages.

use crate::Result;
use crate::package::Package;

const TEXTS: &str = include_str!("check.txt");

/// The ids of each text in the prompt of its kind, as whole sequences inside the model's window.
pub(crate) fn texts(package: &Package) -> Result<Vec<Vec<u32>>> {
    let prompts = ["query", "document"].map(|task| package.prompts.get(task).map_or("", |p| p));
    let text = |(i, text): (usize, &str)| {
        let mut ids =
            package.tokenizer.framed(&format!("{}{text}", prompts[usize::from(i > 1)]))?;
        if ids.len() > package.window {
            ids.truncate(package.window - 1);
            ids.push(package.config.eos);
        }
        Ok(ids)
    };
    TEXTS.split("\n%%\n").map(str::trim_end).enumerate().map(text).collect()
}
