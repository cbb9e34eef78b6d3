//! A folder against records that are a map.

use std::fs;
use std::io::{Cursor, Write};
use std::sync::LazyLock;

use tempfile::TempDir;

use super::*;

static EMBEDDER: LazyLock<Embedder> =
    LazyLock::new(|| Embedder::open("nano").expect("nano is compiled in"));

/// What the store would hold.
#[derive(Default)]
struct Map {
    documents: BTreeMap<String, Embedded>,
    embeddings: Embeddings,
    n_kept: usize,
}

impl Map {
    fn stamps(&self) -> BTreeMap<String, Stamp> {
        let stamp = |(id, document): (&String, &Embedded)| Some((id.clone(), document.file?.0));
        self.documents.iter().filter_map(stamp).collect()
    }

    fn texts(&self, name: &str) -> Vec<&str> {
        let found = self.documents.iter().find(|(id, _)| id.ends_with(name));
        found.map_or(Vec::new(), |(_, d)| d.chunks.iter().map(|(c, _)| &*c.text).collect())
    }
}

impl Records for Map {
    type Error = Error;

    fn embedding(&mut self, hash: &[u8; 16]) -> Result<Option<Embedding>> {
        Ok(self.embeddings.get(hash).cloned())
    }

    fn keep(&mut self, documents: Vec<Embedded>) -> Result<()> {
        for document in documents {
            self.n_kept += 1;
            let made = document.chunks.iter().map(|(chunk, made)| (chunk.hash, made.clone()));
            self.embeddings.extend(made);
            self.documents.insert(document.id.clone(), document);
        }
        Ok(())
    }

    fn touch(&mut self, stamps: Vec<(String, Stamp)>) -> Result<()> {
        for (id, stamp) in stamps {
            let file = &mut self.documents.get_mut(&id).expect("it was on record").file;
            *file = file.map(|(_, kind)| (stamp, kind));
        }
        Ok(())
    }

