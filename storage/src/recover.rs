//! Opening: after a clean close or a crash at any moment, the same steps.
//!
//! 1. The path is a database, or empty, or new; nothing else is touched. Then the lock is taken.
//! 2. The format is read, or written if there is none yet. Half-written files are removed.
//! 3. sled opens. Collections, counters and tombstones are read; damage there is an error.
//! 4. Segments are mapped and their headers checked, unsealed rows are read into memory; damage there is a warning,
//!    and the rest works.
//! 5. The lexicon of each collection is opened, and given the rows that it lacks.
//! 6. Segment files that no record names are removed: a crash came between writing and publishing them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use crate::bitmap::{BLOCK_ROWS, Bitmap};
use crate::collection::{self, Collection, CollectionRecord, Ledger};
use crate::disk::{self, Need, PART_SUFFIX};
use crate::error::{Error, Result, io};
use crate::key::{self, FIRST_COLLECTION, Key, Tag};
use crate::lexicon::{LEXICON_DIR, Lexicon};
use crate::lock::{self, Lock};
use crate::record;
use crate::refill::refill;
use crate::row::{self, Run};
use crate::seal::SUFFIX;
use crate::sealed::{Sealed, SegmentRecord};
use crate::space::Space;
use crate::tree::Tree;
use crate::view::View;

/// The version of the format that this program reads and writes.
pub(crate) const FORMAT: u32 = 0;
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
    let tree = Tree::open(&dir.join(ENGINE_DIR))?;
    disk::sync_dir(dir)?;

    let mut warnings = Vec::new();
    let mut collections = BTreeMap::new();
    let mut ledgers = HashMap::new();
    let mut next_collection = FIRST_COLLECTION;
    let mut named = HashSet::new();
    let mut all_named = true;
    for (number, record) in read_collections(&tree)? {
        next_collection = next_collection.max(number.saturating_add(1));
        let ledger = read_ledger(&tree, number)?;
        let (records, complete) = read_segment_records(&tree, number, &mut warnings)?;
        named.extend(records.iter().map(|record| record.name.clone()));
        all_named &= complete;
        let sealed = open_segments(&segments_dir, records, &record, &mut warnings);
        let sealed = bury(sealed, &ledger);
        let unsealed = read_rows(&tree, number, &record.space, &mut warnings)?;
        let view = View::new(sealed, unsealed, Lexicon::default());
        let named = (number, record.name.as_str());
        let lexicon = refill(dir, &tree, named, &view, ledger.next_row, &mut warnings);
        let collection = Collection::new(number, record, view.with_lexicon(lexicon));
        ledgers.insert(number, ledger);
        collections.insert(collection.name.clone(), Arc::new(collection));
    }
    // A damaged record may be the one that names a file.
    if all_named {
        remove_unnamed(&segments_dir, &named)?;
    }
    Ok(Recovered { lock, tree, collections, ledgers, next_collection, warnings })
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
    for entry in fs::read_dir(dir).map_err(io("list", dir))? {
        let name = entry.map_err(io("list", dir))?.file_name();
        let name = name.to_string_lossy();
        let ours =
            [lock::FILE_NAME, FORMAT_FILE, IGNORE_FILE, ENGINE_DIR, SEGMENTS_DIR, LEXICON_DIR];
        if !ours.contains(&name.strip_suffix(PART_SUFFIX).unwrap_or(&name)) {
            return Err(not_a_database(&format!(
                "it is no database and holds other things ({name})"
            )));
        }
    }
    Ok(())
}

