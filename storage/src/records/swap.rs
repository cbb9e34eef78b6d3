//! One directory takes the place of another, and a crash at any moment leaves one of them whole in that place, or enough to
//! finish.
//!
//! The new directory is written as `sled.part` and synced; renaming it to `sled.new` decides. From then on nothing is
//! written to the old one, and the rest can be repeated: the old one becomes `sled.part`, the new one `sled`, and what is
//! called `sled.part` is removed. The directory above is synced after each renaming.

use std::fs;
use std::path::{Path, PathBuf};

use crate::disk::{self, PART_SUFFIX};
use crate::error::{Result, io};

/// How the name of a directory ends that is complete and takes the place of the one without it.
pub(crate) const NEW_SUFFIX: &str = ".new";

/// Where the directory is written that shall take the place of `dir`; what is there is left over.
pub(crate) fn part(dir: &Path) -> PathBuf {
    sibling(dir, PART_SUFFIX)
}

/// Decides that the directory at [`part`], complete and synced, takes the place of `dir`.
pub(crate) fn decide(dir: &Path) -> Result<()> {
    fs::rename(part(dir), sibling(dir, NEW_SUFFIX)).map_err(io("rename", &part(dir)))?;
    disk::sync_dir(parent(dir))
}

/// Finishes what was decided, and removes what is left of what was not.
pub(crate) fn finish(dir: &Path) -> Result<()> {
    let (part, new) = (part(dir), sibling(dir, NEW_SUFFIX));
    disk::remove_dir(&part)?;
    if new.exists() {
        if dir.exists() {
            fs::rename(dir, &part).map_err(io("rename", dir))?;
            disk::sync_dir(parent(dir))?;
        }
        fs::rename(&new, dir).map_err(io("rename", &new))?;
        disk::sync_dir(parent(dir))?;
        disk::remove_dir(&part)?;
    }
    Ok(())
}

fn sibling(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    dir.with_file_name(name)
}

fn parent(dir: &Path) -> &Path {
    dir.parent().unwrap_or(dir)
}
