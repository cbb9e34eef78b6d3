//! The store against a `BTreeMap`: after any sequence of operations both say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use storage::index::mrl::Quant;
use storage::index::{BINARY_DIMS_MIN, Form};
use storage::{
    ContentStamps, Document, DocumentInfo, Filter, Finished, Fusion, Hit, Maintenance, Metric,
    Ranked, Reader, Request, Space, Store, StoredChunk,
};
use tempfile::TempDir;

use crate::content::{self, NOTES, WIDTH};
use crate::faults;

/// Document numbers used; few, so that replacing is common.
pub(crate) const N_NUMBERS: u64 = 12;

#[derive(Clone, Debug)]
enum Operation {
    Put(Vec<(u64, u64)>),
    Touch(u64),
    Delete(Vec<u64>),
    Seal,
    Merge,
    Compact,
    /// To codes of another width and kind; stopped before anything is written anew if it says so.
    Reindex(usize, Quant, bool),
    /// Brings some documents, or all, to the other space, and the collection if it says so.
    Reembed(usize, bool),
    /// Gives up what was brought there.
    GiveUp,
    /// A copy is made and opened.
    Backup,
    /// The directory is copied as it is, and the copy opened.
    Crash,
    Reopen,
}

/// Widths and kinds that the space can have.
fn codes() -> impl Strategy<Value = (usize, Quant)> {
    prop_oneof![
        (1..=WIDTH).prop_map(|dims| (dims, Quant::Int8)),
        (BINARY_DIMS_MIN..=WIDTH).prop_map(|dims| (dims, Quant::Binary)),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        5 => prop::collection::vec((0..N_NUMBERS, 0..100_u64), 1..6).prop_map(Operation::Put),
        1 => (0..N_NUMBERS).prop_map(Operation::Touch),
        2 => prop::collection::vec(0..N_NUMBERS, 1..4).prop_map(Operation::Delete),
        2 => Just(Operation::Seal),
        1 => Just(Operation::Merge),
        1 => Just(Operation::Compact),
        1 => (codes(), any::<bool>())
            .prop_map(|((dims, quant), stops)| Operation::Reindex(dims, quant, stops)),
        2 => (0..N_NUMBERS as usize).prop_map(|n| Operation::Reembed(n, false)),
        2 => Just(Operation::Reembed(usize::MAX, true)),
        1 => Just(Operation::GiveUp),
        1 => Just(Operation::Backup),
        1 => Just(Operation::Crash),
        1 => Just(Operation::Reopen),
    ]
}

/// What the store should hold: each document, and the row its chunks start at.
#[derive(Default)]
pub(crate) struct Model {
    /// How its vectors are kept and compared.
    form: Form,
    documents: BTreeMap<String, (Document, u64)>,
    stamps: BTreeMap<String, ContentStamps>,
    next_row: u64,
    /// The words of each row that text scores count: the live ones, and those that died since the lexicon was written.
    counted: BTreeMap<u64, Vec<String>>,
    /// Rows below were written to the lexicon.
    mark: u64,
    /// Whether it is in the other space.
    is_other: bool,
    /// The first rows of documents that are built in the space that it is not in, and the next row there.
    built: BTreeMap<String, u64>,
    next_built: u64,
}

impl Model {
    pub(crate) fn put(&mut self, document: Document) {
        self.delete(&document.id);
        let first_row = self.next_row;
        self.next_row += document.chunks.len() as u64;
        let stamps = document.source.as_ref().map(|source| ContentStamps {
            mtime_ns: source.mtime_ns,
            indexed_at_ns: source.indexed_at_ns,
        });
        self.stamps.remove(&document.id);
        self.stamps.extend(stamps.map(|stamps| (document.id.clone(), stamps)));
        self.counted.extend((first_row..).zip(words_of_chunks(&document)));
        self.documents.insert(document.id.clone(), (document, first_row));
    }

    /// Gives the next document's chunks rows from here on.
    pub(crate) fn start_at(&mut self, row: u64) {
        self.next_row = row;
    }

    /// The document in the space that the collection is in.
    pub(crate) fn in_space(&self, mut document: Document) -> Document {
        if self.is_other {
            document.chunks = document.chunks.into_iter().map(content::to_other).collect();
        }
        content::given(document, self.form)
    }

