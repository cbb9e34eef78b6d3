//! What a filter sees of a row: names, each with the values it has there.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::scalar::Scalar;
use crate::document::DocumentInfo;

/// Deepest metadata that is stored. Its JSON is read again with a library that stops at 128.
pub(crate) const MAX_META_DEPTH: usize = 64;

/// Fields that differ between the chunks of a document.
pub(crate) const CHUNK_FIELDS: [&str; 4] = ["heading", "page", "chunk", "tokens"];

/// What stands between two headings in the field `heading`.
const HEADING_SEPARATOR: &str = " > ";

const NANOSECONDS: i64 = 1_000_000_000;

/// Names with their values; each sorted, without repetition, and not empty.
pub(crate) type Named = BTreeMap<String, Vec<Scalar>>;

/// The fields of a row: its document's, shared by all of its rows, and its own, which hide those of the same name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    document: Arc<Named>,
    chunk: Vec<(&'static str, Vec<Scalar>)>,
}

impl Fields {
    /// The fields that a document's rows share.
    pub(crate) fn of_document(info: &DocumentInfo) -> Fields {
        let mut named = flatten(&info.meta);
        let mut own = |name: &str, values: Vec<Scalar>| named.insert(name.to_owned(), values);
        own("path", paths(info).into_iter().map(Scalar::text).collect());
        own("id", vec![Scalar::text(&info.id)]);
        if let Some(title) = &info.title {
            own("title", vec![Scalar::text(title)]);
        }
        if let Some(source) = &info.source {
            own("kind", vec![Scalar::text(&source.kind)]);
        }
        if let Some(content) = &info.content_stamps {
            own("time", moment(content.mtime_ns));
            own("indexed", moment(content.indexed_at_ns));
        }
        Fields { document: Arc::new(named), chunk: Vec::new() }
    }

    /// What filters see of a document whose record is lost.
    pub(crate) fn of_lost_document(id: &str) -> Fields {
        let named = ["path", "id"].map(|name| (name.to_owned(), vec![Scalar::text(id)]));
        Fields { document: Arc::new(Named::from(named)), chunk: Vec::new() }
    }

    /// The same with those of one of the document's chunks.
    pub(crate) fn with_chunk(
        &self,
        chunk_idx: u32,
        page: Option<u32>,
        headings: &[String],
        n_tokens: u32,
    ) -> Fields {
        let number = |number: u32| vec![Scalar::Integer(i64::from(number))];
        let [heading_name, page_name, chunk_name, tokens_name] = CHUNK_FIELDS;
        let mut own = Vec::with_capacity(CHUNK_FIELDS.len());
        if !headings.is_empty() {
            own.push((heading_name, vec![Scalar::text(&headings.join(HEADING_SEPARATOR))]));
        }
        own.extend(page.map(|page| (page_name, number(page))));
        own.push((chunk_name, number(chunk_idx)));
        own.push((tokens_name, number(n_tokens)));
        Fields { document: Arc::clone(&self.document), chunk: own }
    }

    /// The values of a field; none if the row does not have it.
    pub(crate) fn get(&self, name: &str) -> &[Scalar] {
        let own = self.chunk.iter().find(|(own, _)| *own == name).map(|(_, values)| values);
        own.or_else(|| self.document.get(name)).map_or(&[], Vec::as_slice)
    }

    /// All fields of the row with their values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[Scalar])> {
        let is_own = |name: &str| self.chunk.iter().any(|(own, _)| *own == name);
        let document = self.document.iter().filter(move |(name, _)| !is_own(name));
        let document = document.map(|(name, values)| (name.as_str(), values.as_slice()));
        document.chain(self.chunk.iter().map(|(name, values)| (*name, values.as_slice())))
    }
}

#[cfg(test)]
impl From<Named> for Fields {
    fn from(named: Named) -> Fields {
        Fields { document: Arc::new(named), chunk: Vec::new() }
    }
}

