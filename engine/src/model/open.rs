//! From a model's name to one that runs: an image if there is one, else one is made.
//!
//! An image lies beside the model, as `gemmule-int8.image`, or in the user's cache where the model's
//! folder must not be written to. If it can be kept nowhere, the model is prepared in memory.

use std::path::{Path, PathBuf};

use super::prepared::dot;
use super::{Fast, Image, Prepared, Report, Stamp, check};
use crate::kernel::Precision;
use crate::package::{Location, Package, Source};
use crate::{Error, Result};

/// The precisions that are tried when none is asked for, before f32.
const FASTEST_FIRST: [Precision; 2] = [Precision::Int8, Precision::Bf16];

/// A model that runs.
pub(crate) struct Opened {
    pub(crate) package: Package,
    pub(crate) model: Fast,
    /// How true it is to f32; unknown where it was prepared in memory.
    pub(crate) report: Option<Report>,
}

/// Opens a model in one precision, or in the fastest that is true enough.
///
/// # Errors
/// As [`Package::open`].
pub(crate) fn open(name: &str, precision: Option<Precision>) -> Result<Opened> {
    let location = Location::find(name)?;
    if let Some(precision) = precision {
        return open_in(&location, precision);
    }
    for precision in FASTEST_FIRST {
        let opened = open_in(&location, precision)?;
        if opened.report.as_ref().is_none_or(|report| report.worst() >= bound(precision)) {
            return Ok(opened);
        }
    }
    open_in(&location, Precision::F32)
}

/// The cosine to f32 that a precision must reach on every text of the check.
pub fn bound(precision: Precision) -> f32 {
    match precision {
        Precision::F32 => 0.999_99,
        Precision::Bf16 => 0.9995,
        Precision::Int8 => 0.995,
        Precision::Int4 => 0.97,
    }
}

/// A precision of a model, held against f32 on this machine.
pub struct Verified {
    /// The cosine of each text of the check.
    pub report: Report,
    /// The prepared model that was checked; none if it was prepared in memory.
    pub image: Option<PathBuf>,
}

/// Runs the texts of the check through a model as it is opened, and compares with f32. Prepares it
/// if it was not; a prepared model whose bytes have changed is made anew.
///
/// # Errors
/// As [`Package::open`].
pub fn verify(name: &str, precision: Precision) -> Result<Verified> {
    let location = Location::find(name)?;
    let stamps = Stamp::of(&location.files());
    for path in places(&location, precision) {
        if opened(&path, &location, &stamps).is_some() && !Image::is_whole(&path).unwrap_or(false) {
            let doing = "remove the damaged";
            std::fs::remove_file(&path).map_err(|source| Error::Io { doing, path, source })?;
        }
    }
    let Opened { package, model, report } = open_in(&location, precision)?;
    let texts = check::texts(&package)?;
    let run = |model: &Fast| -> Vec<Vec<f32>> {
        texts.iter().flat_map(|ids| model.forward(&[ids])).collect()
    };
    let mut report = match report {
        Some(report) => report,
        None => {
            let (package, source) = location.load()?;
            let exact = Prepared::in_memory(&package.config, &source, Precision::F32)?;
            Report { exact: run(&Fast::new(&package.config, exact)), ..Report::default() }
        }
    };
    report.cosines = run(&model).iter().zip(&report.exact).map(|(a, b)| dot(a, b)).collect();
    let image = places(&location, precision).into_iter().find(|path| path.exists());
    Ok(Verified { report, image })
}

fn open_in(location: &Location, precision: Precision) -> Result<Opened> {
    let stamps = Stamp::of(&location.files());
    let places = places(location, precision);
    if let Some(opened) = places.iter().find_map(|path| opened(path, location, &stamps)) {
        return Ok(opened);
    }
    let (package, source) = location.load()?;
    // Without its image a tokenizer would have to be read with each start: not worth a file.
    if package.tokenizer.image().is_some() {
        for path in &places {
            match write(path, &package, &source, &stamps, precision) {
                Ok(_) => {
                    if let Some(opened) = opened(path, location, &stamps) {
                        return Ok(opened);
                    }
                }
                // Nowhere to keep it: there may be another place, and there is memory.
                Err(Error::Io { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    let weights = Prepared::in_memory(&package.config, &source, precision)?;
    let model = Fast::new(&package.config, weights);
    Ok(Opened { package, model, report: None })
}

fn opened(path: &Path, location: &Location, stamps: &[Stamp]) -> Option<Opened> {
    let Image { package, weights, report } = Image::open(path, location.name(), stamps)?;
    let model = Fast::new(&package.config, weights);
    Some(Opened { package, model, report: Some(report) })
}

fn write(
    path: &Path,
    package: &Package,
    source: &Source,
    stamps: &[Stamp],
    precision: Precision,
) -> Result<Report> {
    if let Some(folder) = path.parent() {
        // If it cannot be made, neither can the file in it, and that error says more.
        let _ = std::fs::create_dir_all(folder);
    }
    Image::write(path, package, source, stamps, precision, &check::texts(package)?)
}

/// Where an image may lie, best first; nowhere for a model that is compiled in.
fn places(location: &Location, precision: Precision) -> Vec<PathBuf> {
    let Some(path) = location.path() else { return Vec::new() };
    let file = format!("gemmule-{}.image", precision.name());
    let beside = match location {
        Location::Folder(folder) => folder.join(&file),
        _ => path.with_added_extension(&file),
    };
    let cached = cache_folder().map(|folder| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let hash = blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex();
        folder.join(format!("{}-{file}", &hash[..16]))
    });
    [Some(beside), cached].into_iter().flatten().collect()
}

/// The user's folder for what can be made again.
fn cache_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let caches = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?;
    Some(caches.join("gemmule").join("models"))
}
