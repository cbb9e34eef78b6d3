//! Ids, metadata, texts, vectors and numbers that nobody expects: the right answer, or an error that says what to do.

use gemmule::{Collection, Database, Document, Fusion, Metric};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// Longest id of a document, in bytes.
const MAX_ID_BYTES: usize = 4096;

/// A collection of vectors of width 3 in a database of its own.
fn vectors() -> (TempDir, Collection) {
    let place = tempfile::tempdir().unwrap();
    let db = Database::open(place.path().join("db")).unwrap();
    (place, db.collection_of_vectors("rows", 3, Metric::Cosine).unwrap())
}

/// One vector, under an id.
fn add(rows: &Collection, document: impl Into<Document>) -> gemmule::Result<()> {
    rows.add_vectors([document.into()], [[1.0, 0.5, 0.25]])
}

/// Ids that break programs that take them for paths, lines, C strings, or the same as another.
fn odd_ids() -> Vec<String> {
    let mut ids: Vec<String> = [
        "\0",
        "a\0b",
        "\n",
        "a\nb",
        "a\r\n",
        "\t",
        " ",
        "../../etc/passwd",
        "/",
        "C:\\con",
        "a#0",
        "#",
        "-k",
        "--",
        "'; DROP TABLE x",
        "\u{202e}abc",
        "\u{feff}",
        "\u{200b}",
        "a",
        "\u{430}",
        "\u{e9}",
        "e\u{301}",
        "\u{fb01}",
        "fi",
        "\u{1f600}",
        "\u{10ffff}",
        "{\"id\": 1}",
        "%s%n",
    ]
    .map(str::to_owned)
    .into();
    ids.push("x".repeat(MAX_ID_BYTES));
    ids.push("\u{e9}".repeat(MAX_ID_BYTES / 2));
    ids
}

#[test]
fn odd_ids_are_ids_each_its_own_through_seals_openings_and_deletions() {
    let (place, rows) = vectors();
    let ids = odd_ids();
    rows.add_vectors(ids.clone(), vec![[1.0, 2.0, 3.0]; ids.len()]).unwrap();
    let check = |rows: &Collection, expected: &[String]| {
        let mut expected = expected.to_vec();
        expected.sort();
        let listed: Vec<String> = rows.list().unwrap().into_iter().map(|info| info.id).collect();
        assert_eq!(listed, expected);
        for id in &expected {
            assert_eq!(&rows.get(id).unwrap().unwrap().id, id);
            assert_eq!(rows.vectors(id).unwrap().len(), 1);
            // A text in a filter doubles its quotes.
            let filter = format!("id = '{}'", id.replace('\'', "''"));
            let hits = rows.search("").vector([1.0, 1.0, 1.0]).filter(&filter).run().unwrap().hits;
            assert!(hits.len() == 1 && &hits[0].document == id, "{id:?}: {hits:?}");
        }
    };
    check(&rows, &ids);
    rows.seal().unwrap();
    check(&rows, &ids);
    drop(rows);
    let db = Database::open(place.path().join("db")).unwrap();
    let rows = db.collection("rows").unwrap();
    check(&rows, &ids);
    let (gone, left) = ids.split_at(ids.len() / 2);
    assert_eq!(rows.delete(gone).unwrap(), gone.len());
    check(&rows, left);
}

#[test]
fn an_id_that_is_empty_or_too_long_is_refused_and_nothing_is_added() {
    let (_place, rows) = vectors();
    for (length, expected) in [
        (0, "id is empty"),
        (MAX_ID_BYTES + 1, "4097 bytes, 4096 is the most"),
        (64 << 10, "65536 bytes, 4096 is the most"),
        ((64 << 10) + 1, "65537 bytes, 4096 is the most"),
    ] {
        let ids = ["good".to_owned(), "x".repeat(length)];
        let error = rows.add_vectors(ids, [[1.0, 0.0, 0.0]; 2]).unwrap_err().to_string();
        assert!(error.contains(expected) && error.len() < 1000, "{error}");
        assert!(rows.list().unwrap().is_empty());
    }
}

/// An object in an object and so on, so many in all.
fn nested(depth: usize) -> Map<String, Value> {
    let inner = |value: Value, _| json!({ "in": value });
    let value = (1..depth).fold(json!({ "end": 1 }), inner);
    value.as_object().unwrap().clone()
}

#[test]
fn metadata_may_be_large_and_64_deep_and_no_deeper() {
    let (_place, rows) = vectors();
    let large = "many words ".repeat((1 << 20) / 11);
    for (id, meta) in [
        ("large", json!({ "text": large, "n": 1 }).as_object().unwrap().clone()),
        ("wide", (0..10_000).map(|n| (format!("field {n}"), json!(n))).collect()),
        ("deep", nested(64)),
    ] {
        let document = Document { meta: meta.clone(), ..Document::new(id, "") };
        add(&rows, document).unwrap();
        assert_eq!(rows.get(id).unwrap().unwrap().meta, meta, "{id}");
    }
    rows.seal().unwrap();
    for (filter, expected) in [("n = 1", "large"), ("\"field 9999\" = 9999", "wide")] {
        let found = rows.list_where(filter).unwrap();
        assert!(found.len() == 1 && found[0].id == expected, "{filter}: {found:?}");
    }
    for depth in [65, 66, 1000] {
        let document = Document { meta: nested(depth), ..Document::new("deeper", "") };
        let error = add(&rows, document).unwrap_err().to_string();
        assert!(error.contains("deeper") && error.contains("more than 64 deep"), "{error}");
    }
    assert_eq!(rows.list().unwrap().len(), 3);
}

