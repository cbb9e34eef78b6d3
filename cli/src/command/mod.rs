//! One command, one file, one `run`; and what several of them need to open a database.

pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod compact;
pub(crate) mod completions;
pub(crate) mod delete;
pub(crate) mod embed;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod fields;
pub(crate) mod fsck;
pub(crate) mod get;
pub(crate) mod import;
pub(crate) mod index;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod model;
pub(crate) mod reembed;
pub(crate) mod reindex;
pub(crate) mod restore;
pub(crate) mod search;
pub(crate) mod status;
pub(crate) mod train;
pub(crate) mod tune;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::bail;
use gemmule::{Collection, Database};

use crate::args::{Global, PrecisionName};
use crate::output::Output;
use crate::text;

/// Opens a database that is there, to read it: beside another process that writes, as it was a while
/// ago, and says so.
fn open_database(global: &Global, output: &Output) -> anyhow::Result<Database> {
    check_is_there(&global.db)?;
    let db = Database::open_or_read(&global.db)?;
    if let Some(as_of) = db.as_of() {
        output.note(format_args!(
            "another process has {} open for writing: this is what it had finished {}",
            text::printable(&global.db.display().to_string()),
            text::ago(as_of, SystemTime::now())
        ));
    }
    Ok(db)
}

/// Opens a database that is there, to change it.
fn open_to_change(global: &Global) -> anyhow::Result<Database> {
    check_is_there(&global.db)?;
    Ok(Database::open(&global.db)?)
}

/// Only indexing, importing and restoring may create a database.
fn check_is_there(db: &Path) -> anyhow::Result<()> {
    let is_missing = match db.read_dir() {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if is_missing {
        let db_flag = db_flag(db);
        bail!(
            "there is no database at {}: make one with `gemmule index PATH{db_flag}`, \
             or name another with --db",
            db.display()
        );
    }
    Ok(())
}

/// Opens a collection that is there, to read it.
fn open_collection(
    global: &Global,
    precision: Option<PrecisionName>,
    output: &Output,
) -> anyhow::Result<(Database, Collection)> {
    let db = open_database(global, output)?.with_precision(precision.map(Into::into));
    let collection = collection_of(&db, global)?;
    Ok((db, collection))
}

/// A collection that is there.
fn collection_of(db: &Database, global: &Global) -> anyhow::Result<Collection> {
    let names: Vec<String> = db.collections()?.into_iter().map(|(name, _)| name).collect();
    if !names.contains(&global.collection) {
        let has = match names.is_empty() {
            true => "it has none yet".to_owned(),
            false => format!("it has: {}", names.join(", ")),
        };
        let db_flag = db_flag(&global.db);
        bail!(
            "there is no collection '{name}' in {}; {has}; make it with \
             `gemmule index PATH{db_flag} --collection {name}`",
            global.db.display(),
            name = global.collection,
        );
    }
    Ok(db.collection(&global.collection)?)
}

/// The moment that what is seen was finished, in seconds since 1970; none if all is seen.
fn as_of(db: &Database) -> Option<f64> {
    let since = db.as_of()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(since.as_secs_f64())
}

/// What to add to a command so that it means this database.
fn db_flag(db: &Path) -> String {
    if db == Path::new(".gemmule") { String::new() } else { format!(" --db {}", db.display()) }
}

/// What to add to a command so that it means this collection.
fn collection_flag(name: &str) -> String {
    if name == "default" {
        String::new()
    } else {
        format!(" --collection {}", text::printable(name))
    }
}