/// The ways to say where a document is: its source's path, and the same from the root folder and from the folder above
/// it, so that `docs/guide.md` and `guide.md` both mean a file of the folder `docs` that was indexed.
fn paths(info: &DocumentInfo) -> Vec<&str> {
    let Some(source) = &info.source else { return vec![&info.id] };
    let path = Path::new(&source.path);
    let root = Path::new(&source.root);
    let below = |folder: Option<&Path>| path.strip_prefix(folder?).ok()?.to_str();
    let mut paths = vec![&*source.path];
    let relative = [below(root.parent()), below(Some(root))].into_iter().flatten();
    paths.extend(relative.filter(|path| !path.is_empty()));
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// A moment as a date and as seconds since 1970, so that a filter may name either.
fn moment(nanoseconds: i64) -> Vec<Scalar> {
    let seconds = if nanoseconds % NANOSECONDS == 0 {
        Some(Scalar::Integer(nanoseconds / NANOSECONDS))
    } else {
        Scalar::float(nanoseconds as f64 / NANOSECONDS as f64)
    };
    seconds.into_iter().chain([Scalar::date(nanoseconds)]).collect()
}

/// Turns nested metadata into paths with dots. The elements of an array are all values of its path; null is no value.
///
/// Its depth was checked when it was stored.
pub(crate) fn flatten(meta: &Map<String, Value>) -> Named {
    let mut named = Named::new();
    for (name, value) in meta {
        add(&mut named, name.clone(), value);
    }
    for values in named.values_mut() {
        values.sort();
        values.dedup();
    }
    named
}

fn add(named: &mut Named, path: String, value: &Value) {
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(name, value)| add(named, format!("{path}.{name}"), value));
        }
        Value::Array(elements) => {
            elements.iter().for_each(|element| add(named, path.clone(), element));
        }
        value => {
            if let Some(scalar) = Scalar::from_json(value) {
                named.entry(path).or_default().push(scalar);
            }
        }
    }
}

/// Whether metadata is nested deeper than it may be. Uses no stack of its own, so that any depth can be told.
pub(crate) fn is_too_deep(meta: &Map<String, Value>) -> bool {
    let mut level: Vec<&Value> = meta.values().collect();
    for _ in 0..MAX_META_DEPTH {
        let below = level.iter().flat_map(|value| -> Box<dyn Iterator<Item = &Value>> {
            match value {
                Value::Object(object) => Box::new(object.values()),
                Value::Array(elements) => Box::new(elements.iter()),
                _ => Box::new(std::iter::empty()),
            }
        });
        level = below.collect();
        if level.is_empty() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_metadata_becomes_paths_and_arrays_become_several_values() {
        let meta = json!({
            "lang": "en",
            "author": {"name": "Ada", "born": 1815, "x.y": null},
            "author.name": "Countess",
            "tags": ["b", "a", "b", null, ["c"]],
            "parts": [{"n": 1}, {"n": 2.0}],
            "none": null, "empty": [], "nothing": {}, "": true,
        });
        let named = flatten(meta.as_object().unwrap());
        let text = |text: &str| Scalar::Text(text.to_owned());
        let expected = Named::from([
            (String::new(), vec![Scalar::Bool(true)]),
            ("author.born".to_owned(), vec![Scalar::Integer(1815)]),
            ("author.name".to_owned(), vec![text("Ada"), text("Countess")]),
            ("lang".to_owned(), vec![text("en")]),
            ("parts.n".to_owned(), vec![Scalar::Integer(1), Scalar::Integer(2)]),
            ("tags".to_owned(), vec![text("a"), text("b"), text("c")]),
        ]);
        assert_eq!(named, expected);
    }

    #[test]
    fn depth_is_told_without_a_deep_stack() {
        let nested = |depth: usize| {
            let wrap = |inner, n| if n % 2 == 0 { json!([inner]) } else { json!({ "a": inner }) };
            let value = (0..depth).fold(json!(1), wrap);
            Map::from_iter([("a".to_owned(), value)])
        };
        assert!(!is_too_deep(&Map::new()));
        assert!(!is_too_deep(&nested(MAX_META_DEPTH - 1)));
        assert!(is_too_deep(&nested(MAX_META_DEPTH)));
        let text = Value::Object(nested(MAX_META_DEPTH - 1)).to_string();
        assert!(serde_json::from_str::<Value>(&text).is_ok());
    }
}
