//! Segments with flipped bits, in each of their parts: everything that can be asked answers rightly or says what is damaged;
//! a full check names the segment, a repair makes it anew, and what the repair did not name as lost is there.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use storage::{Filter, Hit, Reader, Request, Store, StoredChunk};
use tempfile::TempDir;

use crate::content::{self, NOTES, Numbers};
use crate::faults::{self, Tally};
use crate::model::{Model, N_NUMBERS, stored_chunks, unranked};

/// Where a part of a segment begins, by `SEGMENT.md`, and how many bytes it has.
struct Part {
    /// Empty for what lies between two parts.
    name: String,
    start: usize,
    n_bytes: usize,
}

/// Header, table, each part in it, and what lies between them.
fn parts(bytes: &[u8]) -> Vec<Part> {
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let n_parts = u32_at(12);
    let part = |name: &str, start, n_bytes| Part { name: name.to_owned(), start, n_bytes };
    let mut parts = vec![part("header", 0, 192), part("table", 192, 32 * n_parts)];
    let mut end = 192 + 32 * n_parts;
    for entry in (192..end).step_by(32) {
        let name = String::from_utf8(bytes[entry..entry + 4].to_vec()).unwrap();
        let (start, n_bytes) = (u64_at(entry + 8), u64_at(entry + 16));
        parts.push(part("", end, start - end));
        parts.push(part(&name, start, n_bytes));
        end = start + n_bytes;
    }
    assert_eq!(end, bytes.len());
    parts.retain(|part| part.n_bytes > 0);
    parts
}

/// A closed database of one segment with dead rows, and one unsealed document.
struct Whole {
    dir: TempDir,
    model: Model,
    segment: PathBuf,
    bytes: Vec<u8>,
}

fn whole() -> Whole {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("whole");
    let store = Store::open(&path).unwrap();
    store.maintain(false);
    store.create(NOTES, &content::space()).unwrap();
    let mut model = Model::default();
    let mut put = |number: u64, version: u64| {
        store.put(NOTES, &[content::document(number, version)]).unwrap();
        model.put(content::document(number, version));
    };
    (0..N_NUMBERS).for_each(|number| put(number, 1));
    store.seal(NOTES, &|| false).unwrap();
    put(3, 2);
    store.delete(NOTES, &[content::id(5)]).unwrap();
    model.delete(&content::id(5));
    drop(store);
    let segment = fs::read_dir(path.join("segments")).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&segment).unwrap();
    let segment = segment.strip_prefix(&path).unwrap().to_owned();
    Whole { dir, model, segment, bytes }
}

/// What is wrong with hits: a text that was never put. A row or a score may be wrong, only a full check finds that.
fn wrong_hits(hits: &[Hit], put: &[StoredChunk]) -> Option<String> {
    let wrong = hits.iter().find(|hit| !put.contains(&hit.chunk));
    wrong.map(|hit| format!("a wrong hit: {hit:?}"))
}

/// Asks all that can be asked; what is answered wrongly, and how many were errors.
fn ask(dir: &Path, model: &Model, put: &[StoredChunk]) -> (Vec<String>, u64) {
    let (mut wrong, mut n_errors) = (Vec::new(), 0);
    let query = content::unit_vector(31);
    let filter = Filter::parse("version = 1").unwrap();
    let exact = Request::new(query.clone(), 1_000).exact();
    let requests = [exact.clone(), Request::new(query, 1_000), exact.filter(filter)];
    let store = Store::open(dir).unwrap();
    store.maintain(false);
    let reader = Reader::open(dir).unwrap();
    let mut note = |problem: Result<Option<String>, storage::Error>| match problem {
        Ok(problem) => wrong.extend(problem),
        Err(error) if error.is_corruption() => n_errors += 1,
        Err(error) => wrong.push(format!("another error: {error}")),
    };
    for request in &requests {
        note(store.search(NOTES, request).map(|answer| wrong_hits(&answer.hits, put)));
        note(reader.search(NOTES, request).map(|answer| wrong_hits(&answer.hits, put)));
    }
    for number in 0..N_NUMBERS {
        let id = content::id(number);
        let info = model.info(&id);
        note(
            store
                .document(NOTES, &id)
                .map(|found| (found != info).then(|| format!("document {id}: {found:?}"))),
        );
        note(store.chunks(NOTES, &id, 0..u32::MAX).map(|chunks| {
            (chunks != model.chunks(&id)).then(|| format!("chunks of {id}: {chunks:?}"))
        }));
    }
    note(reader.documents(NOTES).map(|infos| {
        let is_known = |info: &storage::DocumentInfo| model.info(&info.id).is_some();
        let unknown = infos.iter().find(|info| !is_known(info) && info.id != content::id(3));
        unknown.map(|info| format!("a reader's document: {info:?}"))
    }));
    (wrong, n_errors)
}

