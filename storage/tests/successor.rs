//! A collection built in another space: searched and changed meanwhile, swapped at once, gone on with after a crash.

use std::fs;
use std::path::Path;

use half::f16;
use storage::{
    Chunk, Document, Error, Finished, Fusion, Link, Metric, Reader, Request, Space, Store,
    SuccessorStatus,
};
use tempfile::TempDir;

use crate::content::{self, NOTES};
use crate::faults;

/// A space of another width.
fn narrow() -> Space {
    Space { fingerprint: "cafe".to_owned(), full_width: 8, dims: 4, ..content::space() }
}

/// A chunk as it is in the narrow space.
fn narrowed(mut chunk: Chunk) -> Chunk {
    chunk.vector = chunk.vector.into_f32().into_iter().take(8).map(f16::from_f32).collect();
    chunk
}

fn document(number: u64) -> Document {
    // Of those that have chunks.
    let mut versions = (0..).map(|version| content::document(number, version));
    versions.find(|document| !document.chunks.is_empty()).unwrap()
}

/// A store with a sealed and an unsealed half of twelve documents.
fn store(dir: &Path) -> Store {
    let store = Store::open(dir).unwrap();
    store.create(NOTES, &content::space()).unwrap();
    store.put(NOTES, &(0..6).map(document).collect::<Vec<_>>()).unwrap();
    store.seal(NOTES, &|| false).unwrap();
    store.put(NOTES, &(6..12).map(document).collect::<Vec<_>>()).unwrap();
    store
}

fn ids_found(hits: Vec<storage::Hit>) -> Vec<String> {
    let mut ids: Vec<String> = hits.into_iter().map(|hit| hit.document).collect();
    ids.sort();
    ids.dedup();
    ids
}

fn all(width: usize) -> Request {
    Request::new(vec![0.1; width], 1_000).exact()
}

fn segments(dir: &Path) -> usize {
    fs::read_dir(dir.join("segments")).unwrap().count()
}

fn built(store: &Store) -> Option<SuccessorStatus> {
    store.status().unwrap().collections.remove(0).successor
}

#[test]
fn the_old_space_answers_until_the_new_one_does_here_and_in_other_processes() {
    let dir = TempDir::new().unwrap();
    let store = store(dir.path());
    store.add_root(NOTES, "/notes").unwrap();
    let link = Link { name: "clicks".to_owned(), space: content::space(), bytes: vec![1] };
    store.install_link(NOTES, link).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let successor = store.begin_successor(NOTES, &narrow()).unwrap();
    assert_eq!(successor.pending().unwrap().len(), 12);
    for (id, n_chunks) in successor.pending().unwrap() {
        assert_eq!(successor.finish(&|| false).unwrap(), Finished::Pending);
        let info = store.document(NOTES, &id).unwrap().unwrap();
        assert_eq!(info.n_chunks, n_chunks);
        let number = id.rsplit(' ').next().unwrap().parse().unwrap();
        let chunks = document(number).chunks.into_iter().map(narrowed).collect();
        assert!(successor.put(&[(info, chunks)]).unwrap()[0].is_some());
        assert_eq!(ids_found(store.search(NOTES, &all(content::WIDTH)).unwrap().hits).len(), 12);
        assert!(store.search(NOTES, &all(8)).is_err());
        reader.refresh().unwrap();
        assert_eq!(ids_found(reader.search(NOTES, &all(content::WIDTH)).unwrap().hits).len(), 6);
        assert_eq!(reader.collections().unwrap().len(), 1);
        assert_eq!(reader.collections().unwrap(), store.collections().unwrap());
    }
    let words = Request::words("word7 word8 word9", 1_000);
    let by_words = ids_found(store.search(NOTES, &words).unwrap().hits);
    assert!(!by_words.is_empty());
    assert_eq!(successor.finish(&|| false).unwrap(), Finished::Swapped { n_links: 1 });

    let check = |store: &Store| {
        assert_eq!(store.collections().unwrap(), [(NOTES.to_owned(), narrow())]);
        assert_eq!(ids_found(store.search(NOTES, &all(8)).unwrap().hits).len(), 12);
        assert_eq!(ids_found(store.search(NOTES, &words).unwrap().hits), by_words);
        assert_eq!(store.roots(NOTES).unwrap(), ["/notes"]);
        assert_eq!(store.links(NOTES).unwrap(), storage::Links::default());
        assert!(store.active_link(NOTES).unwrap().is_none() && built(store).is_none());
        assert_eq!(store.status().unwrap().warnings, Vec::<String>::new());
        assert_eq!(store.check(false).unwrap(), []);
        assert_eq!(segments(dir.path()), 1);
        assert_eq!(fs::read_dir(dir.path().join("lexicon")).unwrap().count(), 1);
    };
    check(&store);
    assert!(reader.refresh().unwrap());
    assert_eq!(ids_found(reader.search(NOTES, &all(8)).unwrap().hits).len(), 12);
    assert_eq!(ids_found(reader.search(NOTES, &words).unwrap().hits), by_words);
    assert!(reader.active_link(NOTES).unwrap().is_none());
    assert_eq!(reader.status().unwrap().warnings, Vec::<String>::new());
    drop(store);
    check(&Store::open(dir.path()).unwrap());
}