    /// Builds these documents in the space that the collection is not in.
    fn build(&mut self, ids: &[String]) {
        for id in ids {
            self.built.insert(id.clone(), self.next_built);
            self.next_built += self.documents[id].0.chunks.len() as u64;
        }
    }

    /// Documents that are not built there, in the order of their rows.
    fn pending(&self) -> Vec<String> {
        let documents = self.documents.iter().filter(|(id, _)| !self.built.contains_key(*id));
        let mut pending: Vec<_> = documents.map(|(id, (_, first_row))| (first_row, id)).collect();
        pending.sort();
        pending.into_iter().map(|(_, id)| id.clone()).collect()
    }

    fn give_up(&mut self) {
        self.built.clear();
        self.next_built = 0;
    }

    /// The other space takes the place of this one; what is missing there is built first.
    pub(crate) fn reembed(&mut self) {
        self.build(&self.pending());
        let (make, next_row): (fn(_) -> _, u64) = match self.is_other {
            true => (content::from_other, self.next_built),
            false => (content::to_other, self.next_built),
        };
        self.counted.clear();
        for (id, (document, first_row)) in &mut self.documents {
            document.chunks = document.chunks.drain(..).map(make).collect();
            *first_row = self.built[id];
            self.counted.extend((*first_row..).zip(words_of_chunks(document)));
        }
        (self.next_row, self.mark, self.is_other) = (next_row, next_row, !self.is_other);
        self.give_up();
    }

    pub(crate) fn delete(&mut self, id: &str) -> bool {
        self.built.remove(id);
        let Some((document, first_row)) = self.documents.remove(id) else { return false };
        let rows = first_row..first_row + document.chunks.len() as u64;
        self.counted.retain(|row, _| *row < self.mark || !rows.contains(row));
        true
    }

    /// Sealing writes the lexicon.
    fn seal(&mut self) {
        let live: BTreeSet<u64> = self.live_rows().collect();
        self.counted.retain(|row, _| live.contains(row));
        self.mark = self.next_row;
    }

    fn live_rows(&self) -> impl Iterator<Item = u64> {
        let rows = |(document, first_row): &(Document, u64)| {
            *first_row..*first_row + document.chunks.len() as u64
        };
        self.documents.values().flat_map(rows)
    }

    /// BM25 of the live rows that have any of these words, by row.
    fn text_scores(&self, query: &str) -> BTreeMap<u64, f64> {
        let query = words(query);
        let n_rows = self.counted.len() as f64;
        // Lengths are exact up to 40 words, then rounded down by an eighth at most: tested where they are made.
        let rounded = |n_words: usize| {
            let step = (n_words.saturating_sub(24) / 16).checked_ilog2().map_or(1, |log| 2 << log);
            (n_words - if n_words < 40 { 0 } else { (n_words - 24) % step }) as f64
        };
        let average = self.counted.values().map(|row| rounded(row.len())).sum::<f64>() / n_rows;
        let live: BTreeSet<u64> = self.live_rows().collect();
        let mut scores = BTreeMap::new();
        for (row, found) in self.counted.iter().filter(|(row, _)| live.contains(row)) {
            for asked in &query {
                let n_times = found.iter().filter(|word| *word == asked).count() as f64;
                let n = self.counted.values().filter(|row| row.contains(asked)).count() as f64;
                let idf = (1.0 + (n_rows - n + 0.5) / (n + 0.5)).ln();
                let length = 0.25 + 0.75 * rounded(found.len()) / average;
                if n_times > 0.0 {
                    *scores.entry(*row).or_default() +=
                        idf * n_times * 2.2 / (n_times + 1.2 * length);
                }
            }
        }
        scores
    }

    /// Compares what a text finds; its scores too if it is known when the lexicon was written.
    fn check_text(&self, store: &Store, are_scores_known: bool) {
        for query in
            ["one", "word7", "Word8 w\u{f6}rd9 two e", "titl word10 word10x", "nowhere", ""]
        {
            let expected = self.text_scores(query);
            let answer = store.search(NOTES, &Request::words(query, 1_000)).unwrap();
            let found: BTreeSet<u64> = answer.hits.iter().map(|hit| hit.row).collect();
            assert!(found.iter().eq(expected.keys()), "{query}: {found:?} {expected:?}");
            assert!(
                answer
                    .hits
                    .is_sorted_by(|a, b| (b.score, a.row) < (a.score, b.row) || a.score > b.score)
            );
            for hit in answer.hits.iter().filter(|_| are_scores_known) {
                let score = expected[&hit.row];
                assert!(
                    (f64::from(hit.score) - score).abs() < 1e-4 * score,
                    "{query}: {hit:?} {score}"
                );
            }
        }
    }

