//! What is made from all texts before the first step, once: a new vocabulary, a model's vectors. Both are
//! kept in the run's folder, so that a run which goes on has the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::checkpoint::failed_to_write;
use super::data::{HeldOut, read};
use super::recipe::{Recipe, Turn};
use super::run::{Folders, write_file};
use super::start::token_texts;
use super::teacher::Teacher;
use super::vocabulary::learn;
use crate::package::Location;
use crate::{Embedder, Error, Result};

/// The `tokenizer.json` of a new vocabulary, if the recipe asks for one. Held-out texts teach it nothing.
pub(super) fn vocabulary(
    recipe: &Recipe,
    folders: &Folders,
    held_out: Option<&HeldOut>,
) -> Result<Option<Vec<u8>>> {
    let Some(vocab_size) = recipe.start.vocab_size() else { return Ok(None) };
    let path = folders.out.join("tokenizer.json");
    if let Ok(json) = fs::read(&path) {
        return Ok(Some(json));
    }
    let texts = texts(recipe, folders)?;
    let texts = texts.iter().filter(|text| !held_out.is_some_and(|held_out| held_out.has(text)));
    let texts: Vec<&str> = texts.map(String::as_str).collect();
    let like = Location::find(recipe.start.model())?.tokenizer_json()?;
    let json = learn(&like, texts.into_iter(), vocab_size)?;
    write_file(&path, &json)?;
    Ok(Some(json))
}

/// The recipe's teacher; if that is a model, it embeds all texts and the strings of all tokens first.
pub(super) fn teacher(
    recipe: &Recipe,
    folders: &Folders,
    vocabulary: Option<&[u8]>,
) -> Result<Option<Teacher>> {
    let Some(source) = &recipe.teacher else { return Ok(None) };
    let folder = match (&folders.teacher, &source.folder, &source.model) {
        (Some(folder), ..) => folder.clone(),
        (None, Some(folder), _) => folders.data.join(folder),
        (None, None, Some(model)) => {
            let folder = folders.out.join("teacher");
            if !folder.is_dir() {
                embed(recipe, folders, vocabulary, model, &folder)?;
            }
            folder
        }
        (None, None, None) => return Ok(None),
    };
    Teacher::read(&folder, source.turn == Turn::Axes).map(Some)
}

fn embed(
    recipe: &Recipe,
    folders: &Folders,
    vocabulary: Option<&[u8]>,
    model: &str,
    folder: &Path,
) -> Result<()> {
    let mut texts = texts(recipe, folders)?;
    let tokens = match vocabulary {
        Some(json) => token_texts(json)?,
        None => token_texts(&Location::find(recipe.start.model())?.tokenizer_json()?)?,
    };
    texts.extend(tokens.into_iter().map(|(_, text)| text));
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    // Under another name until it is whole: a folder that is there is not made again.
    let unfinished = folder.with_extension("unfinished");
    Teacher::write(&unfinished, &Embedder::open(model)?, &texts, |_| true)?;
    let failed = |source| failed_to_write(folder, source);
    fs::rename(&unfinished, folder).map_err(failed)
}

/// All texts of all stages, each once, in an order that does not depend on the files.
fn texts(recipe: &Recipe, folders: &Folders) -> Result<BTreeSet<String>, Error> {
    let files: BTreeSet<&Path> =
        recipe.stages.iter().flat_map(|stage| &stage.data).map(|set| set.file.as_path()).collect();
    let mut texts = BTreeSet::new();
    for file in files {
        for pair in read(&folders.data.join(file))? {
            texts.extend([pair.query, pair.positive].into_iter().chain(pair.negatives));
        }
    }
    Ok(texts)
}