#[test]
fn texts_of_nothing_of_white_space_and_of_too_much() {
    let (_place, rows) = vectors();
    for text in ["", " ", "\n\t\u{a0}\r\n", "\u{200b}", "\0"] {
        add(&rows, Document::new("a", text)).unwrap();
        assert_eq!(rows.chunks("a", 0..9).unwrap()[0].text, text);
    }
    let error = add(&rows, Document::new("huge", "x".repeat(100_000_000))).unwrap_err().to_string();
    assert!(error.contains("huge") && error.contains("67108864 is the most"), "{error}");
    assert!(rows.get("huge").unwrap().is_none());

    // A model is asked for nothing where there is nothing.
    let place = tempfile::tempdir().unwrap();
    let db = Database::open(place.path().join("db")).unwrap();
    let notes = db.collection("notes").unwrap();
    let blank = ["", " ", "\n\t\u{a0}\r\n"];
    let documents = blank.iter().enumerate().map(|(n, text)| Document::new(n.to_string(), *text));
    notes.add(documents).unwrap();
    notes.add([Document::new("real", "Lava is molten rock.")]).unwrap();
    let hits = notes.search("volcano").run().unwrap().hits;
    assert!(hits.len() == 1 && hits[0].document == "real", "{hits:?}");
    for query in ["", " ", "\n\t"] {
        let error = notes.search(query).run().unwrap_err().to_string();
        assert!(error.contains("empty"), "{error}");
    }
}

#[test]
fn vectors_that_are_none_are_refused_by_row_and_nothing_is_added() {
    let (_place, rows) = vectors();
    let cases: [(&[f32], &str); 7] = [
        (&[1.0, f32::NAN, 0.0], "position 1"),
        (&[f32::INFINITY, 0.0, 0.0], "position 0"),
        (&[0.0, 0.0, f32::NEG_INFINITY], "position 2"),
        (&[0.0, -0.0, 0.0], "all zeros"),
        (&[1.0, 0.0], "2 values"),
        (&[1.0, 0.0, 0.0, 0.0], "4 values"),
        (&[], "0 values"),
    ];
    for (wrong, expected) in cases {
        let pair = [&[1.0, 0.0, 0.0][..], wrong];
        let error = rows.add_vectors(["good", "wrong"], pair).unwrap_err().to_string();
        assert!(error.contains("row 1") && error.contains(expected), "{error}");
        assert!(rows.list().unwrap().is_empty());
        let error = rows.search("").vector(wrong).run().unwrap_err().to_string();
        assert!(error.contains("the query") && error.contains(expected), "{error}");
    }
    // The smallest and the largest there are have a direction too.
    for (id, row) in [("small", [1e-45, 0.0, 0.0]), ("large", [f32::MAX, f32::MAX, 0.0])] {
        rows.add_vectors([id], [row]).unwrap();
        let hit = rows.search("").vector(row).limit(1).run().unwrap().hits.remove(0);
        assert!(hit.document == id && hit.score > 0.999, "{hit:?}");
    }
}

#[test]
fn any_number_of_hits_context_and_tokens_may_be_asked_for() {
    const N_ROWS: usize = 700;
    let (_place, rows) = vectors();
    let document = |n: usize| Document::new(n.to_string(), format!("word{} common", n % 7));
    let vector = |n: usize| [(n % 31) as f32 - 15.2, (n % 17) as f32 - 8.1, (n % 5) as f32 + 0.3];
    let put = |range: std::ops::Range<usize>| {
        rows.add_vectors(range.clone().map(document), range.map(vector)).unwrap();
    };
    put(0..N_ROWS / 2);
    rows.seal().unwrap();
    put(N_ROWS / 2..N_ROWS);
    let fusions = [Fusion::default(), Fusion::VectorOnly, Fusion::TextOnly];
    for fusion in fusions {
        let ask = || rows.search("common").vector([1.0, 0.2, 0.1]).fusion(fusion);
        let n_hits = |search: gemmule::Search<'_>| search.run().unwrap().hits.len();
        assert_eq!(n_hits(ask().limit(0)), 0);
        for many in [N_ROWS, N_ROWS + 1, 1 << 40, usize::MAX / 2, usize::MAX] {
            assert_eq!(n_hits(ask().limit(many)), N_ROWS, "{fusion:?}, {many}");
            assert_eq!(n_hits(ask().limit(many).exact()), N_ROWS);
            assert_eq!(n_hits(ask().limit(many).diversity(0.3).group_by_document()), N_ROWS);
        }
        let filter = "path = 'nowhere' AND tokens > 9";
        for k in [0, 10, usize::MAX] {
            assert_eq!(n_hits(ask().limit(k).filter(filter)), 0);
        }
        // The context of a document of one chunk is nothing, however much is asked for.
        let hits = ask().context(u32::MAX).run().unwrap().hits;
        assert!(
            hits.len() == 10
                && hits.iter().all(|hit| hit.before.is_empty() && hit.after.is_empty())
        );
        assert_eq!(n_hits(ask().max_tokens(u64::MAX)), 10);
    }
}