#[test]
fn what_was_made_for_the_old_space_is_refused_after_the_swap() {
    let dir = TempDir::new().unwrap();
    let store = store(dir.path());
    let (successor, _) = content::reembed(&store, usize::MAX).unwrap();
    let asked = Request { space: Some(content::space()), ..all(content::WIDTH) };
    store.search(NOTES, &asked).unwrap();
    store.put_of(NOTES, &content::space(), &[document(3)]).unwrap();
    // That one is missing in the new space again.
    assert_eq!(successor.finish(&|| false).unwrap(), Finished::Pending);
    let (successor, ids) = content::reembed(&store, usize::MAX).unwrap();
    assert_eq!(ids, [content::id(3)]);
    successor.finish(&|| false).unwrap();
    // Of the same width: nothing but the space tells them apart.
    for error in [
        store.search(NOTES, &asked).unwrap_err(),
        store.put_of(NOTES, &content::space(), &[document(3)]).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Space { .. }), "{error}");
        assert!(error.to_string().contains("gemmule reembed --model tiny"), "{error}");
    }
    let text = Request { fusion: Fusion::TextOnly, ..Request::words("word7", 5) };
    store.search(NOTES, &text).unwrap();
    for error in [
        successor.put(&[]).unwrap_err(),
        successor.pending().unwrap_err(),
        successor.finish(&|| false).unwrap_err(),
        store.begin_successor(NOTES, &content::other_space()).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Superseded { .. }), "{error}");
    }
}

#[test]
fn a_run_that_was_killed_goes_on_with_what_is_missing() {
    let dir = TempDir::new().unwrap();
    let (db, copy) = (dir.path().join("db"), dir.path().join("copy"));
    let store = store(&db);
    let (_, first) = content::reembed(&store, 5).unwrap();
    faults::copy_all(&db, &copy);
    let store = Store::open(&copy).unwrap();
    assert_eq!(built(&store).unwrap().documents, 5);
    assert_eq!(store.check(false).unwrap(), []);
    assert_eq!(ids_found(store.search(NOTES, &all(content::WIDTH)).unwrap().hits).len(), 12);
    let (successor, rest) = content::reembed(&store, usize::MAX).unwrap();
    assert!(rest.len() == 7 && rest.iter().all(|id| !first.contains(id)), "{rest:?}");
    let rows = successor.chunk_rows().unwrap();
    assert!(rows.values().all(|row| successor.vector(*row).unwrap().is_some()));
    // Another width of the codes is no other space.
    let wide = Space { dims: 32, ..content::other_space() };
    let successor = store.begin_successor(NOTES, &wide).unwrap();
    assert_eq!(successor.pending().unwrap(), []);
    assert!(matches!(successor.finish(&|| false), Ok(Finished::Swapped { .. })));
    assert_eq!(store.space(NOTES).unwrap().unwrap(), wide);
}

#[test]
fn what_is_changed_meanwhile_is_changed_in_the_new_space_too() {
    let dir = TempDir::new().unwrap();
    let store = store(dir.path());
    let (successor, _) = content::reembed(&store, 8).unwrap();
    // Of each kind one that is built and one that is not.
    store.delete(NOTES, &[content::id(0), content::id(10)]).unwrap();
    store.put(NOTES, &[content::document(1, 70), content::document(11, 70)]).unwrap();
    let touched = [content::id(2), content::id(9)].map(|id| (id, content::source(999)));
    store.touch(NOTES, &touched).unwrap();
    // Given as it was before.
    let mut stale = store.document(NOTES, &content::id(9)).unwrap().unwrap();
    stale.source = None;
    assert_eq!(successor.put(&[(stale, Vec::new())]).unwrap(), [None]);
    let (_, rest) = content::reembed(&store, usize::MAX).unwrap();
    assert_eq!(rest, [8, 9, 1, 11].map(content::id));
    successor.finish(&|| false).unwrap();
    let ids: Vec<String> = store.documents(NOTES).unwrap().into_iter().map(|i| i.id).collect();
    assert!(ids.len() == 10 && !ids.contains(&content::id(0)) && !ids.contains(&content::id(10)));
    for (id, source) in touched {
        assert_eq!(store.document(NOTES, &id).unwrap().unwrap().source, Some(source));
    }
    for number in [1, 11] {
        let info = store.document(NOTES, &content::id(number)).unwrap().unwrap();
        assert_eq!(info.meta["version"], 70);
        let chunks = content::document(number, 70).chunks;
        for (chunk, row) in chunks.into_iter().zip(info.first_row..) {
            let vector = store.vector(NOTES, row).unwrap().unwrap();
            assert_eq!(vector, content::to_other(chunk).vector);
        }
    }
    assert_eq!(store.check(false).unwrap(), []);
}

