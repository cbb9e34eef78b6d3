//! Opening: after a clean close or a crash at any moment, the same steps.
//!
//! 1. The path is a database, or empty, or new; nothing else is touched. Then the lock is taken.
//! 2. The format is read, or written if there is none yet. Half-written files are removed.
//! 3. sled opens. Collections, counters and tombstones are read; damage there is a warning. A counter or tombstones are then
//!    worked out from the other records; a collection is taken from `MANIFEST`, or else left alone while the others work.
//! 4. Segments are mapped and their headers checked, unsealed rows are read into memory; damage there is a warning,
//!    and the rest works.
//! 5. The lexicon of each collection is opened, and given the rows that it lacks. `MANIFEST` is written for readers, unless
//!    the one there is newer than what sled has: that is an error. What is being built of a collection in another space is
//!    opened likewise, and not used if there is damage.
//! 6. Segment files that no record names are removed: a crash came between writing and publishing them. So are the records
//!    of numbers that were dropped.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use crate::collection::{self, Collection, CollectionRecord, Ledger};
use crate::disk::{self, Need, PART_SUFFIX};
use crate::error::{Error, Result, io};
use crate::filter::fields::Fields;
use crate::lexicon::{LEXICON_DIR, Lexicon};
use crate::link;
use crate::open::lock::{self, Lock};
use crate::open::refill::refill;
use crate::reader::manifest;
use crate::records::key::{self, FIRST_COLLECTION, Key, Tag};
use crate::records::record;
use crate::records::swap;
use crate::records::tree::Tree;
use crate::repair::rebuild;
use crate::row::{self, Run};
use crate::search::view::View;
use crate::segments::bitmap::Bitmap;
use crate::segments::draft::SUFFIX;
use crate::segments::sealed::{Sealed, SegmentRecord};
use crate::space::Space;
use crate::successor;

/// The version of the format that this program reads and writes.
pub(crate) const FORMAT: u32 = 1;
/// The directory of segment files.
pub(crate) const SEGMENTS_DIR: &str = "segments";
/// The directory of sled.
pub(crate) const ENGINE_DIR: &str = "sled";

const FORMAT_FILE: &str = "format";
const FORMAT_PREFIX: &str = "gemmule ";
const MAX_FORMAT_BYTES: u64 = 64;
const IGNORE_FILE: &str = ".gitignore";

/// All that opening finds.
pub(crate) struct Recovered {
    pub(crate) lock: Lock,
    pub(crate) tree: Tree,
    pub(crate) collections: BTreeMap<String, Arc<Collection>>,
    pub(crate) ledgers: HashMap<u32, Ledger>,
    pub(crate) next_collection: u32,
    pub(crate) warnings: Vec<String>,
}