    /// Both sides of a fused search are those that each finds alone.
    fn check_fusion(&self, store: &Store) {
        let (vector, text) = (content::unit_vector(5), "word7 word8 word9 title");
        let both = Request::new(vector.clone(), 1_000).text(text).exact();
        let alone = |fusion| {
            let answer = store.search(NOTES, &both.clone().fusion(fusion)).unwrap();
            let rows = answer.hits.into_iter().map(|hit| (hit.row, hit.score));
            rows.collect::<Vec<_>>()
        };
        let (by_vector, by_text) = (alone(Fusion::VectorOnly), alone(Fusion::TextOnly));
        let place = |side: &[(u64, f32)], row: u64| {
            let rank = side.iter().position(|(found, _)| *found == row)?;
            Some(Ranked { rank: rank + 1, score: side[rank].1 })
        };
        for hit in store.search(NOTES, &both).unwrap().hits {
            assert_eq!(hit.vector, place(&by_vector, hit.row));
            assert_eq!(hit.text, place(&by_text, hit.row));
        }
    }

    pub(crate) fn info(&self, id: &str) -> Option<DocumentInfo> {
        let (document, first_row) = self.documents.get(id)?;
        Some(DocumentInfo {
            id: document.id.clone(),
            source: document.source.clone(),
            title: document.title.clone(),
            meta: document.meta.clone(),
            n_chunks: document.chunks.len() as u32,
            first_row: *first_row,
            content_stamps: self.stamps.get(id).copied(),
        })
    }

    pub(crate) fn chunks(&self, id: &str) -> Vec<StoredChunk> {
        self.documents.get(id).map_or(Vec::new(), |(document, _)| stored_chunks(document))
    }

    pub(crate) fn hits(&self, query: &[f32], k: usize) -> Vec<Hit> {
        let mut hits: Vec<Hit> = Vec::new();
        for (document, first_row) in self.documents.values() {
            for ((chunk, stored), row) in
                document.chunks.iter().zip(stored_chunks(document)).zip(*first_row..)
            {
                let score = content::score(&chunk.vector, query, self.form);
                let (before, after) = (Vec::new(), Vec::new());
                let document = document.id.clone();
                let (vector, text) = (None, None);
                #[rustfmt::skip]
                let hit = Hit { row, document, chunk: stored, score, vector, text, before, after };
                hits.push(hit);
            }
        }
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
        hits.truncate(k);
        for (hit, rank) in hits.iter_mut().zip(1..) {
            hit.vector = Some(Ranked { rank, score: hit.score });
        }
        hits
    }

    /// Compares a search among the documents of small versions.
    fn check_filter(&self, store: &Store) {
        let is_small =
            |hit: &Hit| self.documents[&hit.document].0.meta["version"].as_u64() < Some(50);
        let query = content::unit_vector(11);
        let mut expected = self.hits(&query, usize::MAX);
        expected.retain(is_small);
        let filter = Filter::parse("version < 50").unwrap();
        let request = Request::new(query, 1_000).exact().filter(filter);
        assert_eq!(unranked(store.search(NOTES, &request).unwrap().hits), unranked(expected));
    }

    /// Compares what a reader finds that has just followed: all rows below `n_sealed` that count, and of the others only
    /// those of documents that were replaced since and are not sealed again.
    fn check_reader(&self, reader: &Reader, n_sealed: u64) {
        let query = content::unit_vector(13);
        let request = Request::new(query.clone(), 1_000).exact();
        let found = unranked(reader.search(NOTES, &request).unwrap().hits);
        let expected = unranked(self.hits(&query, usize::MAX));
        let is_sealed = |hit: &&Hit| hit.row < n_sealed;
        assert!(expected.iter().filter(is_sealed).all(|hit| found.contains(hit)), "{found:?}");
        for hit in found.iter().filter(|hit| !expected.contains(hit)) {
            let now = self.documents.get(&hit.document);
            assert!(now.is_some_and(|(_, first_row)| *first_row >= n_sealed), "{hit:?}");
            assert!(hit.row < n_sealed);
        }
    }