#[test]
fn what_is_given_up_gives_its_room_back_and_a_third_space_begins_anew() {
    let dir = TempDir::new().unwrap();
    let store = store(dir.path());
    assert!(!store.drop_successor(NOTES).unwrap());
    let give_up = |last: &dyn Fn(&Store)| {
        let (successor, _) = content::reembed(&store, 11).unwrap();
        // Seals what is there.
        assert_eq!(successor.finish(&|| false).unwrap(), Finished::Pending);
        assert_eq!(segments(dir.path()), 2);
        last(&store);
        assert_eq!(segments(dir.path()), 1);
        assert!(matches!(successor.put(&[]), Err(Error::Superseded { .. })));
    };
    give_up(&|store| assert!(store.drop_successor(NOTES).unwrap()));
    assert!(built(&store).is_none());
    give_up(&|store| drop(store.begin_successor(NOTES, &narrow()).unwrap()));
    assert_eq!((built(&store).unwrap().space, built(&store).unwrap().documents), (narrow(), 0));
    assert_eq!(store.check(false).unwrap(), []);
    assert_eq!(ids_found(store.search(NOTES, &all(content::WIDTH)).unwrap().hits).len(), 12);
}

#[test]
fn vectors_that_were_given_cannot_be_made_anew() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.create(NOTES, &Space::of_vectors(32, Metric::Cosine)).unwrap();
    let error = store.begin_successor(NOTES, &content::space()).unwrap_err();
    assert!(matches!(error, Error::Given { .. }), "{error}");
}

#[test]
fn damage_of_what_is_built_is_no_damage_of_the_collection() {
    for is_finished in [false, true] {
        let dir = TempDir::new().unwrap();
        let store = store(dir.path());
        let names = |store: &Store| -> Vec<String> {
            let mut collections = store.status().unwrap().collections;
            collections.remove(0).segments.into_iter().map(|segment| segment.name).collect()
        };
        let (successor, _) = content::reembed(&store, 11).unwrap();
        assert_eq!(successor.finish(&|| false).unwrap(), Finished::Pending);
        let old = names(&store);
        let files = fs::read_dir(dir.path().join("segments")).unwrap();
        let mut files = files.map(|entry| entry.unwrap().path());
        let file = files.find(|path| !old.iter().any(|name| path.ends_with(name))).unwrap();
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).unwrap();
        drop(store);

        let store = Store::open(dir.path()).unwrap();
        if is_finished {
            let (successor, _) = content::reembed(&store, usize::MAX).unwrap();
            let error = successor.finish(&|| false).unwrap_err();
            assert!(matches!(error, Error::Successor { .. }), "{error}");
            assert!(error.to_string().contains("reembed begins anew"), "{error}");
        } else {
            for repair in [false, true] {
                let findings = store.check(repair).unwrap();
                assert_eq!(findings.len(), 1, "{findings:?}");
                assert!(findings[0].what.contains("new space"), "{findings:?}");
                assert_eq!(findings[0].repaired, repair);
            }
        }
        assert!(built(&store).is_none());
        assert_eq!(store.check(false).unwrap(), []);
        assert_eq!(ids_found(store.search(NOTES, &all(content::WIDTH)).unwrap().hits).len(), 12);
        assert_eq!(names(&store), old);
        let (successor, ids) = content::reembed(&store, usize::MAX).unwrap();
        assert_eq!(ids.len(), 12);
        assert!(matches!(successor.finish(&|| false), Ok(Finished::Swapped { .. })));
    }
}

#[test]
fn spaces_whose_vectors_are_the_same_share_no_file() {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.create(NOTES, &content::space()).unwrap();
    store.create("twin", &content::space()).unwrap();
    let documents: Vec<_> = (0..6).map(document).collect();
    for name in [NOTES, "twin"] {
        store.put(name, &documents).unwrap();
        store.seal(name, &|| false).unwrap();
    }
    // As if only the prompt of queries were another.
    let successor = store.begin_successor(NOTES, &content::other_space()).unwrap();
    for document in &documents {
        let info = store.document(NOTES, &document.id).unwrap().unwrap();
        successor.put(&[(info, document.chunks.clone())]).unwrap();
    }
    successor.finish(&|| false).unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.status().unwrap().warnings, Vec::<String>::new());
    let n_found = |name| ids_found(store.search(name, &all(content::WIDTH)).unwrap().hits).len();
    assert_eq!((n_found(NOTES), n_found("twin"), segments(dir.path())), (6, 6, 2));
    assert_eq!(store.check(false).unwrap(), []);
}
