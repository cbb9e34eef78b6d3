//! An indexed folder against its files, extracted again: the chunks hold every byte of the text.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use gemmule::Database;
use gemmule::engine::ingest::{self, FileState, Limits, MarkKind, Offsets};

/// What the test indexes: a folder of mixed documents beside the working copy, where it is there.
/// All of it if `GEMMULE_DB` names a database in which it is indexed already, else a part; without
/// the folder the project's own pages.
fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = root.join("../shared/data/docs");
    if !docs.is_dir() {
        println!("skipped: {} is not there; the project's own pages serve", docs.display());
        return vec![root.join("tests/reference"), root.join("index"), root.join("storage")];
    }
    if std::env::var_os("GEMMULE_DB").is_some() {
        return vec![docs];
    }
    ["pdf_samples", "office_samples", "tigerbeetle_docs"].map(|part| docs.join(part)).to_vec()
}

#[test]
fn chunks_hold_every_byte_of_the_text() {
    let place = tempfile::tempdir().unwrap();
    let path = std::env::var_os("GEMMULE_DB").map_or(place.path().join("db"), PathBuf::from);
    let db = Database::open(path).unwrap();
    let collection = db.collection("default").unwrap();
    let mut seen = 0;
    for folder in folders() {
        let ledger = collection.sync(&folder).unwrap();
        let states =
            [FileState::Indexed, FileState::Unchanged, FileState::Skipped, FileState::Failed];
        let counts = states.map(|state| ledger.count(state));
        assert_eq!(ledger.n_seen(), counts.iter().sum::<usize>(), "the ledger adds up");
        let has_reason = |file: &&ingest::FileReport| {
            matches!(file.state, FileState::Indexed | FileState::Unchanged) == file.reason.is_none()
        };
        assert_eq!(ledger.files.iter().filter(has_reason).count(), ledger.files.len());
        println!("{}: {counts:?} indexed, unchanged, skipped, failed", folder.display());
        seen += counts[0] + counts[1];
        let again = collection.sync(&folder).unwrap();
        assert_eq!(again.chunks_embedded, 0, "a second run embeds nothing");
    }
    assert!(seen > 0);

    let mut words = Words::default();
    for info in collection.list().unwrap() {
        let path = Path::new(&info.id);
        let bytes = std::fs::read(path).unwrap();
        let extracted = ingest::extract(path, bytes.clone(), &Limits::default()).unwrap();
        if extracted.offsets == Offsets::Source {
            let is_bom = bytes.starts_with(b"\xEF\xBB\xBF");
            assert!(is_bom || extracted.text.as_bytes() == bytes, "{}", path.display());
        }
        let chunks = collection.chunks(&info.id, 0..u32::MAX).unwrap();
        assert_eq!(chunks.len(), info.n_chunks as usize);
        let mut covered = 0;
        for chunk in &chunks {
            let range = chunk.range.start as usize..chunk.range.end as usize;
            let between = &extracted.text[covered..range.start];
            assert!(between.trim().is_empty(), "{}: {between:?} is in no chunk", path.display());
            assert_eq!(chunk.text, extracted.text[range.clone()], "{}", path.display());
            let page = extracted
                .marks
                .iter()
                .take_while(|mark| mark.offset <= range.start)
                .filter_map(|mark| match mark.kind {
                    MarkKind::Page(page) => Some(page),
                    _ => None,
                })
                .last();
            assert_eq!(chunk.page, page, "{}", path.display());
            covered = range.end;
        }
        let rest = &extracted.text[covered..];
        assert!(rest.trim().is_empty(), "{}: {rest:?} is in no chunk", path.display());
        if path.extension().is_some_and(|ending| ending == "pdf") {
            words.compare(path, &chunks.iter().map(|c| &*c.text).collect::<Vec<_>>().join("\n"));
        }
    }
    words.report();
}

/// Words that `pdftotext` finds, and how many of them our chunks have.
#[derive(Default)]
struct Words {
    theirs: usize,
    ours: usize,
    is_missing: bool,
}

impl Words {
    fn compare(&mut self, path: &Path, text: &str) {
        let Ok(output) = Command::new("pdftotext").arg(path).arg("-").output() else {
            self.is_missing = true;
            return;
        };
        let words = |text: &str| {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
                *counts.entry(word.to_lowercase()).or_default() += 1;
            }
            counts
        };
        let (theirs, ours) = (words(&String::from_utf8_lossy(&output.stdout)), words(text));
        let found = theirs.iter().map(|(word, n)| (*n).min(ours.get(word).copied().unwrap_or(0)));
        self.ours += found.sum::<usize>();
        self.theirs += theirs.values().sum::<usize>();
    }

    fn report(&self) {
        if self.is_missing {
            println!("skipped: pdftotext is not installed, words of PDF files are not compared");
        } else if self.theirs > 0 {
            println!("{} of {} words of pdftotext are there", self.ours, self.theirs);
            assert!(self.ours * 100 >= self.theirs * 95);
        }
    }
}