/// Opens or creates a database.
pub(crate) fn open(dir: &Path) -> Result<Recovered> {
    check_path(dir)?;
    let lock = Lock::take(dir)?;
    remove_half_written(dir)?;
    disk::require(dir, Need::Open)?;
    check_format(dir)?;
    let segments_dir = dir.join(SEGMENTS_DIR);
    fs::create_dir_all(&segments_dir).map_err(io("create", &segments_dir))?;
    remove_half_written(&segments_dir)?;
    swap::finish(&dir.join(ENGINE_DIR))?;
    let tree = Tree::open(&dir.join(ENGINE_DIR))?;
    disk::sync_dir(dir)?;

    let mut warnings = Vec::new();
    let mut collections = BTreeMap::new();
    let mut ledgers = HashMap::new();
    let mut next_collection = FIRST_COLLECTION;
    let mut named = HashSet::new();
    let mut all_named = true;
    let mut numbers = BTreeSet::new();
    for (number, record) in read_collections(&tree)? {
        numbers.insert(number);
        next_collection = next_collection.max(number.saturating_add(1));
        let record: CollectionRecord = match record {
            Ok(record) => record,
            Err(error) => match named_before(dir, number) {
                Some(record) => {
                    warnings.push(format!("{error}; it was taken from {}", manifest::FILE_NAME));
                    record
                }
                None => {
                    all_named = false;
                    warnings.push(format!("one collection cannot be used: {error}"));
                    continue;
                }
            },
        };
        let mut of_lexicon = Vec::new();
        let opened = open_collection(dir, &tree, number, record, &mut warnings, &mut of_lexicon)?;
        named.extend(opened.named);
        all_named &= opened.all_named;
        let collection = opened.collection;
        collection.set_link(link::active(&tree, number, &mut warnings)?);
        for (next, space) in successor::read(&tree, number)? {
            next_collection = next_collection.max(next.saturating_add(1));
            let mut problems = Vec::new();
            let record =
                space.map(|space| CollectionRecord { name: collection.name.clone(), space });
            match record {
                Err(error) => problems.push(error.to_string()),
                Ok(record) => {
                    let (problems, of_lexicon) = (&mut problems, &mut of_lexicon);
                    let opened = open_collection(dir, &tree, next, record, problems, of_lexicon)?;
                    if problems.is_empty() {
                        named.extend(opened.named);
                        ledgers.insert(next, opened.ledger);
                        collection.set_successor(Some(Arc::new(opened.collection)));
                    }
                }
            }
            warnings.extend(problems.into_iter().map(|problem| {
                format!(
                    "what was built of collection {} in its new space is not used, reembed begins anew: {problem}",
                    collection.name
                )
            }));
        }
        warnings.append(&mut of_lexicon);
        ledgers.insert(number, opened.ledger);
        collections.insert(collection.name.clone(), Arc::new(collection));
    }
    let dropped = successor::dropped(&tree)?;
    numbers.extend(&dropped);
    let after = |next: u32, number: &u32| next.max(number.saturating_add(1));
    next_collection = dropped.iter().fold(next_collection, after);
    check_age(dir, &numbers, &ledgers)?;
    // Before files go that the one before may name.
    manifest::write(dir, collections.values().map(|each| &**each), &ledgers)?;
    if all_named {
        remove_unnamed(&segments_dir, &named)?;
    }
    for number in dropped {
        match successor::purge(dir, &tree, number) {
            // The next opening tries again.
            Err(Error::DiskFull { .. }) => break,
            purged => purged?,
        }
    }
    Ok(Recovered { lock, tree, collections, ledgers, next_collection, warnings })
}

/// A collection as its records and files have it.
struct Opened {
    collection: Collection,
    ledger: Ledger,
    /// The names of its segments, and whether that is all of them: a damaged record may be the one that names a file.
    named: Vec<String>,
    all_named: bool,
}

fn open_collection(
    dir: &Path,
    tree: &Tree,
    number: u32,
    record: CollectionRecord,
    warnings: &mut Vec<String>,
    of_lexicon: &mut Vec<String>,
) -> Result<Opened> {
    let mut ledger = read_ledger(tree, number, warnings)?;
    let records = read_segment_records(tree, number, &mut ledger.lost, warnings)?;
    let named = records.iter().map(|record| record.name.clone()).collect();
    let all_named = ledger.lost.is_empty();
    let segments_dir = dir.join(SEGMENTS_DIR);
    let sealed = open_segments(&segments_dir, records, &record, &mut ledger.lost, warnings);
    rebuild::tombstones(tree, number, &sealed, &mut ledger)?;
    let sealed = bury(sealed, &ledger);
    let unsealed = read_rows(tree, number, &record.space, warnings)?;
    let unsealed = describe(tree, number, unsealed, warnings)?;
    let view = View::new(sealed, unsealed, Lexicon::default());
    let of = (number, record.name.as_str());
    let lexicon = refill(dir, tree, of, &view, ledger.next_row, of_lexicon);
    let collection = Collection::new(number, record, view.with_lexicon(lexicon));
    Ok(Opened { collection, ledger, named, all_named })
}

