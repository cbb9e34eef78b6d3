//! One command, one file, one `run`; and what several of them need to open a database.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod delete;
pub(crate) mod embed;
pub(crate) mod eval;
pub(crate) mod get;
pub(crate) mod index;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod model;
pub(crate) mod search;
pub(crate) mod status;

use std::path::Path;

use anyhow::bail;
use gemmule::{Collection, Database};

use crate::args::{Global, PrecisionName};

/// Opens a database that is there; reading must not create one.
fn open_database(db: &Path) -> anyhow::Result<Database> {
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
    Ok(Database::open(db)?)
}

/// Opens a collection that is there.
fn open_collection(
    global: &Global,
    precision: Option<PrecisionName>,
) -> anyhow::Result<(Database, Collection)> {
    let db = open_database(&global.db)?.with_precision(precision.map(Into::into));
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
    let collection = db.collection(&global.collection)?;
    Ok((db, collection))
}

/// What to add to a command so that it means this database.
fn db_flag(db: &Path) -> String {
    if db == Path::new(".gemmule") { String::new() } else { format!(" --db {}", db.display()) }
}
