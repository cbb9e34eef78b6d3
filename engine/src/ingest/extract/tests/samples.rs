//! Real documents, where they are at hand: each ends as text, skipped or failed, with a reason.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use super::*;
use crate::ingest::walk;

fn samples() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/docs");
    let found = folder.is_dir().then_some(folder);
    if found.is_none() {
        eprintln!("skipped: there are no sample documents in ../shared/data/docs");
    }
    found
}

#[test]
fn every_sample_ends_as_text_or_with_a_reason() {
    let Some(folder) = samples() else { return };
    let limits = Limits::default();
    let mut tally: BTreeMap<String, usize> = BTreeMap::new();
    let (mut n_files, mut n_bytes) = (0, 0);
    let started = Instant::now();
    for entry in walk(&folder).expect("walk") {
        n_files += 1;
        let (path, outcome) = match entry {
            Ok(found) => {
                let name = found.path.to_string_lossy().into_owned();
                let bytes = read(&found.path, &limits);
                n_bytes += bytes.as_ref().map_or(0, Vec::len);
                (found.path, bytes.and_then(|bytes| checked(&name, bytes, &limits)))
            }
            Err(refused) => (refused.path, Err(refused.why)),
        };
        let state = match outcome {
            Ok(extracted) => format!("{:?}", extracted.kind),
            Err(failure) => {
                println!("{}: {failure:?}", path.display());
                match failure {
                    Failure::Skipped(_) => "skipped".to_owned(),
                    Failure::Failed(_) => "failed".to_owned(),
                }
            }
        };
        *tally.entry(state).or_default() += 1;
    }
    println!("{n_files} files, {n_bytes} bytes, {:?}: {tally:?}", started.elapsed());
    assert_eq!(tally.values().sum::<usize>(), n_files);
    assert!(tally.contains_key("Markdown") && n_files > 100, "{tally:?}");
}