/// Makes the directory if it is new, and refuses one that holds other things.
fn check_path(dir: &Path) -> Result<()> {
    let not_a_database =
        |found: &str| Error::NotADatabase { dir: dir.to_owned(), found: found.to_owned() };
    match fs::metadata(dir) {
        Ok(metadata) if !metadata.is_dir() => return Err(not_a_database("it is a file")),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(dir).map_err(io("create", dir))?;
            if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                disk::sync_dir(parent)?;
            }
        }
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(not_a_database("a part of its path is a file"));
        }
        Err(error) => return Err(io("look at", dir)(error)),
    }
    if dir.join(FORMAT_FILE).exists() {
        return Ok(());
    }
    match foreign(dir)? {
        Some(name) => {
            Err(not_a_database(&format!("it is no database and holds other things ({name})")))
        }
        None => Ok(()),
    }
}

/// The name of something in a directory that no database has, if there is any.
fn foreign(dir: &Path) -> Result<Option<String>> {
    let [engine, new_engine] = engine_dirs();
    let ours = [
        lock::FILE_NAME,
        FORMAT_FILE,
        IGNORE_FILE,
        SEGMENTS_DIR,
        LEXICON_DIR,
        manifest::FILE_NAME,
        &engine,
        &new_engine,
    ];
    let is_foreign =
        |name: &String| !ours.contains(&name.strip_suffix(PART_SUFFIX).unwrap_or(name));
    Ok(disk::names_in(dir)?.into_iter().find(is_foreign))
}

/// True if this is a directory that holds what databases hold and nothing else.
pub(crate) fn holds_only_ours(dir: &Path) -> Result<bool> {
    Ok(dir.is_dir() && foreign(dir)?.is_none())
}

/// The directories that hold what is in sled; after a crash both may be there.
pub(crate) fn engine_dirs() -> [String; 2] {
    [ENGINE_DIR.to_owned(), format!("{ENGINE_DIR}{}", swap::NEW_SUFFIX)]
}

/// Checks that a directory is a database of this format, without writing to it.
pub(crate) fn check_readable(dir: &Path) -> Result<()> {
    if dir.join(FORMAT_FILE).is_file() {
        return read_format(dir);
    }
    let found = "it is no database".to_owned();
    Err(Error::NotADatabase { dir: dir.to_owned(), found })
}

/// Makes a new directory a database of this format.
pub(crate) fn write_format(dir: &Path) -> Result<()> {
    disk::write_file(dir, IGNORE_FILE, b"*\n")?;
    disk::write_file(dir, FORMAT_FILE, format!("{FORMAT_PREFIX}{FORMAT}\n").as_bytes())
}

/// Reads the version, or writes it into a new database. The caller holds the lock.
fn check_format(dir: &Path) -> Result<()> {
    let path = dir.join(FORMAT_FILE);
    if path.exists() {
        return read_format(dir);
    }
    // The version is written before sled exists, so sled without it means that the file was lost.
    if dir.join(ENGINE_DIR).exists() {
        return Err(Error::corrupt(path.display(), "it is missing"));
    }
    write_format(dir)
}

fn read_format(dir: &Path) -> Result<()> {
    let path = dir.join(FORMAT_FILE);
    match fs::metadata(&path) {
        Ok(metadata) if metadata.len() > MAX_FORMAT_BYTES => {
            return Err(Error::corrupt(path.display(), "it is too long"));
        }
        Ok(_) => {}
        Err(error) => return Err(io("look at", &path)(error)),
    }
    let bytes = fs::read(&path).map_err(io("read", &path))?;
    let found = std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.strip_prefix(FORMAT_PREFIX)?.strip_suffix('\n')?.parse().ok())
        .ok_or_else(|| Error::corrupt(path.display(), "it names no version"))?;
    if found != FORMAT {
        return Err(Error::Format { dir: dir.to_owned(), found, expected: FORMAT });
    }
    Ok(())
}