/// One database with a damaged segment.
fn round(
    tally: &mut Tally,
    whole: &Whole,
    put: &[StoredChunk],
    part: &Part,
    numbers: &mut Numbers,
) {
    let dir = whole.dir.path().join("damaged");
    let _ = fs::remove_dir_all(&dir);
    faults::copy_all(&whole.dir.path().join("whole"), &dir);
    let mut bytes = whole.bytes.clone();
    let at = part.start + numbers.below(part.n_bytes as u64) as usize;
    for _ in 0..=numbers.below(3) {
        let near = part.start + (at - part.start + numbers.below(8) as usize) % part.n_bytes;
        bytes[near] ^= 1 << numbers.below(8);
    }
    if bytes == whole.bytes {
        return;
    }
    fs::write(dir.join(&whole.segment), &bytes).unwrap();
    tally.rounds += 1;
    let mut stories = Vec::new();
    let (mut is_lost, mut n_noticed) = (false, 0);
    let body = AssertUnwindSafe(|| {
        let (wrong, n_errors) = ask(&dir, &whole.model, put);
        stories.extend(wrong);
        n_noticed = n_errors;
        let store = Store::open(&dir).unwrap();
        store.maintain(false);
        let name = whole.segment.file_name().unwrap().to_str().unwrap();
        let findings = store.check(false).unwrap();
        if !findings
            .iter()
            .any(|finding| finding.what.contains(name) || finding.problem.contains(name))
        {
            stories.push(format!("a check does not name it: {findings:?}"));
        }
        let repaired = store.check(true).unwrap();
        let named: BTreeSet<String> =
            repaired.into_iter().flat_map(|finding| finding.documents).collect();
        for _ in 0..2 {
            // A vector that is lost stays a finding until its document is put again.
            let left = store.check(true).unwrap();
            if left.iter().any(|finding| {
                finding.documents.iter().any(|id| !named.contains(id))
                    || finding.documents.is_empty()
            }) {
                stories.push(format!("a check after a repair: {left:?}"));
            }
        }
        drop(store);
        let store = Store::open(&dir).unwrap();
        store.maintain(false);
        for number in 0..N_NUMBERS {
            let id = content::id(number);
            let is_there = store.document(NOTES, &id).unwrap() == whole.model.info(&id)
                && store.chunks(NOTES, &id, 0..u32::MAX).unwrap() == whole.model.chunks(&id);
            is_lost |= !is_there && !named.contains(&id);
            if is_lost {
                stories.push(format!("lost and not named: {id}"));
            }
        }
        // All that was not named is found, with its score.
        let query = content::unit_vector(31);
        let expected = unranked(whole.model.hits(&query, 1_000));
        let request = Request::new(query, 1_000).exact();
        let found = unranked(store.search(NOTES, &request).unwrap().hits);
        let unnamed = |hit: &&Hit| !named.contains(&hit.document);
        let (found, expected): (Vec<&Hit>, Vec<&Hit>) =
            (found.iter().filter(unnamed).collect(), expected.iter().filter(unnamed).collect());
        if found != expected {
            stories.push("searches after a repair differ".to_owned());
        }
    });
    if catch_unwind(body).is_err() {
        tally.panics += 1;
        stories.push("a panic, see above".to_owned());
    }
    tally.critical += u64::from(n_noticed > 0);
    tally.losses += u64::from(is_lost);
    tally.wrong += u64::from(!stories.is_empty() && !is_lost);
    tally
        .stories
        .extend(stories.into_iter().map(|story| format!("{} byte {at}: {story}", part.name)));
}

#[test]
fn a_segment_with_flipped_bits_in_any_part_answers_rightly_or_says_so_and_is_repaired() {
    let whole = whole();
    let documents = (0..N_NUMBERS).map(|number| content::document(number, 1));
    let put: Vec<StoredChunk> = documents
        .chain([content::document(3, 2)])
        .flat_map(|document| stored_chunks(&document))
        .collect();
    let mut numbers = Numbers(faults::seed());
    let parts = parts(&whole.bytes);
    let (between, parts): (Vec<_>, Vec<_>) = parts.iter().partition(|part| part.name.is_empty());
    let groups = parts.into_iter().map(|part| (part.name.as_str(), vec![part]));
    for (name, parts) in groups.chain([("what lies between parts", between)]) {
        let mut tally = Tally::default();
        for part in parts.iter().cycle().take(faults::rounds(1) as usize) {
            round(&mut tally, &whole, &put, part, &mut numbers);
        }
        tally.finish(&format!("flipped bits in {name}"));
    }
}
