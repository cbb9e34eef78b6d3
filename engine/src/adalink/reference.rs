//! What tests compare with: values that numpy computed (`tests/reference/adalink.json`, made by the script
//! beside it), and links that are not trained.

use serde_json::Value;

use super::Link;
use crate::package::Matrix;

/// A link that moves what it is applied to by about half its length.
pub(crate) fn random_link(width: usize, rank: usize, seed: u64) -> Link {
    let (v, u) = (Link::new(width, rank, seed).v, Link::new(width, rank, seed + 100).v);
    Link { u, v, strength: 0.75 }
}

pub(crate) fn value(name: &str) -> Value {
    let all: Value =
        serde_json::from_str(include_str!("../../../tests/reference/adalink.json")).unwrap();
    all[name].clone()
}

pub(crate) fn matrix(rows: &Value) -> Matrix {
    let numbers = |row: &Value| -> Vec<f32> {
        row.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
    };
    let rows: Vec<Vec<f32>> = rows.as_array().unwrap().iter().map(numbers).collect();
    Matrix { n_rows: rows.len(), n_cols: rows[0].len(), values: rows.concat() }
}
