//! A model that gets more pieces. What it knows of words that it had to cut is in the pieces of these words, so a new
//! piece begins with what a teacher knows of its string, in the language of the old rows; without a teacher,
//! with the mean of the pieces that it was cut into.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use super::{Beginning, Teacher, token_texts};
use crate::linear::solve;
use crate::package::{Location, Matrix};
use crate::train::data::text_hash;
use crate::{Error, Result};

/// What keeps the map from the teacher's vectors to rows small, as a share of their mean square: a direction that few
/// strings have says little.
const RIDGE: f64 = 0.005;

/// The weights of a model under a larger vocabulary.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GrownStart {
    /// The model, by name or path.
    pub package: String,
    /// Pieces of the new vocabulary, which is learnt from the texts of all stages.
    pub vocab_size: usize,
}

impl GrownStart {
    pub(super) fn open(
        &self,
        vocabulary: Option<Vec<u8>>,
        teacher: Option<&Teacher>,
    ) -> Result<Beginning> {
        let location = Location::find(&self.package)?;
        let (mut package, source) = location.load()?;
        let old = location.tokenizer_json()?;
        let mut weights = source.weights()?;
        let Some(tokenizer_json) = vocabulary else {
            return Ok(Beginning { package, tokenizer_json: old, weights });
        };
        package.set_tokenizer(&tokenizer_json)?;
        weights.embedding =
            table(&weights.embedding, &old, &tokenizer_json, package.config.vocab_size, teacher)?;
        Ok(Beginning { package, tokenizer_json, weights })
    }
}

/// The table of a new vocabulary, `[vocab_size, hidden]`, from that of an old one.
fn table(
    old: &Matrix,
    old_json: &[u8],
    new_json: &[u8],
    vocab_size: usize,
    teacher: Option<&Teacher>,
) -> Result<Matrix> {
    let hidden = old.n_cols;
    let row_of = |id: u32| old.values.get(id as usize * hidden..(id as usize + 1) * hidden);
    let read = |json: &[u8]| Tokenizer::from_bytes(json).map_err(Error::Tokenize);
    let (old_tokenizer, new_tokenizer) = (read(old_json)?, read(new_json)?);
    let known = old_tokenizer.get_vocab(true);
    let words = Words::learn(teacher, old, old_json)?;
    let strings: HashMap<u32, String> = token_texts(new_json)?.into_iter().collect();
    let mut table =
        Matrix { values: vec![0.0; vocab_size * hidden], n_rows: vocab_size, n_cols: hidden };
    let mut pieces: Vec<(String, u32)> = new_tokenizer.get_vocab(true).into_iter().collect();
    pieces.sort_unstable();
    for (piece, id) in pieces {
        let row = &mut table.values[id as usize * hidden..][..hidden];
        if let Some(from) = known.get(&piece).and_then(|&id| row_of(id)) {
            row.copy_from_slice(from);
            continue;
        }
        let hash = strings.get(&id).map(|text| text_hash(text));
        let taught = match (&words, teacher, hash) {
            (Some(words), Some(teacher), Some(hash)) => {
                teacher.vectors(&[hash])?.map(|vector| words.row(&vector))
            }
            _ => None,
        };
        if let Some(from) = taught {
            row.copy_from_slice(&from);
            continue;
        }
        let text = piece.replace('\u{2581}', " ");
        let parts = old_tokenizer.encode(text, false).map_err(Error::Tokenize)?;
        let parts: Vec<&[f32]> = parts.get_ids().iter().filter_map(|&id| row_of(id)).collect();
        for part in &parts {
            row.iter_mut().zip(*part).for_each(|(sum, x)| *sum += x / parts.len() as f32);
        }
    }
    Ok(table)
}

/// How rows of words follow from a teacher's vectors of their strings: a linear map, by least squares over the words
/// that have a row already.
struct Words {
    map: Vec<f64>, // [hidden, dims]
}

impl Words {
    /// None if there is no teacher, or it knows too few words.
    fn learn(
        teacher: Option<&Teacher>,
        table: &Matrix,
        tokenizer_json: &[u8],
    ) -> Result<Option<Words>> {
        let Some(teacher) = teacher else { return Ok(None) };
        let (dims, hidden) = (teacher.dims(), table.n_cols);
        let (mut square, mut products) = (vec![0.0; dims * dims], vec![0.0; hidden * dims]);
        let mut n_words = 0;
        for (id, text) in token_texts(tokenizer_json)? {
            let is_word = text.chars().count() >= 3 && text.chars().all(char::is_alphabetic);
            let row = table.values.chunks_exact(hidden).nth(id as usize).filter(|_| is_word);
            let Some(row) = row else { continue };
            let Some(vector) = teacher.vectors(&[text_hash(&text)])? else { continue };
            for (i, x) in vector.iter().enumerate() {
                let sums = square[i * dims..][..dims].iter_mut();
                sums.zip(&vector).for_each(|(sum, y)| *sum += f64::from(x * y));
            }
            for (sums, y) in products.chunks_exact_mut(dims).zip(row) {
                sums.iter_mut().zip(&vector).for_each(|(sum, x)| *sum += f64::from(x * y));
            }
            n_words += 1;
        }
        if n_words < dims {
            return Ok(None);
        }
        let trace: f64 = (0..dims).map(|i| square[i * dims + i]).sum();
        (0..dims).for_each(|i| square[i * dims + i] += RIDGE * trace / dims as f64);
        Ok(solve(&mut square, dims, &mut products).then_some(Words { map: products }))
    }

