//! What was measured, for people and for programs.

use serde_json::{Map, Value, json};

use super::row::{MEASURES, Row};
use crate::args::Eval;
use crate::output::Output;
use crate::text;

/// What stands for no value.
const NONE: &str = "-";

/// Prints the rows, and how they differ from the other model's, which stand in the same order.
pub(super) fn print(
    flags: &Eval,
    rows: &[Row],
    others: &[Row],
    output: &mut Output,
) -> anyhow::Result<()> {
    let pairs: Vec<(&Row, &Row)> = rows.iter().zip(others).collect();
    if output.json {
        let of_sets = |is_mean: bool| -> Vec<Value> {
            rows.iter().filter(|row| (row.n_sets > 1) == is_mean).map(to_json).collect()
        };
        let mut all = json!({ "results": of_sets(false), "means": of_sets(true) });
        if let Some(other) = &flags.against {
            let differences: Vec<Value> = pairs.iter().map(|pair| difference_json(*pair)).collect();
            all["against"] = json!(other);
            all["differences"] = json!(differences);
        }
        return output.value(&all);
    }
    print_results(rows, output)?;
    if let Some(other) = flags.against.as_ref().filter(|_| !pairs.is_empty()) {
        output.line("")?;
        print_differences(&pairs, &flags.model, other, output)?;
    }
    Ok(())
}

fn print_results(rows: &[Row], output: &mut Output) -> anyhow::Result<()> {
    let heads = ["set", "dims", "quant", "precision", "through"].into_iter();
    let heads = heads.chain(MEASURES.map(|(head, _)| head)).chain(["low", "high"]);
    let mut cells: Vec<Vec<String>> = vec![heads.map(str::to_owned).collect()];
    for row in rows {
        let numbers = row.measured.numbers();
        let (low, high) = row.interval().unzip();
        let numbers = numbers.into_iter().chain([low, high]).map(number);
        cells.push(way_of(row).into_iter().chain(numbers).collect());
    }
    print_cells(&cells, output)
}

fn print_differences(
    pairs: &[(&Row, &Row)],
    model: &str,
    other: &str,
    output: &mut Output,
) -> anyhow::Result<()> {
    let heads = ["set", "dims", "quant", "precision", "through", "measure"].into_iter();
    let heads = heads.chain([model, other, "difference", "low", "high", "p"]);
    let mut cells: Vec<Vec<String>> = vec![heads.map(text::printable).collect()];
    for (row, other) in pairs {
        let first = row.measured.first();
        let [here, there] = [row, other].map(|row| number(row.measured.numbers()[first]));
        let measure = MEASURES[first].0.to_owned();
        let [difference, low, high, p] = match row.against(other) {
            None => [const { String::new() }; 4].map(|_| NONE.to_owned()),
            Some(found) => {
                let [difference, low, high] =
                    [found.difference, found.low, found.high].map(|value| format!("{value:+.4}"));
                [difference, low, high, number(Some(found.p))]
            }
        };
        let cells_here = [measure, here, there, difference, low, high, p];
        cells.push(way_of(row).into_iter().chain(cells_here).collect());
    }
    print_cells(&cells, output)
}

/// The first cells of a row.
fn way_of(row: &Row) -> [String; 5] {
    let set = match row.n_sets {
        1 => text::printable(&row.set),
        n_sets => format!("{} of {n_sets}", row.set),
    };
    let way = row.way;
    let names = [way.quant, way.precision, way.through].map(str::to_owned);
    let [quant, precision, through] = names;
    [set, way.dims.to_string(), quant, precision, through]
}

fn number(value: Option<f64>) -> String {
    value.map_or(NONE.to_owned(), |value| format!("{value:.4}"))
}

/// Prints the columns that hold something: the first to the left, numbers to the right.
fn print_cells(cells: &[Vec<String>], output: &mut Output) -> anyhow::Result<()> {
    let n_columns = cells.first().map_or(0, Vec::len);
    let is_shown = |column_idx: &usize| {
        cells.len() == 1 || cells[1..].iter().any(|row| row[*column_idx] != NONE)
    };
    let shown: Vec<(usize, usize)> = (0..n_columns)
        .filter(is_shown)
        .map(|idx| (idx, cells.iter().map(|row| row[idx].chars().count()).max().unwrap_or(0)))
        .collect();
    for row in cells {
        let mut line = String::new();
        for (column_idx, width) in &shown {
            let cell = &row[*column_idx];
            line += &match column_idx {
                0 => format!("{cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            };
        }
        output.line(line.trim_end())?;
    }
    Ok(())
}

fn to_json(row: &Row) -> Value {
    let mut fields = way_json(row);
    for ((_, name), value) in MEASURES.iter().zip(row.measured.numbers()) {
        fields.insert((*name).to_owned(), json!(value));
    }
    let (low, high) = row.interval().unzip();
    fields.insert("low".to_owned(), json!(low));
    fields.insert("high".to_owned(), json!(high));
    fields.insert("truncated".to_owned(), json!(row.n_cut));
    Value::Object(fields)
}

fn difference_json((row, other): (&Row, &Row)) -> Value {
    let mut fields = way_json(row);
    let first = row.measured.first();
    let [here, there] = [row, other].map(|row| row.measured.numbers()[first]);
    let found = row.against(other);
    let found = found.as_ref();
    let values = [
        ("measure", json!(MEASURES[first].1)),
        ("here", json!(here)),
        ("there", json!(there)),
        ("difference", json!(found.map(|found| found.difference))),
        ("low", json!(found.map(|found| found.low))),
        ("high", json!(found.map(|found| found.high))),
        ("p", json!(found.map(|found| found.p))),
    ];
    fields.extend(values.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(fields)
}

fn way_json(row: &Row) -> Map<String, Value> {
    let way = row.way;
    let mut fields = Map::new();
    let values = [
        ("set", json!(row.set)),
        ("dims", json!(way.dims)),
        ("quant", json!(way.quant)),
        ("precision", json!(way.precision)),
        ("through", json!(way.through)),
    ];
    fields.extend(values.map(|(name, value)| (name.to_owned(), value)));
    if row.n_sets > 1 {
        fields.insert("n_sets".to_owned(), json!(row.n_sets));
    }
    fields
}
