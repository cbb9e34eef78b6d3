//! A JSON object a line: `{"id": "x", "vector": [0.1, 0.2], "text": "...", "title": "...", "meta": {}}`.

use std::io::{self, BufRead, Write};

use anyhow::{Context, bail, ensure};
use gemmule::Document;
use serde_json::{Map, Value, json};

/// A line is no longer than this: a file without line ends would be read whole.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Lines that are read one by one; empty ones are passed over.
pub(super) struct Reader<R> {
    bytes: R,
    n_lines: usize,
}

impl<R: BufRead> Reader<R> {
    pub(super) fn new(bytes: R) -> Reader<R> {
        Reader { bytes, n_lines: 0 }
    }

    /// The number of the line that was read last, from 1.
    pub(super) fn line(&self) -> usize {
        self.n_lines
    }

    /// The next row; none after the last.
    pub(super) fn next_row(&mut self) -> anyhow::Result<Option<(Document, Vec<f32>)>> {
        loop {
            let mut line = Vec::new();
            self.n_lines += 1;
            let place = format!("line {}", self.n_lines);
            let mut limited = io::Read::take(&mut self.bytes, MAX_LINE_BYTES);
            limited.read_until(b'\n', &mut line).with_context(|| place.clone())?;
            if line.is_empty() {
                return Ok(None);
            }
            ensure!(
                (line.len() as u64) < MAX_LINE_BYTES,
                "{place} is longer than {} MiB",
                MAX_LINE_BYTES >> 20
            );
            if !line.trim_ascii().is_empty() {
                return parse(line.trim_ascii()).map(Some).context(place);
            }
        }
    }
}

fn parse(line: &[u8]) -> anyhow::Result<(Document, Vec<f32>)> {
    let object: Map<String, Value> =
        serde_json::from_slice(line).context("it is not a whole JSON object")?;
    let mut document = Document::new("", "");
    let mut vector = None;
    for (key, value) in object {
        match (key.as_str(), value) {
            ("id", Value::String(id)) => document.id = id,
            ("id", Value::Number(id)) => document.id = id.to_string(),
            ("vector", Value::Array(numbers)) => {
                vector = Some(numbers.iter().enumerate().map(number).collect::<Result<_, _>>()?);
            }
            ("text", Value::String(text)) => document.text = text,
            ("title", Value::String(title)) => document.title = Some(title),
            ("meta", Value::Object(meta)) => document.meta = meta,
            ("text" | "title" | "meta", Value::Null) => {}
            ("id" | "vector" | "text" | "title" | "meta", other) => {
                bail!("its '{key}' cannot be {}", kind(&other));
            }
            // Losing what somebody wrote would go unnoticed.
            (other, _) => bail!("it has '{other}'; known are id, vector, text, title and meta"),
        }
    }
    ensure!(!document.id.is_empty(), "it has no 'id'");
    Ok((document, vector.context("it has no 'vector'")?))
}

fn number((number_idx, value): (usize, &Value)) -> anyhow::Result<f32> {
    let number = value.as_f64().map(|number| number as f32);
    number.with_context(|| {
        format!("number {number_idx} of its vector is {}, not a number", kind(value))
    })
}

/// What a value is, in messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Writes a row.
pub(super) fn write(out: &mut impl Write, document: &Document, vector: &[f32]) -> io::Result<()> {
    let Document { id, text, title, meta } = document;
    let mut object = json!({ "id": id, "vector": vector });
    if !text.is_empty() {
        object["text"] = json!(text);
    }
    if let Some(title) = title {
        object["title"] = json!(title);
    }
    if !meta.is_empty() {
        object["meta"] = json!(meta);
    }
    serde_json::to_writer(&mut *out, &object)?;
    out.write_all(b"\n")
}