    /// The row of a word by the teacher's vector of it.
    fn row(&self, vector: &[f32]) -> Vec<f32> {
        let along =
            |map: &[f64]| map.iter().zip(vector).map(|(m, &x)| m * f64::from(x)).sum::<f64>();
        self.map.chunks_exact(vector.len()).map(|map| along(map) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::train::vocabulary::learn;

    #[test]
    fn old_pieces_keep_their_rows_and_new_words_get_what_the_teacher_knows() {
        let old_json = Location::BuiltIn.tokenizer_json().unwrap();
        let texts =
            ["the sponge survives the winter", "a gemmule is a bud", "Gemmule and gemmules"];
        let new_json = learn(&old_json, texts.into_iter().cycle().take(90), 420).unwrap();
        let hidden = 4;
        let strings = token_texts(&old_json).unwrap();
        let n_old = strings.iter().map(|(id, _)| *id as usize + 1).max().unwrap();
        // A teacher of three numbers, of which rows are a linear map; it knows one new word.
        let mut random = Random::new(3);
        let mut draw = |n: usize| -> Vec<f32> { (0..n).map(|_| random.normal() as f32).collect() };
        let map = draw(hidden * 3);
        let mapped = |vector: &[f32]| -> Vec<f32> {
            let along = |row: &[f32]| row.iter().zip(vector).map(|(a, b)| a * b).sum();
            map.chunks(3).map(along).collect()
        };
        let folder = tempfile::tempdir().unwrap();
        let mut table_values = vec![0.0; n_old * hidden];
        let (mut rows, mut known) = (Vec::<Vec<f32>>::new(), Vec::<String>::new());
        for (id, text) in &strings {
            let place = known.iter().position(|other| other == text).unwrap_or_else(|| {
                let mut vector = draw(3);
                let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
                vector.iter_mut().for_each(|x| *x /= length);
                known.push(text.clone());
                rows.push(vector);
                rows.len() - 1
            });
            table_values[*id as usize * hidden..][..hidden].copy_from_slice(&mapped(&rows[place]));
        }
        let new_word = vec![0.6, 0.0, 0.8];
        known.push("gemmule".to_owned());
        rows.push(new_word.clone());
        let mut file = std::fs::File::create(folder.path().join("vectors.npy")).unwrap();
        crate::npy::write(&mut file, &rows, 3).unwrap();
        let lines: Vec<String> = known.iter().map(|t| serde_json::to_string(t).unwrap()).collect();
        std::fs::write(folder.path().join("texts.jsonl"), lines.join("\n")).unwrap();
        let teacher = Teacher::read(folder.path(), false).unwrap();

        let old = Matrix { values: table_values, n_rows: n_old, n_cols: hidden };
        let tokenizer = Tokenizer::from_bytes(&new_json).unwrap();
        let n_new = tokenizer.get_vocab_size(true);
        let of = |teacher| table(&old, &old_json, &new_json, n_new, teacher).unwrap();
        let row = |table: &Matrix, piece: &str| {
            let id = tokenizer.token_to_id(piece).unwrap() as usize;
            table.values[id * hidden..][..hidden].to_vec()
        };
        let old_tokenizer = Tokenizer::from_bytes(&old_json).unwrap();
        let old_row = |piece: &str| {
            let id = old_tokenizer.token_to_id(piece).unwrap() as usize;
            old.values[id * hidden..][..hidden].to_vec()
        };
        let grown = of(Some(&teacher));
        for piece in ["\u{2581}the", "<bos>", "task: search result | query:"] {
            assert_eq!(row(&grown, piece), old_row(piece), "{piece}");
        }
        assert!(old_tokenizer.token_to_id("\u{2581}gemmule").is_none());
        for (found, expected) in row(&grown, "\u{2581}gemmule").iter().zip(mapped(&new_word)) {
            assert!((found - expected).abs() < 0.05 * (1.0 + expected.abs()));
        }
        let parts = old_tokenizer.encode(" gemmule", false).unwrap();
        let parts: Vec<Vec<f32>> = parts.get_tokens().iter().map(|piece| old_row(piece)).collect();
        assert!(parts.len() > 1);
        for (d, found) in row(&of(None), "\u{2581}gemmule").iter().enumerate() {
            let mean = parts.iter().map(|part| part[d]).sum::<f32>() / parts.len() as f32;
            assert!((found - mean).abs() < 1e-5);
        }
    }
}
