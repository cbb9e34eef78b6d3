//! Databases that earlier versions wrote: each opens, and all that was in it is there.
//!
//! `kept/format-1` was written by [`write`] when format 1 was declared, `kept/format-1.txt` is what [`tell`] said of it
//! then. They are never written again: a new format gets a database of its own beside them.
//!
//! ```text
//! GEMMULE_WRITE_KEPT=/tmp/format-2 cargo test --release -p gemmule-storage --test storage kept::
//! ```

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use storage::index::mrl::Quant;
use storage::{Finished, Link, Metric, Reader, Request, Space, Store};
use tempfile::TempDir;

use crate::content::{self, NOTES, WIDTH};
use crate::faults;

const N_DOCUMENTS: u64 = 12;

/// A database with something of everything that a format has.
fn write(dir: &Path) {
    let store = Store::open(dir).unwrap();
    store.maintain(false);
    store.create(NOTES, &content::space()).unwrap();
    let put = |collection: &str, numbers: std::ops::Range<u64>, version: u64| {
        let form = store.space(collection).unwrap().unwrap().form();
        let documents =
            numbers.map(|number| content::given(content::document(number, version), form));
        store.put(collection, &documents.collect::<Vec<_>>()).unwrap();
    };
    put(NOTES, 0..N_DOCUMENTS, 0);
    store.seal(NOTES, &|| false).unwrap();
    // Dead rows in the segment, unsealed rows beside it, a folder, links, and a part of it in another space.
    put(NOTES, 3..6, 1);
    store.delete(NOTES, &[content::id(7)]).unwrap();
    store.add_root(NOTES, "/notes").unwrap();
    for name in ["clicks", "pairs"] {
        let bytes = name.as_bytes().to_vec();
        store
            .install_link(NOTES, Link { name: name.to_owned(), space: content::space(), bytes })
            .unwrap();
    }
    store.use_link(NOTES, Some("clicks")).unwrap();
    content::reembed(&store, 4).unwrap();

    let bits = Space { dims: WIDTH, quant: Quant::Binary, ..content::space() };
    store.create("bits", &bits).unwrap();
    put("bits", 0..N_DOCUMENTS, 2);
    store.seal("bits", &|| false).unwrap();

    for metric in Metric::ALL {
        let name = metric.to_string();
        store.create(&name, &Space::of_vectors(WIDTH, metric)).unwrap();
        put(&name, 0..N_DOCUMENTS, 3);
        store.seal(&name, &|| false).unwrap();
        put(&name, N_DOCUMENTS..N_DOCUMENTS + 2, 3);
    }
}

