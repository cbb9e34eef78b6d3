//! Files that lie: each lie is refused by name, and no file at all makes the reader panic.

use std::path::Path;

use super::*;
use crate::package::gguf::{Gguf, Model};

/// A file put together byte by byte, so that it may say anything.
pub(super) struct Forged {
    pub(super) version: u32,
    /// Key, and the bytes of type and value.
    pub(super) metadata: Vec<(String, Vec<u8>)>,
    pub(super) tensors: Vec<Forgery>,
    pub(super) data: Vec<u8>,
}

#[derive(Clone)]
pub(super) struct Forgery {
    pub(super) name: String,
    /// Innermost first, as in the file.
    pub(super) dims: Vec<u64>,
    pub(super) code: u32,
    pub(super) offset: u64,
}

fn put_str(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text);
}

pub(super) fn of_u32(x: u32) -> Vec<u8> {
    [4_u32.to_le_bytes(), x.to_le_bytes()].concat()
}

pub(super) fn of_f32(x: f32) -> Vec<u8> {
    [6_u32.to_le_bytes(), x.to_le_bytes()].concat()
}

pub(super) fn of_bool(x: bool) -> Vec<u8> {
    [7_u32.to_le_bytes().as_slice(), &[x.into()]].concat()
}

pub(super) fn of_str(text: &str) -> Vec<u8> {
    let mut bytes = 8_u32.to_le_bytes().to_vec();
    put_str(&mut bytes, text.as_bytes());
    bytes
}

/// A list of elements whose bytes are given.
pub(super) fn of_list(kind: u32, len: u64, elements: &[u8]) -> Vec<u8> {
    let head = [9_u32.to_le_bytes(), kind.to_le_bytes()].concat();
    [head.as_slice(), &len.to_le_bytes(), elements].concat()
}

