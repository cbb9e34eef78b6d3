//! An adapter as bytes: a safetensors file with what it was made for.
//!
//! | tensor | shape | |
//! |---|---|---|
//! | `u`, `v` | `[hidden, rank]` | the link, if there is one |
//! | `head.w` | `[full_width, full_width]` | a full head |
//! | `head.a`, `head.b` | `[full_width, rank]` | or a low-rank head |
//!
//! All are f32. The metadata has one entry, `adalink`: a JSON object of [`About`] with the strengths and
//! `format`, 1. One entry, because the order of several is left to chance and the same adapter is to
//! give the same bytes.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::{Adapter, Head, Link};
use crate::package::Matrix;
use crate::{Error, Result};

const FORMAT: u32 = 1;
const ENTRY: &str = "adalink";

/// No model is wider; a hostile file might be.
const WIDEST: usize = 1 << 16;

/// What an adapter was made for, and what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The model's fingerprint: source weights, tokenizer, prompts.
    pub fingerprint: String,
    /// The space of the documents that it was made for, as its collection describes it.
    pub space: String,
    /// The prompt of the queries.
    pub prompt: String,
    /// The rung of the ladder that it is.
    pub rung: String,
    /// Whatever else is worth knowing, such as measures, by name.
    pub notes: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    format: u32,
    link_strength: Option<f32>,
    head_strength: Option<f32>,
    #[serde(flatten)]
    about: About,
}