/// All that a user can learn of a database, by name and in one order.
fn tell(store: &Store) -> String {
    let mut told = String::new();
    for (name, space) in store.collections().unwrap() {
        let Space { model, fingerprint, document_prompt, link, full_width, dims, quant } = &space;
        writeln!(told, "collection {name} {model} {fingerprint} {document_prompt:?} {link:?}")
            .unwrap();
        writeln!(told, "width {full_width} codes {dims} {quant}").unwrap();
        writeln!(told, "roots {:?}", store.roots(&name).unwrap()).unwrap();
        let links = store.links(&name).unwrap();
        writeln!(
            told,
            "links {:?} active {:?} previous {:?}",
            links.names, links.active, links.previous
        )
        .unwrap();
        for link in &links.names {
            writeln!(told, "link {link} {:?}", store.link(&name, link).unwrap().bytes).unwrap();
        }
        for info in store.documents(&name).unwrap() {
            let (title, source, stamps) = (&info.title, &info.source, &info.content_stamps);
            writeln!(told, "document {} {title:?} row {}", info.id, info.first_row).unwrap();
            let meta = serde_json::Value::Object(info.meta.clone()).to_string();
            writeln!(told, "meta {}", sum(meta.as_bytes())).unwrap();
            if let (Some(source), Some(stamps)) = (source, stamps) {
                let storage::Source { root, path, len, mtime_ns, ctime_ns, inode, .. } = source;
                writeln!(told, "file {root} {path} {len} {mtime_ns} {ctime_ns} {inode}").unwrap();
                let storage::Source { content, settings, kind, indexed_at_ns, .. } = source;
                writeln!(told, "content {content:?} {settings:?} {kind} {indexed_at_ns}").unwrap();
                writeln!(told, "stamps {} {}", stamps.mtime_ns, stamps.indexed_at_ns).unwrap();
            }
            let chunks = store.chunks(&name, &info.id, 0..u32::MAX).unwrap();
            for (chunk, row) in chunks.iter().zip(info.first_row..) {
                let storage::StoredChunk { chunk_idx, text, range, page, headings, .. } = chunk;
                let text = sum(text.as_bytes());
                writeln!(told, "chunk {chunk_idx} {text} {range:?} {page:?} {headings:?}").unwrap();
                let storage::StoredChunk { n_tokens, precision, hash, .. } = chunk;
                writeln!(told, "of {n_tokens} tokens in {precision:?} {hash:?}").unwrap();
                let vector = store.vector(&name, row).unwrap().unwrap();
                writeln!(told, "vector {}", sum(vector.values().bytes())).unwrap();
            }
        }
        let request = Request { exact: true, ..Request::new(content::unit_vector(5), 5) };
        let hits = store.search(&name, &request).unwrap().hits;
        let rows: Vec<u64> = hits.iter().map(|hit| hit.row).collect();
        writeln!(told, "nearest {rows:?}").unwrap();
    }
    told
}

/// A checksum in hex, for what would be long.
fn sum(bytes: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(bytes))
}

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kept")
}

#[test]
fn databases_of_each_format_open_with_all_that_was_in_them() {
    for format in ["format-1"] {
        let dir = TempDir::new().unwrap();
        let db = dir.path().join("db");
        faults::copy_all(&kept().join(format), &db);
        let reader = Reader::open(&db).unwrap();
        let store = Store::open(&db).unwrap();
        store.maintain(false);
        let status = store.status().unwrap();
        assert_eq!(status.warnings, Vec::<String>::new(), "{format}");
        let told = fs::read_to_string(kept().join(format!("{format}.txt"))).unwrap();
        assert_eq!(tell(&store), told, "{format}");
        assert_eq!(reader.collections().unwrap(), store.collections().unwrap(), "{format}");
        let made: u64 = status
            .collections
            .iter()
            .flat_map(|c| &c.segments)
            .flat_map(|s| s.precisions.values())
            .sum();
        let n_rows: usize =
            status.collections.iter().flat_map(|c| &c.segments).map(|s| s.rows).sum();
        assert_eq!(made, n_rows as u64, "{format}");

        // And it goes on: what was begun is finished, what is put is there, nothing is found wrong.
        let (successor, pending) = content::reembed(&store, usize::MAX).unwrap();
        assert!(!pending.is_empty() && pending.len() < N_DOCUMENTS as usize, "{format}");
        assert!(matches!(successor.finish(&|| false).unwrap(), Finished::Swapped { .. }));
        for (name, space) in store.collections().unwrap() {
            let document = content::given(content::document(2, 9), space.form());
            store.put(&name, &[document]).unwrap();
            store.compact(&name, &|| false).unwrap();
        }
        assert_eq!(store.check(false).unwrap(), Vec::new(), "{format}");
    }
}

/// Writes a database to be kept; see the top of this file.
#[test]
fn a_database_to_be_kept_is_written_where_it_is_asked_for() {
    let dir = TempDir::new().unwrap();
    let db = match std::env::var_os("GEMMULE_WRITE_KEPT") {
        Some(asked) => PathBuf::from(asked),
        None => dir.path().join("db"),
    };
    write(&db);
    let told = tell(&Store::open(&db).unwrap());
    // A cache, and what says that its owner runs.
    fs::remove_dir_all(db.join("lexicon")).unwrap();
    fs::remove_file(db.join("owner.json")).unwrap();
    fs::write(db.with_extension("txt"), told).unwrap();
}