impl Forged {
    /// Two good tensors of 64 bytes each.
    fn honest() -> Forged {
        let tensor = |name: &str, offset| Forgery {
            name: name.to_owned(),
            dims: vec![4, 4],
            code: 0,
            offset,
        };
        Forged {
            version: 3,
            metadata: vec![("a.key".to_owned(), of_u32(7))],
            tensors: vec![tensor("first", 0), tensor("second", 64)],
            data: vec![0; 128],
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            put_str(&mut bytes, key.as_bytes());
            bytes.extend(value);
        }
        for tensor in &self.tensors {
            put_str(&mut bytes, tensor.name.as_bytes());
            bytes.extend((tensor.dims.len() as u32).to_le_bytes());
            bytes.extend(tensor.dims.iter().flat_map(|dim| dim.to_le_bytes()));
            bytes.extend(tensor.code.to_le_bytes());
            bytes.extend(tensor.offset.to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(&self.data);
        bytes
    }
}

/// What the refusal of a changed file says.
#[track_caller]
fn refusal(change: impl FnOnce(&mut Forged)) -> String {
    let mut forged = Forged::honest();
    change(&mut forged);
    match Gguf::parse("forged.gguf", forged.bytes()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("was not refused"),
    }
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in ["forged.gguf"].iter().chain(parts) {
        assert!(message.contains(part), "{part:?} not in {message:?}");
    }
}

#[test]
fn the_honest_file_is_read() {
    let gguf = Gguf::parse("honest", Forged::honest().bytes()).unwrap();
    assert_eq!(gguf.tensors().count(), 2);
}

#[test]
fn lies_in_the_header_are_refused() {
    assert_says(&refusal(|f| f.version = 1), &["version is 1"]);
    assert_says(&refusal(|f| f.version = 4), &["version is 4"]);
    assert_says(&refusal(|f| f.version = 3 << 24), &["big-endian"]);
    for (at, field) in [(8, "number of tensors"), (16, "number of metadata entries")] {
        let mut bytes = Forged::honest().bytes();
        bytes[at + 7] = 0x7f;
        assert_eq!(field_of(Gguf::parse("forged", bytes)), field);
    }
    let mut bytes = Forged::honest().bytes();
    bytes[0] = b'X';
    assert_eq!(field_of(Gguf::parse("forged", bytes)), "the first four bytes");
    assert_eq!(field_of(Gguf::parse("forged", b"")), "the first four bytes");
}

#[test]
fn lies_in_the_metadata_are_refused() {
    let value = |value: Vec<u8>| refusal(|f| f.metadata[0].1 = value);
    assert_says(&value([13, 0, 0, 0, 0].to_vec()), &["a.key", "unknown type 13"]);
    assert_says(&value(of_list(9, 1, &[0; 16])), &["a.key", "list of lists"]);
    assert_says(&value(of_list(99, 1, &[0; 16])), &["a.key", "unknown type 99"]);
    assert_says(&value(of_list(4, u64::MAX, &[])), &["a.key", "left"]);
    assert_says(&value(of_list(10, u64::MAX / 8 + 1, &[])), &["a.key", "left"]);
    assert_says(&value(of_list(8, u64::MAX, &[])), &["a.key"]);
    assert_says(&value([8, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255].to_vec()), &["a.key"]);
    let mut not_utf8 = of_str("xx");
    not_utf8[12] = 0xff;
    assert_says(&value(not_utf8), &["a.key", "UTF-8"]);
    let twice = refusal(|f| f.metadata.push(("a.key".into(), of_u32(8))));
    assert_says(&twice, &["metadata a.key is there twice"]);
    assert_says(&refusal(|f| f.metadata[0].0 = String::new()), &["metadata key 0"]);
    assert_says(&refusal(|f| f.metadata[0].0 = "k".repeat(5000)), &["metadata key 0"]);
    for alignment in [of_u32(0), of_u32(48), of_u32(1 << 31), of_str("32")] {
        let message = refusal(|f| f.metadata[0] = ("general.alignment".into(), alignment));
        assert_says(&message, &["general.alignment", "power of two"]);
    }
}

#[test]
fn lies_about_tensors_are_refused() {
    let dims = |dims: &[u64]| refusal(|f| f.tensors[0].dims = dims.to_vec());
    assert_says(&dims(&[]), &["first is of 0 dimensions"]);
    assert_says(&dims(&[1; 5]), &["first is of 5 dimensions"]);
    assert_says(&dims(&[4, 0]), &["first", "impossible"]);
    assert_says(&dims(&[u64::MAX, 4]), &["first", "impossible"]);
    assert_says(&dims(&[1 << 32, 1 << 32, 1 << 32]), &["first", "impossible"]);
    assert_says(&dims(&[4, 5]), &["second", "inside the tensor before it"]);
    assert_says(&dims(&[4, 1 << 40]), &["first", "bytes of data"]);
    assert_says(&refusal(|f| f.tensors[1].name = "first".into()), &["tensor first", "twice"]);
    assert_says(&refusal(|f| f.tensors[1].offset = 65), &["second offset", "alignment 32"]);
    assert_says(&refusal(|f| f.tensors[1].offset = 96), &["second", "bytes of data"]);
    assert_says(&refusal(|f| f.tensors[1].offset = u64::MAX - 31), &["second", "at offset"]);
    assert_says(&refusal(|f| f.tensors[1].offset = 32), &["second", "inside the tensor before"]);
    assert_says(&refusal(|f| f.tensors[0].code = 20), &["first is of type IQ4_NL", "Q8_0"]);
    assert_says(&refusal(|f| f.tensors[0].code = 4), &["first is of the unknown type 4"]);
    // Four numbers are no whole block of 32.
    assert_says(&refusal(|f| f.tensors[0].code = 8), &["first", "Q8_0", "whole blocks of 32"]);
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    let mut forged = Forged::honest();
    forged.data[68..72].copy_from_slice(&f32::NAN.to_le_bytes());
    let gguf = Gguf::parse("forged", forged.bytes()).unwrap();
    gguf.dequantise("first", 0..4, &mut [0.0; 16]).unwrap();
    assert_eq!(field_of(gguf.dequantise("second", 0..2, &mut [0.0; 8])), "second rows 0 to 2");
}

/// Reads everything that a file offers; errors are fine, panics are not.
fn read_everything(bytes: &[u8]) -> bool {
    let Ok(gguf) = Gguf::parse("damaged", bytes) else { return false };
    for key in gguf.keys() {
        let value = gguf.value(key).unwrap();
        let _ = value.to_string();
        if let Some(list) = value.as_array() {
            assert_eq!(list.iter().count(), list.len());
        }
    }
    let _ = gguf.tokenizer().map(|tokenizer| tokenizer.pieces().count());
    for (name, tensor) in gguf.tensors() {
        let mut out = vec![0.0; tensor.n_rows() * tensor.row_len()];
        let _ = gguf.dequantise(name, 0..tensor.n_rows(), &mut out);
    }
    Model::read(&gguf, Path::new("/nowhere")).is_ok()
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for cut in 0..WHOLE.len() {
        // The last tensor needs every byte but the padding behind it.
        let is_whole = Gguf::parse("cut", &WHOLE[..cut]).is_ok();
        assert!(!is_whole || WHOLE[cut..].iter().all(|b| *b == 0), "cut at {cut}");
    }
    let tiny = tiny_bytes(Dtype::Q4_0);
    assert!(read_everything(&tiny));
    for cut in (0..tiny.len()).step_by(97) {
        assert!(!read_everything(&tiny[..cut]), "cut at {cut}");
    }
}

#[test]
fn no_damage_makes_the_reader_panic() {
    let tiny = tiny_bytes(Dtype::Q8_0);
    // Everything before the data, and a little of it.
    let head_len = 20_000.min(tiny.len());
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 33) as usize % below
    };
    let (mut n_refused, n_rounds) = (0, 3000);
    for round in 0..n_rounds {
        let (bytes, len) = if round % 2 == 0 { (WHOLE, WHOLE.len()) } else { (&*tiny, head_len) };
        let mut damaged = bytes.to_vec();
        for _ in 0..1 + random(4) {
            let at = random(len);
            // A flipped bit, an extreme byte, or eight bytes of ones: a length of 2^64 - 1.
            match random(4) {
                0 => damaged[at] ^= 1 << random(8),
                1 => damaged[at] = [0, 1, 127, 128, 255][random(5)],
                2 => damaged[at..(at + 8).min(len)].fill(255),
                _ => damaged.truncate(at.max(1)),
            }
            if damaged.len() < len {
                break;
            }
        }
        n_refused += usize::from(Gguf::parse("damaged", &*damaged).is_err());
        read_everything(&damaged);
    }
    // Most damage hits a length, a name or a type; were it never refused, this would test nothing.
    assert!(n_refused > n_rounds / 10 && n_refused < n_rounds, "{n_refused} of {n_rounds}");
}

#[test]
fn every_single_byte_of_the_head_may_be_wrong() {
    let head_len = 2500;
    for at in 0..head_len {
        for byte in [0, 255, WHOLE[at] ^ 1, WHOLE[at] ^ 128] {
            let mut damaged = WHOLE.to_vec();
            damaged[at] = byte;
            read_everything(&damaged);
        }
    }
}
