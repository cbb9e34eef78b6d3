//! Models, tokenizers and links.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use gemmule::engine::adalink::{About, Adapter, Link};
use gemmule::engine::package::gguf::{Dtype, Gguf};
use gemmule::engine::package::{Package, export};
use gemmule::engine::token;
use tempfile::TempDir;

/// Files of the tiny model, the first of which are read before the weights.
const FILES: [&str; 9] = [
    "config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
    "2_Dense/config.json",
    "tokenizer.json",
    "2_Dense/model.safetensors",
    "model.safetensors",
];

/// A folder of this process for files that can only be read by their path.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER
        .get_or_init(|| tempfile::tempdir().expect("there is a folder for temporary files"))
        .path()
}

/// The tiny model, in this process's folder.
fn tiny() -> &'static Path {
    static TINY: OnceLock<std::path::PathBuf> = OnceLock::new();
    TINY.get_or_init(|| {
        let copy = folder().join("tiny");
        for name in FILES.iter().chain(&["3_Dense/config.json", "3_Dense/model.safetensors"]) {
            let path = copy.join(name);
            fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("a folder");
            fs::write(path, super::reference(&format!("tiny/mqa/{name}"))).expect("a file");
        }
        copy
    })
}

pub(super) fn gguf_seeds() -> Vec<Vec<u8>> {
    let make = |dtype: Dtype| {
        let path = folder().join("seed.gguf");
        export::to_gguf(
            tiny().to_str().expect("a path of letters"),
            &path,
            export::Formats::uniform(dtype),
        )
        .expect("it is written");
        fs::read(path).expect("it is there")
    };
    vec![make(Dtype::F32), make(Dtype::Q8_0)]
}

pub(super) fn gguf(bytes: &[u8]) {
    let Ok(gguf) = Gguf::parse("fuzz.gguf", bytes) else { return };
    for key in gguf.keys() {
        let _ = gguf.value(key);
    }
    for (name, tensor) in gguf.tensors() {
        // A row at a time: a table may say that it is as large as it likes.
        if tensor.row_len() > 1 << 20 {
            continue;
        }
        let mut row = vec![0.0; tensor.row_len()];
        for idx in 0..tensor.n_rows().min(64) {
            if gguf.dequantise(name, idx..idx + 1, &mut row).is_err() {
                break;
            }
        }
    }
    // And as a whole model.
    let path = folder().join("fuzz.gguf");
    fs::write(&path, bytes).expect("the folder takes a file");
    drop(Package::load(&path));
}

pub(super) fn package_seeds() -> Vec<Vec<u8>> {
    let file = |(number, name): (usize, &&str)| {
        [&[number as u8], &*super::reference(&format!("tiny/mqa/{name}"))].concat()
    };
    FILES.iter().enumerate().map(file).collect()
}

/// The first byte says which file of the tiny model the others take the place of.
pub(super) fn package(bytes: &[u8]) {
    let Some((number, bytes)) = bytes.split_first() else { return };
    let name = FILES[usize::from(*number) % FILES.len()];
    let path = tiny().join(name);
    let whole = fs::read(&path).expect("the model is there");
    fs::write(&path, bytes).expect("the folder takes a file");
    drop(Package::load(tiny()));
    fs::write(&path, whole).expect("the folder takes a file");
}

pub(super) fn tokenizer_seeds() -> Vec<Vec<u8>> {
    vec![super::reference("tiny/mqa/tokenizer.json"), super::reference("tiny/gqa/tokenizer.json")]
}

pub(super) fn tokenizer(bytes: &[u8]) {
    drop(token::build(bytes));
}

pub(super) fn link_seeds() -> Vec<Vec<u8>> {
    let adapter = Adapter { link: Some(Link::new(8, 2, 1)), head: None };
    vec![adapter.to_bytes(&About::default()).expect("there is something in it")]
}

pub(super) fn link(bytes: &[u8]) {
    if let Ok((adapter, about)) = Adapter::from_bytes(bytes) {
        // What was read is written, and read as the same.
        let again = adapter.to_bytes(&about).expect("what was read can be written");
        assert_eq!(
            Adapter::from_bytes(&again).expect("what was written can be read"),
            (adapter, about)
        );
    }
}