    /// True if the store lists exactly these documents and rows, in this space.
    pub(crate) fn holds(&self, store: &Store) -> bool {
        let expected: Vec<_> = self.documents.keys().filter_map(|id| self.info(id)).collect();
        // Documents may have the same rows in both spaces.
        let space = if self.is_other { content::other_space() } else { content::space() };
        store.documents(NOTES).unwrap() == expected
            && store.space(NOTES).unwrap().unwrap().fingerprint == space.fingerprint
    }

    /// Compares everything that the store can say.
    pub(crate) fn check(&self, store: &Store) {
        let expected: Vec<_> = self.documents.keys().filter_map(|id| self.info(id)).collect();
        assert_eq!(store.documents(NOTES).unwrap(), expected);
        let mut n_chunks = 0;
        for (id, (document, first_row)) in &self.documents {
            let chunks = store.chunks(NOTES, id, 0..u32::MAX).unwrap();
            assert_eq!(chunks, stored_chunks(document));
            n_chunks += chunks.len();
            for (chunk, row) in document.chunks.iter().zip(*first_row..) {
                assert_eq!(store.vector(NOTES, row).unwrap().as_ref(), Some(&chunk.vector));
            }
            let rows = store.chunk_rows(NOTES).unwrap();
            assert!(document.chunks.iter().all(|chunk| rows.contains_key(&chunk.hash)));
        }
        for number in 0..N_NUMBERS {
            let id = content::id(number);
            assert_eq!(store.document(NOTES, &id).unwrap(), self.info(&id));
        }
        let status = store.status().unwrap();
        assert_eq!(status.warnings, Vec::<String>::new());
        let collection = &status.collections[0];
        assert_eq!((collection.documents, collection.chunks), (self.documents.len(), n_chunks));
        for seed in 0..3 {
            let query = content::unit_vector(seed * 31);
            for k in [1, 5, 1_000] {
                let answer = store.search(NOTES, &Request::new(query.clone(), k).exact()).unwrap();
                assert!(answer.exact);
                assert_eq!(answer.hits, self.hits(&query, k), "query {seed}, k {k}");
            }
            let near = store.search(NOTES, &Request::new(query.clone(), 5)).unwrap();
            let all = self.hits(&query, usize::MAX);
            let is_live =
                |hit: &Hit| all.iter().any(|live| (live.row, &live.chunk) == (hit.row, &hit.chunk));
            assert!(near.hits.iter().all(is_live), "no dead row is found");
        }
        self.check_text(store, false);
    }
}

/// Hits without their places, for lists that are compared in parts.
pub(crate) fn unranked(hits: Vec<Hit>) -> Vec<Hit> {
    hits.into_iter().map(|hit| Hit { vector: None, ..hit }).collect()
}

/// The words of each chunk of a document, its title and its headings among them.
fn words_of_chunks(document: &Document) -> Vec<Vec<String>> {
    let title = document.title.clone().unwrap_or_default();
    let chunks = document.chunks.iter();
    chunks
        .map(|chunk| words(&format!("{title} {} {}", chunk.headings.join(" "), chunk.text)))
        .collect()
}

/// Words of texts as `content` makes them; only `title` has another stem.
fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase().replace('\u{e9}', "e").replace('\u{f6}', "o");
    let text = text.replace("title", "title titl");
    text.split_whitespace().map(str::to_owned).collect()
}

pub(crate) fn stored_chunks(document: &Document) -> Vec<StoredChunk> {
    let chunks = document.chunks.iter().zip(0..).map(|(chunk, chunk_idx)| StoredChunk {
        document: document.id.clone(),
        chunk_idx,
        text: chunk.text.clone(),
        range: chunk.range.clone(),
        page: chunk.page,
        headings: chunk.headings.clone(),
        n_tokens: chunk.n_tokens,
        hash: chunk.hash,
        precision: chunk.precision.clone(),
    });
    chunks.collect()
}

fn check_copy(model: &Model, dir: &Path) {
    let store = Store::open(dir).unwrap();
    model.check(&store);
    assert_eq!(store.check(false).unwrap(), []);
}