    fn remove(&mut self, paths: &[String]) -> Result<()> {
        paths.iter().for_each(|path| drop(self.documents.remove(path)));
        Ok(())
    }
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn run(folder: &TempDir, map: &mut Map) -> Ledger {
    let root = root(folder.path()).unwrap();
    let known = map.stamps();
    sync(&root, &EMBEDDER, &IngestOptions::default(), &known, map, &mut |_| true).unwrap()
}

fn counts(ledger: &Ledger) -> [usize; 5] {
    use FileState::{Failed, Indexed, Removed, Skipped, Unchanged};
    [Indexed, Unchanged, Skipped, Failed, Removed].map(|state| ledger.count(state))
}

#[test]
fn only_what_changed_is_embedded() {
    let folder = folder(&[("a.md", "# One\n\nA river."), ("b/c.txt", "A stone."), ("d.txt", " ")]);
    let mut map = Map::default();
    let first = run(&folder, &mut map);
    assert_eq!(counts(&first), [2, 0, 1, 0, 0]);
    assert_eq!((first.n_seen(), first.chunks_embedded), (3, 2));
    assert!(first.tokens_embedded > 0 && first.seconds_embedding > 0.0);

    let second = run(&folder, &mut map);
    assert_eq!((counts(&second), second.chunks_embedded), ([0, 2, 1, 0, 0], 0));

    // The same size within the same tick of a clock: only the content tells.
    fs::write(folder.path().join("b/c.txt"), "A paper").unwrap();
    fs::write(folder.path().join("b/c.txt"), "A bread.").unwrap();
    let third = run(&folder, &mut map);
    assert_eq!((counts(&third), third.chunks_embedded), ([1, 1, 1, 0, 0], 1));
    assert_eq!(map.texts("c.txt"), ["A bread."]);
}

#[test]
fn a_moved_file_is_not_embedded_again() {
    let folder = folder(&[("a.txt", "A river runs."), ("b.txt", "A stone lies.")]);
    let mut map = Map::default();
    run(&folder, &mut map);
    fs::rename(folder.path().join("a.txt"), folder.path().join("z.txt")).unwrap();
    let ledger = run(&folder, &mut map);
    assert_eq!((counts(&ledger), ledger.chunks_embedded), ([1, 1, 0, 0, 1], 0));
    assert_eq!(map.texts("z.txt"), ["A river runs."]);
    assert!(map.texts("a.txt").is_empty());
}

/// A Word document of one paragraph.
fn docx(text: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("word/document.xml", zip::write::SimpleFileOptions::default()).unwrap();
    let body = format!("<w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body>");
    write!(zip, "<w:document xmlns:w='w'>{body}</w:document>").unwrap();
    zip.finish().unwrap().into_inner()
}

#[test]
fn a_file_without_text_any_more_leaves_and_a_broken_one_stays() {
    let folder = folder(&[("a.txt", "A river."), ("c.txt", "x")]);
    let (word, whole) = (folder.path().join("b.docx"), docx("A stone."));
    fs::write(&word, &whole).unwrap();
    let mut map = Map::default();
    assert_eq!(counts(&run(&folder, &mut map)), [3, 0, 0, 0, 0]);
    fs::write(folder.path().join("a.txt"), "").unwrap();
    fs::write(&word, &whole[..whole.len() / 2]).unwrap();
    let ledger = run(&folder, &mut map);
    assert_eq!(counts(&ledger), [0, 1, 1, 1, 0]);
    assert!(map.texts("a.txt").is_empty());
    assert_eq!(map.texts("b.docx"), ["A stone."]);
    let failed = ledger.files.iter().find(|file| file.state == FileState::Failed).unwrap();
    assert!(failed.reason.as_ref().unwrap().contains("is kept"), "{failed:?}");
}

#[test]
fn a_root_without_any_file_removes_nothing() {
    let folder = folder(&[("a.txt", "A river."), ("b.txt", "A stone.")]);
    let mut map = Map::default();
    run(&folder, &mut map);
    for name in ["a.txt", "b.txt"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    let ledger = run(&folder, &mut map);
    assert_eq!(counts(&ledger), [0; 5]);
    assert_eq!(map.documents.len(), 2);
    assert!(ledger.warnings[0].contains("nothing was removed"), "{:?}", ledger.warnings);
}

#[test]
fn a_stopped_run_keeps_what_it_finished_and_the_next_goes_on() {
    let many: Vec<(String, String)> =
        (0..200).map(|i| (format!("{i:03}.txt"), format!("Letter number {i}."))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, text)| (&**name, &**text)).collect();
    let folder = folder(&many);
    let mut map = Map::default();
    let root = root(folder.path()).unwrap();
    let options = IngestOptions::default();
    let mut watch = |progress: &Progress| progress.files < BATCH_FILES;
    let first = sync(&root, &EMBEDDER, &options, &BTreeMap::new(), &mut map, &mut watch).unwrap();
    assert!(first.stopped);
    assert_eq!((map.n_kept, first.files.len()), (BATCH_FILES, BATCH_FILES));
    let second = run(&folder, &mut map);
    assert!(!second.stopped);
    assert_eq!(counts(&second), [200 - BATCH_FILES, BATCH_FILES, 0, 0, 0]);
    assert_eq!(map.documents.len(), 200);
}

#[test]
fn a_root_that_is_not_there_is_an_error_that_names_it() {
    let error = root(Path::new("no/such/folder")).unwrap_err().to_string();
    assert!(error.contains("no/such/folder"), "{error}");
}

#[test]
fn a_heading_path_too_long_for_the_window_gives_way_and_the_text_does_not() {
    let heading = "many words of a heading that never ends ".repeat(400);
    let text = format!("# {heading}\n\n## {heading}\n\nThe text itself.\n");
    let folder = folder(&[("a.md", &text)]);
    let mut map = Map::default();
    let ledger = run(&folder, &mut map);
    assert_eq!(counts(&ledger), [1, 0, 0, 0, 0]);
    let window = EMBEDDER.package().window;
    let chunks = &map.documents.values().next().unwrap().chunks;
    assert!(chunks.iter().all(|(chunk, _)| chunk.tokens.ids.len() <= window));
    assert!(chunks.iter().any(|(chunk, _)| chunk.text.contains("The text itself.")));
}

#[test]
fn added_documents_are_cut_and_an_empty_one_has_no_chunks() {
    let mut map = Map::default();
    let documents = vec![
        Document::new("one", "A river runs.").title("Water").meta("lang", "en"),
        Document::new("empty", ""),
    ];
    let ledger = add(documents, &EMBEDDER, &IngestOptions::default(), &mut map).unwrap();
    assert_eq!(ledger.chunks_embedded, 1);
    assert_eq!(map.documents["empty"].chunks.len(), 0);
    let one = &map.documents["one"];
    assert_eq!((one.title.as_deref(), &one.meta["lang"]), (Some("Water"), &Value::from("en")));
    let length: f32 = one.chunks[0].1.vector.iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-5);
}
