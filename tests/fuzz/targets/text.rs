//! Filters and documents.

use std::path::Path;
use std::time::Duration;

use gemmule::engine::ingest::{Limits, extract as read};
use storage::Filter;

pub(super) fn filter_seeds() -> Vec<Vec<u8>> {
    let filters = [
        "lang = 'en' AND year >= 2020 AND path LIKE 'docs/%' AND tag IN ('a', 'b')",
        "NOT (a.b <> -1.5e3 OR \"odd name\" IS NOT NULL) AND c BETWEEN 1 AND 2 AND d NOT LIKE '_!%' ESCAPE '!'",
        "time >= DATE '2024-02-29' OR done = true OR x IS NULL",
        r#"{"and": [{"lang": "en"}, {"year": {"gte": 2020, "lt": 2025}}, {"not": {"tag": {"in": ["a", 1, true]}}}]}"#,
        r#"{"path": {"like": "docs/%"}}"#,
    ];
    filters.map(|filter| filter.as_bytes().to_vec()).into()
}

pub(super) fn filter(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let json = serde_json::from_str(text).ok();
    let from_json = json.and_then(|json| Filter::from_json(&json).ok());
    for filter in Filter::parse(text).ok().into_iter().chain(from_json) {
        // Printed in either form it is the same filter.
        let printed = filter.to_string();
        assert_eq!(Filter::parse(&printed).as_ref(), Ok(&filter), "{printed}");
        assert_eq!(Filter::from_json(&filter.to_json()).as_ref(), Ok(&filter), "{printed}");
    }
}

/// What a document may be called: the first byte of an input chooses.
const NAMES: [&str; 12] = [
    "a.md", "a.html", "a.docx", "a.pdf", "a.rst", "a.json", "a.ipynb", "a.csv", "a.xml", "a.epub",
    "a.pptx", "a.txt",
];

pub(super) fn extract_seeds() -> Vec<Vec<u8>> {
    let texts = [
        (
            0,
            "---\ntitle: \"a\nlist: [1, '2']\n---\n# \u{e9} *a* `b\n\n- x\n  - y\n\n|a|b|\n|-|-|\n|1|2|\n",
        ),
        (
            1,
            "<!doctype html><title>\u{e9}</title><nav>n</nav><p>a<table><tr><td>b<td>c</table><pre>\n d</pre>",
        ),
        (4, "A: b\n\n\u{e9}\u{e9}\n==\n\ntext::\n\n    code\n"),
        (5, r#"{"a": [1, {"b": "\ud800 \u00e9"}], "c": null}"#),
        (6, r##"{"cells": [{"cell_type": "markdown", "source": ["# \u00e9"]}]}"##),
        (7, "a,\"\u{e9}\nb\"\nc,d\n"),
        (8, "<?xml version='1.0'?><a x='1'><title>&amp;\u{e9}</title><!-- c --><b/></a>"),
        (11, "a\u{0}b \u{fffd}\r\n"),
    ];
    texts.map(|(name, text)| [&[name], text.as_bytes()].concat()).into()
}

pub(super) fn extract(bytes: &[u8]) {
    let Some((name, bytes)) = bytes.split_first() else { return };
    let path = Path::new(NAMES[usize::from(*name) % NAMES.len()]);
    let limits =
        Limits { inflated_bytes: 16 << 20, time: Duration::from_secs(10), ..Limits::default() };
    if let Err(failure) = read(path, bytes.to_vec(), &limits) {
        assert!(
            !failure.reason().contains("took longer"),
            "{}: {}",
            path.display(),
            failure.reason()
        );
    }
}
