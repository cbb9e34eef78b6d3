//! Which columns of a table are ours, and whether they hold what they should.

use ::parquet::basic::{LogicalType, Type};
use ::parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};
use anyhow::{Context, bail, ensure};

/// Our columns, by their places among the leaves of the schema.
pub(super) struct Columns {
    pub(super) id: usize,
    pub(super) vector: usize,
    pub(super) text: Option<usize>,
    pub(super) title: Option<usize>,
    pub(super) meta: Option<usize>,
}

impl Columns {
    /// Finds them; a column of another name is an error: losing what somebody wrote would go unnoticed.
    pub(super) fn find(schema: &SchemaDescriptor) -> anyhow::Result<Columns> {
        let (mut id, mut vector, mut text, mut title, mut meta) = (None, None, None, None, None);
        for (leaf, column) in schema.columns().iter().enumerate() {
            let name = schema.get_column_root(leaf).name();
            let (place, is_right, should): (_, fn(&ColumnDescriptor) -> bool, _) = match name {
                "id" => (&mut id, is_id, "a text or a whole number"),
                "vector" => (&mut vector, is_list, "a list of float or double"),
                "text" => (&mut text, is_text, "a text"),
                "title" => (&mut title, is_text, "a text"),
                "meta" => (&mut meta, is_text, "a text that holds a JSON object"),
                // pandas adds the labels of its rows without being asked.
                _ if name.starts_with("__index_level_") => continue,
                _ => bail!(
                    "it has the column '{name}'; known are id, vector, text, title and meta, and the \
                     last holds all that is kept besides, as JSON"
                ),
            };
            let is = described(column);
            ensure!(is_right(column), "its column '{name}' should be {should}, and is {is}");
            ensure!(place.replace(leaf).is_none(), "it has the column '{name}' twice");
        }
        let id = id.context("it has no column 'id'")?;
        let vector = vector.context("it has no column 'vector'")?;
        Ok(Columns { id, vector, text, title, meta })
    }
}

/// One value a row, null or not: no list, no member of a group.
fn is_flat(column: &ColumnDescriptor) -> bool {
    column.path().parts().len() == 1 && column.max_rep_level() == 0
}

fn is_text(column: &ColumnDescriptor) -> bool {
    // Some programs write texts as bytes without saying that they are texts.
    let said = matches!(
        column.logical_type_ref(),
        None | Some(LogicalType::String | LogicalType::Enum | LogicalType::Json)
    );
    is_flat(column) && column.physical_type() == Type::BYTE_ARRAY && said
}

fn is_id(column: &ColumnDescriptor) -> bool {
    let is_whole = matches!(column.logical_type_ref(), None | Some(LogicalType::Integer(_)))
        && matches!(column.physical_type(), Type::INT32 | Type::INT64);
    is_text(column) || is_flat(column) && is_whole
}

fn is_list(column: &ColumnDescriptor) -> bool {
    let is_number = match column.physical_type() {
        Type::FLOAT | Type::DOUBLE => true,
        Type::FIXED_LEN_BYTE_ARRAY => {
            matches!(column.logical_type_ref(), Some(LogicalType::Float16))
        }
        _ => false,
    };
    is_number && column.max_rep_level() == 1
}

/// What a column is, in the words of the format.
fn described(column: &ColumnDescriptor) -> String {
    let physical = column.physical_type();
    let kind = match column.logical_type_ref() {
        Some(logical) => format!("{physical} ({logical:?})"),
        None => physical.to_string(),
    };
    match (column.max_rep_level(), column.path().parts().len()) {
        (0, 1) => kind,
        (0, _) => format!("a group with {kind} in it"),
        (1, _) => format!("a list of {kind}"),
        _ => format!("a list of lists of {kind}"),
    }
}
