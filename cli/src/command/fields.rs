//! `gemmule fields`: what a collection can be filtered by.

use gemmule::Field;
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::{as_of, open_collection};
use crate::args::Global;
use crate::output::Output;
use crate::{Done, text};

/// Columns of a value that is shown as an example, if there are not more.
const EXAMPLE_COLUMNS: usize = 32;

pub(crate) fn run(global: &Global, output: &mut Output) -> anyhow::Result<Done> {
    let (db, collection) = open_collection(global, None, output)?;
    let fields = collection.fields()?;
    if output.json {
        let fields: Vec<Value> = fields.iter().map(to_json).collect();
        output.value(&json!({ "fields": fields, "as_of": as_of(&db) }))?;
    } else {
        print(&fields, output)?;
    }
    Ok(Done::Whole)
}

fn to_json(field: &Field) -> Value {
    json!({
        "name": field.name,
        "types": field.types,
        "values": field.n_values,
        "chunks": field.n_rows,
        "examples": field.examples,
    })
}

fn print(fields: &[Field], output: &mut Output) -> anyhow::Result<()> {
    if fields.is_empty() {
        output.note("no fields, since there are no chunks yet");
        return Ok(());
    }
    let head = ["field", "type", "values", "chunks"].map(str::to_owned);
    let rows = fields.iter().map(|field| {
        [
            text::printable(&name(&field.name)),
            field.types.join(", "),
            text::grouped(field.n_values),
            text::grouped(field.n_rows),
        ]
    });
    let rows: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
    let [name, types, values, chunks] = [0, 1, 2, 3]
        .map(|column| rows.iter().map(|row| row[column].width()).max().unwrap_or_default());
    let left = name + types + values + chunks + 8;
    let examples = fields.iter().map(|field| examples(field, text::columns().saturating_sub(left)));
    for (row, examples) in rows.iter().zip(std::iter::once("such as".to_owned()).chain(examples)) {
        let name_gap = " ".repeat(name - row[0].width());
        output.line(format_args!(
            "{}{name_gap}  {:<types$}  {:>values$}  {:>chunks$}  {examples}",
            row[0], row[1], row[2], row[3]
        ))?;
    }
    Ok(())
}

/// The name as a filter takes it.
fn name(name: &str) -> String {
    let is_word = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if name.split('.').all(is_word) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// As many values as fit, but at least one, as a filter takes them; one that is cut ends in dots.
fn examples(field: &Field, columns: usize) -> String {
    let mut shown = String::new();
    for value in &field.examples {
        let value = match value {
            Value::String(value) => format!("'{}'", value.replace('\'', "''")),
            value => value.to_string(),
        };
        let value = text::shortened(&value, columns.max(EXAMPLE_COLUMNS));
        if !shown.is_empty() && shown.width() + 2 + value.width() > columns {
            break;
        }
        if !shown.is_empty() {
            shown += ", ";
        }
        shown += &value;
    }
    shown
}
