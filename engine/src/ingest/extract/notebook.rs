//! Jupyter notebooks, rendered: one cell after the other, outputs only where they are text.
//!
//! Markdown cells keep their headings and blocks; a code cell is one block, and so is its output. A
//! notebook that cannot be parsed is JSON like any other.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::encoding::Decoded;
use super::markdown::{self, first_title};
use super::rendering::Rendering;
use super::run::Watch;
use super::{Extracted, Failure, Kind, Mark, MarkKind, Offsets, json};

#[derive(Deserialize)]
struct Notebook {
    cells: Vec<Cell>,
    #[serde(default)]
    metadata: Map<String, Value>,
}

#[derive(Deserialize)]
struct Cell {
    cell_type: String,
    #[serde(default)]
    source: Lines,
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Output {
    text: Option<Lines>,
    #[serde(default)]
    data: Map<String, Value>,
}

/// A text, or the list of its lines.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lines {
    Whole(String),
    Parts(Vec<String>),
}

impl Default for Lines {
    fn default() -> Lines {
        Lines::Whole(String::new())
    }
}

impl Lines {
    fn join(self) -> String {
        match self {
            Lines::Whole(text) => text,
            Lines::Parts(lines) => lines.concat(),
        }
    }
}

pub(super) fn extract(decoded: Decoded, watch: &Watch) -> Result<Extracted, Failure> {
    let Ok(notebook) = serde_json::from_str::<Notebook>(&decoded.text) else {
        return Ok(json::extract(decoded));
    };
    let mut rendering = Rendering::default();
    for cell in notebook.cells {
        rendering.check(watch)?;
        let source = cell.source.join();
        match cell.cell_type.as_str() {
            "markdown" => {
                let text = source.trim_end();
                let mut marks = Vec::new();
                markdown::marks(text, 0, watch, &mut marks)?;
                push(&mut rendering, text, marks);
            }
            _ => push_block(&mut rendering, &source),
        }
        for output in cell.outputs {
            if let Some(text) = output_text(output) {
                push_block(&mut rendering, &text);
            }
        }
    }
    let (text, marks) = rendering.finish();
    let mut meta = decoded.meta;
    if let Some(language) = language(&notebook.metadata) {
        meta.insert("language".to_owned(), Value::from(language));
    }
    Ok(Extracted {
        title: first_title(&marks),
        text,
        offsets: Offsets::Text,
        marks,
        meta,
        kind: Kind::Notebook,
    })
}

fn push_block(rendering: &mut Rendering, text: &str) {
    let text = text.trim_matches(['\n', '\r']).trim_end();
    push(rendering, text, vec![Mark { offset: 0, kind: MarkKind::Block }]);
}

fn push(rendering: &mut Rendering, text: &str, marks: Vec<Mark>) {
    if !text.trim().is_empty() {
        rendering.push_marked(text, marks);
    }
}

/// A printed stream, or a value's plain text; pictures, HTML and tracebacks are left out.
fn output_text(output: Output) -> Option<String> {
    if let Some(text) = output.text {
        return Some(text.join());
    }
    let plain = output.data.get("text/plain")?.clone();
    serde_json::from_value::<Lines>(plain).ok().map(Lines::join)
}

fn language(metadata: &Map<String, Value>) -> Option<String> {
    let name = |key: &str, field: &str| metadata.get(key)?.get(field)?.as_str().map(str::to_owned);
    name("language_info", "name").or_else(|| name("kernelspec", "language"))
}