/// Removes files that a crash left under their temporary names.
fn remove_half_written(dir: &Path) -> Result<()> {
    remove_files(dir, &|name| name.ends_with(PART_SUFFIX))
}

/// Removes segment files that no record names.
fn remove_unnamed(segments_dir: &Path, named: &HashSet<String>) -> Result<()> {
    remove_files(segments_dir, &|name| name.ends_with(SUFFIX) && !named.contains(name))
}

fn remove_files(dir: &Path, unwanted: &dyn Fn(&str) -> bool) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(io("list", dir))? {
        let entry = entry.map_err(io("list", dir))?;
        let path = entry.path();
        if path.is_file() && unwanted(&entry.file_name().to_string_lossy()) {
            fs::remove_file(&path).map_err(io("remove", &path))?;
        }
    }
    Ok(())
}

fn read_collections(tree: &Tree) -> Result<Vec<(u32, Result<CollectionRecord>)>> {
    let mut collections = Vec::new();
    tree.scan(&key::collections(), &mut |key, payload| {
        if let Key::Collection { number } = key {
            collections.push((number, payload.and_then(|payload| record::decode(key, &payload))));
        }
        Ok(())
    })?;
    Ok(collections)
}

/// Refuses records that are older than what was made of them: then sled was lost, or cut, and what it named is not to be
/// removed for that.
fn check_age(dir: &Path, numbers: &BTreeSet<u32>, ledgers: &HashMap<u32, Ledger>) -> Result<()> {
    let too_old = |problem: String| Error::corrupt(dir.join(ENGINE_DIR).display(), problem);
    if let Ok((_, manifest)) = manifest::read(dir) {
        for entry in manifest.collections {
            let name = entry.name;
            if !numbers.contains(&entry.number) {
                return Err(too_old(format!(
                    "it has lost collection {name}, which MANIFEST names"
                )));
            }
            let Some(ledger) = ledgers.get(&entry.number) else { continue };
            if entry.segments.iter().any(|segment| segment.last_row >= ledger.next_row) {
                return Err(too_old(format!(
                    "it has lost changes of collection {name}, MANIFEST names later ones"
                )));
            }
        }
    }
    let has_segment = |names: Vec<String>| names.iter().any(|name| name.ends_with(SUFFIX));
    if numbers.is_empty() && has_segment(disk::names_in(&dir.join(SEGMENTS_DIR))?) {
        return Err(too_old("it has no collection, and there are segments".to_owned()));
    }
    Ok(())
}

/// A collection as the last manifest has it.
fn named_before(dir: &Path, number: u32) -> Option<CollectionRecord> {
    let (_, manifest) = manifest::read(dir).ok()?;
    let entry = manifest.collections.into_iter().find(|entry| entry.number == number)?;
    Some(CollectionRecord { name: entry.name, space: entry.space })
}

/// Reads counter and tombstones; of those that are damaged, `damaged` has the blocks.
fn read_ledger(tree: &Tree, number: u32, warnings: &mut Vec<String>) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    let key = Key::NextRow { collection: number };
    let next_row = tree.get(&key).and_then(|payload| {
        payload.map_or(Ok(0), |payload| collection::decode_next_row(&key, &payload))
    });
    match next_row {
        Ok(next_row) => ledger.next_row = next_row,
        Err(error) if error.is_corruption() => {
            ledger.next_row = rebuild::next_row(tree, number)?;
            warnings.push(format!("{error}; it was worked out from the other records"));
        }
        Err(error) => return Err(error),
    }
    tree.scan(&key::prefix(number, Tag::Tombstones), &mut |key, payload| {
        let Key::Tombstones { block, .. } = key else { return Ok(()) };
        let bitmap = payload.and_then(|payload| {
            Bitmap::from_block(&payload)
                .ok_or_else(|| Error::corrupt(key, "it is not as long as a block"))
        });
        match bitmap {
            Ok(bitmap) => {
                ledger.tombstones.insert(block, bitmap);
            }
            Err(error) => {
                ledger.damaged.insert(block);
                warnings.push(format!("{error}; they were worked out from the documents"));
            }
        }
        Ok(())
    })?;
    Ok(ledger)
}

