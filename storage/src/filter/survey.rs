//! What a filter is for beside searches: how many rows and which documents pass, deleting them, and which fields there are.

use std::collections::{BTreeMap, HashMap};

use index::{RowId, RowSet};
use serde_json::Value;

use super::Filter;
use super::fields::Fields;
use super::scalar::Scalar;
use crate::document::{DocumentInfo, shorten};
use crate::error::{Error, Result};
use crate::reader::Reader;
use crate::records::key::{self, Tag};
use crate::search::view::View;
use crate::segments::sealed::Sealed;
use crate::store::Store;

/// Values shown as examples of a field.
const N_EXAMPLES: usize = 5;

/// A field of a collection's rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name, as a filter's JSON has it; in text, names with other characters than letters, digits, `_` and dots
    /// need double quotes.
    pub name: String,
    /// The types of its values: `boolean`, `number`, `text`.
    pub types: Vec<&'static str>,
    /// Distinct values.
    pub n_values: usize,
    /// Live rows that have a value.
    pub n_rows: usize,
    /// The values that most rows have.
    pub examples: Vec<Value>,
}

/// How many rows have each value, and how many have one.
#[derive(Default)]
struct Counts {
    rows_of: HashMap<Scalar, usize>,
    n_rows: usize,
}

impl Store {
    /// How many live rows pass a filter.
    ///
    /// # Errors
    /// [`Error::NoCollection`]; [`Error::Segment`] or [`Error::Corrupt`] if a segment's metadata is damaged.
    pub fn count(&self, collection: &str, filter: &Filter) -> Result<usize> {
        self.collection(collection)?.view().count(filter)
    }

    /// Deletes the documents that pass a filter, and returns how many they were. Documents without chunks count too.
    ///
    /// # Errors
    /// [`Error::Filter`] if it asks for something that differs between the chunks of a document (`heading`, `page`,
    /// `chunk`, `tokens`); else as [`Store::delete`].
    pub fn delete_where(&self, collection: &str, filter: &Filter) -> Result<usize> {
        check_of_documents(filter)?;
        let (mut writer, collection) = self.to_change(collection)?;
        let mut ids = Vec::new();
        self.tree().scan(&key::prefix(collection.number, Tag::Document), &mut |key, payload| {
            let info = DocumentInfo::decode(&key, &payload?)?;
            if filter.matches(&Fields::of_document(&info)) {
                ids.push(info.id);
            }
            Ok(())
        })?;
        self.delete_all(&mut writer, &collection, &ids)
    }

    /// The documents that pass a filter, without their chunks, ordered by id.
    ///
    /// # Errors
    /// [`Error::Filter`] as [`Store::delete_where`]; else as [`Store::documents`].
    pub fn documents_where(&self, collection: &str, filter: &Filter) -> Result<Vec<DocumentInfo>> {
        passing(self.documents(collection)?, filter)
    }

    /// The fields that the live rows of a collection have, by name: what there is to filter by.
    ///
    /// Looks at every value of every row.
    ///
    /// # Errors
    /// As [`Store::count`].
    pub fn fields(&self, collection: &str) -> Result<Vec<Field>> {
        fields(&self.collection(collection)?.view())
    }
}

impl Reader {
    /// How many live rows pass a filter.
    ///
    /// # Errors
    /// As [`Store::count`].
    pub fn count(&self, collection: &str, filter: &Filter) -> Result<usize> {
        self.view(collection)?.count(filter)
    }

    /// The documents that pass a filter, without their chunks, ordered by id.
    ///
    /// # Errors
    /// [`Error::Filter`] as [`Store::delete_where`]; else as [`Reader::documents`].
    pub fn documents_where(&self, collection: &str, filter: &Filter) -> Result<Vec<DocumentInfo>> {
        passing(self.documents(collection)?, filter)
    }

    /// The fields that the live rows of a collection have, by name.
    ///
    /// # Errors
    /// As [`Store::count`].
    pub fn fields(&self, collection: &str) -> Result<Vec<Field>> {
        fields(&*self.view(collection)?)
    }
}

/// A filter that asks for what differs between chunks says nothing of a document.
fn check_of_documents(filter: &Filter) -> Result<()> {
    let Some(field) = filter.chunk_field() else { return Ok(()) };
    let problem = format!("{field} is of chunks, and here whole documents pass or not");
    Err(Error::Filter { filter: shorten(&filter.to_string()), problem })
}

fn passing(mut documents: Vec<DocumentInfo>, filter: &Filter) -> Result<Vec<DocumentInfo>> {
    check_of_documents(filter)?;
    documents.retain(|info| filter.matches(&Fields::of_document(info)));
    Ok(documents)
}

fn fields(view: &View) -> Result<Vec<Field>> {
    let mut fields: BTreeMap<String, Counts> = BTreeMap::new();
    for sealed in view.sealed() {
        count_sealed(sealed, &mut fields)?;
    }
    for row in view.unsealed().iter().flat_map(|run| run.fields()) {
        for (name, values) in row.iter() {
            let counts = fields.entry(name.to_owned()).or_default();
            counts.n_rows += 1;
            for value in values {
                *counts.rows_of.entry(value.clone()).or_default() += 1;
            }
        }
    }
    Ok(fields.into_iter().map(|(name, counts)| field(name, counts)).collect())
}

fn count_sealed(sealed: &Sealed, fields: &mut BTreeMap<String, Counts>) -> Result<()> {
    let columns = sealed.columns()?;
    let all = RowSet::all(sealed.n_rows());
    let live = sealed.live().unwrap_or(&all);
    for name in columns.names() {
        let name = name.map_err(|problem| sealed.corrupt(problem))?;
        let mut have = RowSet::empty(sealed.n_rows());
        let mut rows_of = Vec::new();
        columns
            .each_value(name, &mut |value, rows| {
                let live_rows = rows.filter(|row| live.contains(RowId(*row)));
                let n_rows = live_rows.inspect(|row| have.insert(RowId(*row))).count();
                if n_rows > 0 {
                    rows_of.push((value.clone(), n_rows));
                }
            })
            .map_err(|problem| sealed.corrupt(problem))?;
        if !rows_of.is_empty() {
            let counts = fields.entry(name.to_owned()).or_default();
            counts.n_rows += have.len();
            for (value, n_rows) in rows_of {
                *counts.rows_of.entry(value).or_default() += n_rows;
            }
        }
    }
    Ok(())
}

fn field(name: String, counts: Counts) -> Field {
    let mut values: Vec<(Scalar, usize)> = counts.rows_of.into_iter().collect();
    // By type first, so that the types can be listed.
    values.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut types: Vec<&str> = values.iter().map(|(value, _)| value.kind()).collect();
    types.dedup();
    values.sort_by_key(|(_, n_rows)| std::cmp::Reverse(*n_rows));
    let examples = values.iter().take(N_EXAMPLES).map(|(value, _)| value.to_json()).collect();
    Field { name, types, n_values: values.len(), n_rows: counts.n_rows, examples }
}