impl Adapter {
    /// The bytes of a file: see the layout above.
    ///
    /// # Errors
    /// [`Error::Adapter`] if there is nothing in it.
    pub fn to_bytes(&self, about: &About) -> Result<Vec<u8>> {
        let mut matrices: Vec<(&str, &Matrix)> = Vec::new();
        let mut entry = Entry {
            format: FORMAT,
            link_strength: None,
            head_strength: None,
            about: about.clone(),
        };
        if let Some(link) = &self.link {
            entry.link_strength = Some(link.strength);
            matrices.extend([("u", &link.u), ("v", &link.v)]);
        }
        match &self.head {
            None => {}
            Some(Head::Full { matrix, strength }) => {
                entry.head_strength = Some(*strength);
                matrices.push(("head.w", matrix));
            }
            Some(Head::LowRank(link)) => {
                entry.head_strength = Some(link.strength);
                matrices.extend([("head.a", &link.u), ("head.b", &link.v)]);
            }
        }
        if matrices.is_empty() {
            return Err(refused("it has neither link nor head"));
        }
        let bytes: Vec<Vec<u8>> = matrices
            .iter()
            .map(|(_, matrix)| matrix.values.iter().flat_map(|x| x.to_le_bytes()).collect())
            .collect();
        let views = matrices.iter().zip(&bytes).map(|((name, matrix), bytes)| {
            let shape = vec![matrix.n_rows, matrix.n_cols];
            Ok((*name, TensorView::new(Dtype::F32, shape, bytes).map_err(refused)?))
        });
        let views = views.collect::<Result<Vec<_>>>()?;
        let entry = serde_json::to_string(&entry).map_err(refused)?;
        let metadata = HashMap::from([(ENTRY.to_owned(), entry)]);
        safetensors::serialize(views, Some(metadata)).map_err(refused)
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// [`Error::Adapter`] if they are not what [`to_bytes`](Adapter::to_bytes) gives.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Adapter, About)> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(refused)?;
        let entry = header.metadata().as_ref().and_then(|entries| entries.get(ENTRY));
        let entry = entry.ok_or_else(|| refused(format!("its metadata has no {ENTRY}")))?;
        let entry: Entry = serde_json::from_str(entry).map_err(refused)?;
        if entry.format != FORMAT {
            let found = entry.format;
            return Err(refused(format!("it is of format {found}, this version reads {FORMAT}")));
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(refused)?;
        let names = tensors.names();
        let low_rank = |u: &str, v: &str, strength: Option<f32>| -> Result<Option<Link>> {
            match strength {
                Some(strength) if names.contains(&u) => {
                    let (u, v) = (matrix(&tensors, u)?, matrix(&tensors, v)?);
                    if (u.n_rows, u.n_cols) != (v.n_rows, v.n_cols) {
                        return Err(refused("its two sides differ in shape"));
                    }
                    Ok(Some(Link { u, v, strength: finite(strength)? }))
                }
                _ => Ok(None),
            }
        };
        let link = low_rank("u", "v", entry.link_strength)?;
        let mut head = low_rank("head.a", "head.b", entry.head_strength)?.map(Head::LowRank);
        if let (None, Some(strength), true) =
            (&head, entry.head_strength, names.contains(&"head.w"))
        {
            let matrix = matrix(&tensors, "head.w")?;
            if matrix.n_rows != matrix.n_cols {
                return Err(refused("head.w is not square"));
            }
            head = Some(Head::Full { matrix, strength: finite(strength)? });
        }
        if link.is_none() && head.is_none() {
            return Err(refused("it has neither link nor head"));
        }
        Ok((Adapter { link, head }, entry.about))
    }
}

fn matrix(tensors: &SafeTensors, name: &str) -> Result<Matrix> {
    let view = tensors.tensor(name).map_err(refused)?;
    let (Dtype::F32, &[n_rows, n_cols]) = (view.dtype(), view.shape()) else {
        return Err(refused(format!("{name} is no matrix of f32")));
    };
    if !(1..=WIDEST).contains(&n_rows) || !(1..=WIDEST).contains(&n_cols) {
        return Err(refused(format!("{name} is of {n_rows} by {n_cols}")));
    }
    let numbers = view.data().as_chunks::<4>().0.iter().map(|b| finite(f32::from_le_bytes(*b)));
    Ok(Matrix { values: numbers.collect::<Result<_>>()?, n_rows, n_cols })
}

fn finite(x: f32) -> Result<f32> {
    if x.is_finite() { Ok(x) } else { Err(refused("a number in it is not finite")) }
}

fn refused(problem: impl ToString) -> Error {
    Error::Adapter { problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About {
        About {
            fingerprint: "f1".to_owned(),
            space: "s1".to_owned(),
            prompt: "task: search result | query: ".to_owned(),
            rung: "link 4".to_owned(),
            notes: [("seed", "7"), ("gain", "+0.03")]
                .map(|(name, note)| (name.to_owned(), note.to_owned()))
                .into(),
        }
    }

    fn link(seed: u64) -> Link {
        let (v, u) = (Link::new(8, 2, seed).v, Link::new(8, 2, seed + 1).v);
        Link { u, v, strength: 0.75 }
    }

    fn adapters() -> Vec<Adapter> {
        let matrix = Matrix { values: (0..36).map(|x| x as f32).collect(), n_rows: 6, n_cols: 6 };
        let heads =
            [None, Some(Head::Full { matrix, strength: 0.5 }), Some(Head::LowRank(link(3)))];
        let links = [None, Some(link(1))];
        let all = heads.iter().flat_map(|head| links.iter().map(move |link| (link, head)));
        let all = all.map(|(link, head)| Adapter { link: link.clone(), head: head.clone() });
        all.filter(|adapter| *adapter != Adapter::default()).collect()
    }

    #[test]
    fn adapters_survive_their_bytes_and_give_the_same_again() {
        for adapter in adapters() {
            let bytes = adapter.to_bytes(&about()).unwrap();
            assert_eq!(Adapter::from_bytes(&bytes).unwrap(), (adapter.clone(), about()));
            assert_eq!(adapter.to_bytes(&about()).unwrap(), bytes);
        }
        assert!(Adapter::default().to_bytes(&about()).is_err());
    }

    #[test]
    fn damaged_bytes_are_refused_and_never_end_in_a_panic() {
        for adapter in adapters() {
            let bytes = adapter.to_bytes(&about()).unwrap();
            for end in 0..bytes.len() {
                assert!(Adapter::from_bytes(&bytes[..end]).is_err());
            }
            for at in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x5b;
                let _ = Adapter::from_bytes(&damaged);
            }
            let mut nan = bytes.clone();
            let end = nan.len();
            nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
            let message = Adapter::from_bytes(&nan).unwrap_err().to_string();
            assert!(message.contains("not finite"), "{message}");
        }
    }

    #[test]
    fn a_later_format_is_refused_by_name() {
        let bytes = adapters()[0].to_bytes(&about()).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let at = text.find("format").unwrap() + 9;
        let mut later = bytes.clone();
        assert_eq!(later[at], b'1', "{text}");
        later[at] = b'2';
        let message = Adapter::from_bytes(&later).unwrap_err().to_string();
        assert!(message.contains("of format 2, this version reads 1"), "{message}");
    }
}