/// Reads the version, or writes it into a new database. The caller holds the lock.
fn check_format(dir: &Path) -> Result<()> {
    let path = dir.join(FORMAT_FILE);
    match fs::metadata(&path) {
        Ok(metadata) if metadata.len() > MAX_FORMAT_BYTES => {
            return Err(Error::corrupt(path.display(), "it is too long"));
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // The version is written before sled exists, so sled without it means that the file was lost.
            if dir.join(ENGINE_DIR).exists() {
                return Err(Error::corrupt(path.display(), "it is missing"));
            }
            disk::write_file(dir, IGNORE_FILE, b"*\n")?;
            return disk::write_file(
                dir,
                FORMAT_FILE,
                format!("{FORMAT_PREFIX}{FORMAT}\n").as_bytes(),
            );
        }
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

fn read_collections(tree: &Tree) -> Result<Vec<(u32, CollectionRecord)>> {
    let mut collections = Vec::new();
    tree.scan(&key::collections(), &mut |key, payload| {
        if let Key::Collection { number } = key {
            collections.push((number, record::decode(key, &payload?)?));
        }
        Ok(())
    })?;
    Ok(collections)
}

fn read_ledger(tree: &Tree, number: u32) -> Result<Ledger> {
    let key = Key::NextRow { collection: number };
    let next_row = match tree.get(&key)? {
        Some(payload) => collection::decode_next_row(&key, &payload)?,
        None => 0,
    };
    let mut tombstones = BTreeMap::new();
    tree.scan(&key::prefix(number, Tag::Tombstones), &mut |key, payload| {
        if let Key::Tombstones { block, .. } = key {
            let bitmap = Bitmap::from_block(&payload?)
                .ok_or_else(|| Error::corrupt(key, "it is not as long as a block"))?;
            tombstones.insert(block, bitmap);
        }
        Ok(())
    })?;
    Ok(Ledger { next_row, tombstones })
}

/// The records of a collection's segments, and whether all could be read; a warning for each that could not.
fn read_segment_records(
    tree: &Tree,
    number: u32,
    warnings: &mut Vec<String>,
) -> Result<(Vec<SegmentRecord>, bool)> {
    let mut records = Vec::new();
    let mut complete = true;
    tree.scan(&key::prefix(number, Tag::Segment), &mut |key, payload| {
        match payload.and_then(|payload| record::decode(key, &payload)) {
            Ok(record) => records.push(record),
            Err(error) => {
                complete = false;
                warnings.push(format!("the rows of one segment are not searched: {error}"));
            }
        }
        Ok(())
    })?;
    Ok((records, complete))
}

fn open_segments(
    segments_dir: &Path,
    records: Vec<SegmentRecord>,
    collection: &CollectionRecord,
    warnings: &mut Vec<String>,
) -> Vec<Sealed> {
    let mut opened = Vec::new();
    for record in records {
        let n_rows = record.n_rows;
        match Sealed::open(segments_dir, record, &collection.space) {
            Ok(sealed) => opened.push(sealed),
            Err(error) => warnings.push(format!(
                "{n_rows} rows of collection {} are not searched: {error}",
                collection.name
            )),
        }
    }
    opened
}

/// Marks the dead rows of segments.
fn bury(sealed: Vec<Sealed>, ledger: &Ledger) -> Vec<Sealed> {
    let dead: Vec<u64> = ledger
        .tombstones
        .iter()
        .flat_map(|(block, bitmap)| {
            let set = (0..BLOCK_ROWS).filter(|idx| bitmap.contains(*idx as usize));
            set.map(|idx| block.saturating_mul(BLOCK_ROWS).saturating_add(idx))
        })
        .collect();
    let bury = |sealed: &Sealed| {
        let rows = sealed.rows();
        let start = dead.partition_point(|row| *row < rows.start);
        let end = dead.partition_point(|row| *row < rows.end);
        sealed.with_dead(dead[start..end].iter().copied())
    };
    sealed.iter().map(bury).collect()
}

/// Reads unsealed rows into runs of one document each; damaged rows are left out with a warning.
fn read_rows(
    tree: &Tree,
    number: u32,
    space: &Space,
    warnings: &mut Vec<String>,
) -> Result<Vec<Arc<Run>>> {
    let mut runs: Vec<(String, Run)> = Vec::new();
    tree.scan(&key::prefix(number, Tag::Row), &mut |key, payload| {
        let Key::Row { row, .. } = key else { return Ok(()) };
        let read = payload.and_then(|payload| {
            let (info, vector) = row::decode_row(&key, &payload, space.full_width)?;
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
                run.push(&info, &vector);
            }
            _ => {
                let mut run = Run::new(row, space.full_width);
                run.push(&info, &vector);
                runs.push((document, run));
            }
        }
        Ok(())
    })?;
    Ok(runs.into_iter().map(|(_, run)| Arc::new(run)).collect())
}