/// Checks that a compacted collection has at most one segment, nothing dead, and no files of segments but that and those
/// of what is built of it in another space.
pub(crate) fn check_compact(store: &Store, dir: &Path) {
    let collection = store.status().unwrap().collections.remove(0);
    assert!(collection.segments.len() <= 1 && collection.dead == 0, "{collection:?}");
    for segment in &collection.segments {
        assert_eq!(segment.precisions.values().sum::<u64>(), segment.rows as u64, "{segment:?}");
    }
    let n_built = collection.successor.map_or(0, |built| built.segments);
    let n_segments = collection.segments.len() + n_built;
    let n_files = || fs::read_dir(dir.join("segments")).unwrap().count();
    // A file that maintenance looks at goes soon after.
    for _ in 0..1_000 {
        if n_files() == n_segments {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} files of {n_segments} segments", n_files());
}

/// The space of a model, or of given vectors of each metric.
fn space() -> impl Strategy<Value = Space> {
    let given = prop::sample::select(Metric::ALL.to_vec());
    prop_oneof![Just(content::space()), given.prop_map(|metric| Space::of_vectors(WIDTH, metric))]
}

/// Does operations one after the other; with maintenance that is always at work, or none.
fn run(space: &Space, operations: &[Operation], maintenance: bool) {
    let how = || match maintenance {
        true => content::busy(),
        false => Maintenance::from(false),
    };
    let dir = TempDir::new().unwrap();
    let (path, copy) = (dir.path().join("db"), dir.path().join("copy"));
    let mut store = Store::open(&path).unwrap();
    store.maintain(how());
    store.create(NOTES, space).unwrap();
    let reader = Reader::open(&path).unwrap();
    let form = space.form();
    let mut model = Model { form, ..Model::default() };
    let mut n_sealed = 0;
    for operation in operations {
        // There is no model that makes given vectors, so none that makes others of their texts.
        if form != Form::Unit && matches!(operation, Operation::Reembed(..) | Operation::GiveUp) {
            continue;
        }
        match operation {
            Operation::Put(documents) => {
                // Of several with one id the last counts, and its place is where it stands.
                let last = |idx: usize| {
                    documents[idx + 1..].iter().all(|(number, _)| *number != documents[idx].0)
                };
                let given = documents.iter().map(|(n, version)| content::document(*n, *version));
                let given: Vec<Document> = given.map(|given| model.in_space(given)).collect();
                store.put(NOTES, &given).unwrap();
                let kept = given.into_iter().enumerate().filter(|(idx, _)| last(*idx));
                kept.for_each(|(_, document)| model.put(document));
            }
            Operation::Touch(number) => {
                let source = content::source(123_456);
                store.touch(NOTES, &[(content::id(*number), source.clone())]).unwrap();
                if let Some((document, _)) = model.documents.get_mut(&content::id(*number)) {
                    document.source = Some(source);
                }
            }
            Operation::Delete(numbers) => {
                let ids: Vec<String> = numbers.iter().map(|number| content::id(*number)).collect();
                let n_deleted = store.delete(NOTES, &ids).unwrap();
                assert_eq!(n_deleted, ids.iter().filter(|id| model.delete(id)).count());
            }
            Operation::Seal => {
                let any = store.unsealed(NOTES) > 0;
                let sealed = store.seal(NOTES, &|| false).unwrap();
                assert!(sealed == any || maintenance);
                assert_eq!(store.unsealed(NOTES), 0);
                if any {
                    model.seal();
                }
            }
            Operation::Merge => while store.merge(NOTES, &|| false).unwrap() {},
            Operation::Compact => {
                assert!(store.compact(NOTES, &|| false).unwrap().complete);
                model.seal();
                check_compact(&store, &path);
            }
            Operation::Reindex(dims, quant, stops) => {
                let reindexed = store.reindex(NOTES, *dims, *quant, &|| *stops);
                if !quant.takes_form(form) {
                    assert!(reindexed.unwrap_err().is_invalid_input());
                    continue;
                }
                reindexed.unwrap();
                let space = store.space(NOTES).unwrap().unwrap();
                assert_eq!((space.dims, space.quant), (*dims, *quant));
                if !stops {
                    model.seal();
                    check_compact(&store, &path);
                }
            }
            Operation::Reembed(n_most, ends) => {
                let pending = model.pending();
                let (successor, ids) = content::reembed(&store, *n_most).unwrap();
                assert_eq!(ids, pending[..pending.len().min(*n_most)]);
                model.build(&ids);
                let built = store.status().unwrap().collections.remove(0).successor.unwrap();
                assert_eq!(
                    (&built, built.documents),
                    (&successor.status().unwrap(), model.built.len())
                );
                if *ends {
                    assert_eq!(successor.finish(&|| true).unwrap(), Finished::Cancelled);
                    let swapped = successor.finish(&|| false).unwrap();
                    assert_eq!(swapped, Finished::Swapped { n_links: 0 });
                    model.reembed();
                    check_compact(&store, &path);
                }
            }
            Operation::GiveUp => {
                let any = store.status().unwrap().collections[0].successor.is_some();
                assert_eq!(store.drop_successor(NOTES).unwrap(), any);
                model.give_up();
            }
            Operation::Backup => {
                let _ = fs::remove_dir_all(&copy);
                store.backup(&copy).unwrap();
                check_copy(&model, &copy);
            }
            Operation::Crash => {
                let _ = fs::remove_dir_all(&copy);
                // Not while files change: the copy is of one moment.
                store.maintain(false);
                faults::copy_all(&path, &copy);
                store.maintain(how());
                check_copy(&model, &copy);
            }
            Operation::Reopen => {
                drop(store);
                store = Store::open(&path).unwrap();
                store.maintain(how());
            }
        }
        if matches!(
            operation,
            Operation::Seal
                | Operation::Compact
                | Operation::Reindex(_, _, false)
                | Operation::Reembed(_, true)
        ) {
            n_sealed = model.next_row;
        }
        model.check(&store);
        // Scores follow from when the lexicon was written, which nobody knows then; and so does what is sealed.
        model.check_text(&store, !maintenance);
        model.check_fusion(&store);
        model.check_filter(&store);
        reader.refresh().unwrap();
        if !maintenance {
            model.check_reader(&reader, n_sealed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_agrees_with_a_map(
        space in space(),
        operations in prop::collection::vec(operation(), 1..20),
    ) {
        run(&space, &operations, false);
    }

    #[test]
    fn the_store_agrees_with_a_map_while_maintenance_is_at_work(
        space in space(),
        operations in prop::collection::vec(operation(), 1..20),
    ) {
        run(&space, &operations, true);
    }
}

#[test]
fn a_document_replaced_before_and_after_sealing_is_found_once() {
    let put = |version| Operation::Put(vec![(3, version), (4, version)]);
    let operations = [
        put(1),
        put(2),
        Operation::Seal,
        put(3),
        Operation::Reopen,
        Operation::Seal,
        Operation::Delete(vec![3, 3]),
        Operation::Reopen,
        put(4),
    ];
    run(&content::space(), &operations, false);
    let given = Metric::ALL.map(|metric| Space::of_vectors(WIDTH, metric));
    given.iter().for_each(|space| run(space, &operations, false));
}

#[test]
fn what_is_built_in_another_space_keeps_its_files_when_the_collection_is_compacted() {
    // Versions with more chunks than maintenance lets stand: the first document of the successor is sealed at once.
    let operations = [
        Operation::Put(vec![(3, 41), (5, 69)]),
        Operation::Reembed(2, false),
        Operation::Compact,
        Operation::Reembed(2, true),
    ];
    run(&content::space(), &operations, true);
}

#[test]
fn a_cancelled_seal_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.create(NOTES, &content::space()).unwrap();
    let mut model = Model::default();
    for number in 0..N_NUMBERS {
        store.put(NOTES, &[content::document(number, 1)]).unwrap();
        model.put(content::document(number, 1));
    }
    let n_unsealed = store.unsealed(NOTES);
    assert!(n_unsealed > 0);
    assert!(!store.seal(NOTES, &|| true).unwrap());
    assert_eq!(store.unsealed(NOTES), n_unsealed);
    model.check(&store);
}

#[test]
fn bad_input_is_refused_and_named_and_nothing_is_written() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.create(NOTES, &content::space()).unwrap();
    let good = (0..).map(|n| content::document(n, 1)).find(|d| d.chunks.len() > 1).unwrap();
    let refused = |change: &dyn Fn(&mut Document)| {
        let mut bad = good.clone();
        change(&mut bad);
        let error = store.put(NOTES, &[good.clone(), bad]).unwrap_err();
        assert!(error.is_invalid_input(), "{error}");
        assert_eq!(store.documents(NOTES).unwrap(), []);
        error.to_string()
    };
    let message = refused(&|d| content::numbers_of(&mut d.chunks[1].vector)[5] = half::f16::NAN);
    assert!(message.contains("chunk 1") && message.contains("position 5"), "{message}");
    let message =
        refused(&|d| content::numbers_of(&mut d.chunks[0].vector)[0] = half::f16::INFINITY);
    assert!(message.contains("position 0"), "{message}");
    let message = refused(&|d| {
        content::numbers_of(&mut d.chunks[1].vector).pop();
    });
    assert!(message.contains("71 values") && message.contains("has 72"), "{message}");
    assert!(refused(&|d| d.id.clear()).contains("empty"));
    assert!(refused(&|d| d.id = "x".repeat(5_000)).contains("5000 bytes"));

    assert!(
        store
            .search(NOTES, &Request::new(vec![0.0; WIDTH - 1], 3).exact())
            .unwrap_err()
            .is_invalid_input()
    );
    assert!(
        store
            .search(NOTES, &Request::new(vec![f32::NAN; WIDTH], 3).exact())
            .unwrap_err()
            .is_invalid_input()
    );
    assert!(
        store
            .search("other", &Request::new(vec![0.0; WIDTH], 3).exact())
            .unwrap_err()
            .is_invalid_input()
    );
}

#[test]
fn collections_have_names_spaces_and_roots_of_their_own() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for name in ["", "a b", "\u{e9}", &"x".repeat(65), "a/b"] {
        assert!(store.create(name, &content::space()).unwrap_err().is_invalid_input());
    }
    store.create(NOTES, &content::space()).unwrap();
    store.create(NOTES, &storage::Space { model: "moved".to_owned(), ..content::space() }).unwrap();
    let other = storage::Space { fingerprint: "beef".to_owned(), ..content::space() };
    let message = store.create(NOTES, &other).unwrap_err().to_string();
    for part in ["f00d", "beef", "another collection", "gemmule reembed --model tiny"] {
        assert!(message.contains(part), "{message}");
    }
    let narrow = storage::Space { quant: Quant::Binary, ..content::space() };
    let message = store.create("narrow", &narrow).unwrap_err().to_string();
    assert!(message.contains("16 values are too few for binary codes"), "{message}");
    let binary = storage::Space { dims: WIDTH, ..narrow };
    let message = store.create(NOTES, &binary).unwrap_err().to_string();
    assert!(message.contains("int8 codes of width 16, not by binary ones of 72"), "{message}");
    let wide = storage::Space { dims: WIDTH + 1, ..content::space() };
    assert!(store.create("wide", &wide).unwrap_err().is_invalid_input());
    store.create("A-b_c.9", &other).unwrap();
    store.put(NOTES, &[content::document(1, 1)]).unwrap();
    store.put("A-b_c.9", &[content::document(1, 2), content::document(2, 2)]).unwrap();
    store.add_root(NOTES, "/notes").unwrap();
    store.add_root(NOTES, "/books").unwrap();
    store.add_root(NOTES, "/books").unwrap();
    store.add_root("A-b_c.9", "/other").unwrap();
    store.remove_root("A-b_c.9", "/notes").unwrap();
    store.seal("A-b_c.9", &|| false).unwrap();
    drop(store);

    let store = Store::open(dir.path()).unwrap();
    let expected =
        vec![("A-b_c.9".to_owned(), other.clone()), (NOTES.to_owned(), content::space())];
    assert_eq!(store.collections().unwrap(), expected);
    assert_eq!(store.space("A-b_c.9").unwrap(), Some(other));
    assert_eq!(store.space("none").unwrap(), None);
    assert_eq!(store.roots(NOTES).unwrap(), ["/books", "/notes"]);
    assert_eq!(store.roots("A-b_c.9").unwrap(), ["/other"]);
    store.remove_root(NOTES, "/books").unwrap();
    assert_eq!(store.roots(NOTES).unwrap(), ["/notes"]);
    assert_eq!(store.documents(NOTES).unwrap().len(), 1);
    assert_eq!(store.documents("A-b_c.9").unwrap().len(), 2);
    assert_eq!(fs::read_to_string(dir.path().join(".gitignore")).unwrap(), "*\n");
}