/// The records of a collection's segments that can be read; a warning for each that cannot, and its first row in `lost`.
fn read_segment_records(
    tree: &Tree,
    number: u32,
    lost: &mut BTreeSet<u64>,
    warnings: &mut Vec<String>,
) -> Result<Vec<SegmentRecord>> {
    let mut records = Vec::new();
    tree.scan(&key::prefix(number, Tag::Segment), &mut |key, payload| {
        let Key::Segment { first_row, .. } = key else { return Ok(()) };
        match payload.and_then(|payload| record::decode(key, &payload)) {
            Ok(record) => records.push(record),
            Err(error) => {
                lost.insert(first_row);
                warnings.push(format!("the rows of one segment are not searched: {error}"));
            }
        }
        Ok(())
    })?;
    Ok(records)
}

fn open_segments(
    segments_dir: &Path,
    records: Vec<SegmentRecord>,
    collection: &CollectionRecord,
    lost: &mut BTreeSet<u64>,
    warnings: &mut Vec<String>,
) -> Vec<Sealed> {
    let mut opened = Vec::new();
    for record in records {
        let SegmentRecord { first_row, n_rows, .. } = record;
        match Sealed::open(segments_dir, record, &collection.space) {
            Ok(sealed) => opened.push(sealed),
            Err(error) => {
                lost.insert(first_row);
                warnings.push(format!(
                    "{n_rows} rows of collection {} are not searched: {error}",
                    collection.name
                ));
            }
        }
    }
    opened
}

/// Marks the dead rows of segments.
fn bury(sealed: Vec<Sealed>, ledger: &Ledger) -> Vec<Sealed> {
    let bury = |sealed: &Sealed| sealed.with_dead(ledger.dead_in(sealed.rows()));
    sealed.iter().map(bury).collect()
}

/// Reads unsealed rows into runs of one document each, with its id; damaged rows are left out with a warning.
fn read_rows(
    tree: &Tree,
    number: u32,
    space: &Space,
    warnings: &mut Vec<String>,
) -> Result<Vec<(String, Run)>> {
    let mut runs: Vec<(String, Run)> = Vec::new();
    tree.scan(&key::prefix(number, Tag::Row), &mut |key, payload| {
        let Key::Row { row, .. } = key else { return Ok(()) };
        let read = payload.and_then(|payload| {
            let (info, vector) = row::decode_row(&key, &payload, space)?;
            Ok((row::decode_info(row, &info)?.document, info, vector))
        });
        let (document, info, vector) = match read {
            Ok(read) => read,
            Err(error) => {
                warnings.push(format!("one row is not searched: {error}"));
                return Ok(());
            }
        };
        match runs.last_mut() {
            Some((last, run)) if *last == document && run.rows().end == row => {
                run.push(&info, vector.values());
            }
            _ => {
                let mut run = Run::new(row, space);
                run.push(&info, vector.values());
                runs.push((document, run));
            }
        }
        Ok(())
    })?;
    Ok(runs)
}

/// Notes what filters see of unsealed rows, from the records of their documents.
fn describe(
    tree: &Tree,
    number: u32,
    runs: Vec<(String, Run)>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Arc<Run>>> {
    let mut described = Vec::with_capacity(runs.len());
    for (document, mut run) in runs {
        let fields = match collection::read_document(tree, number, &document) {
            Ok(Some(info)) => Fields::of_document(&info),
            Ok(None) => Fields::of_lost_document(&document),
            Err(error) => {
                let known = "filters know only the id of some rows";
                warnings.push(format!("{known}: {error}"));
                Fields::of_lost_document(&document)
            }
        };
        run.describe(&fields)?;
        described.push(Arc::new(run));
    }
    Ok(described)
}
