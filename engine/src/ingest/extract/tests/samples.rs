//! Real documents, where they are at hand: each ends as text, skipped or failed, with a reason.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use super::*;
use crate::ingest::walk;

fn samples() -> Option<PathBuf> {
    // Beside the workspace, as seen from this crate.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/docs");
    let found = folder.is_dir().then_some(folder);
    if found.is_none() {
        eprintln!(
            "skipped: there are no sample documents in shared/data/docs beside the workspace"
        );
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

/// The share of pdftotext's words, page by page, that the whole of the samples must reach.
const SHARE_MIN: f64 = 0.95;

#[test]
fn pdf_pages_have_the_words_that_pdftotext_finds() {
    let Some(folder) = samples() else { return };
    if Command::new("pdftotext").arg("-v").output().is_err() {
        eprintln!("skipped: pdftotext is not installed (it comes with poppler-utils)");
        return;
    }
    let limits = Limits::default();
    let (mut n_found, mut n_expected) = (0, 0);
    for found in walk(&folder).expect("walk").flatten() {
        if found.path.extension().is_none_or(|extension| extension != "pdf") {
            continue;
        }
        let theirs = Command::new("pdftotext").arg(&found.path).arg("-").output().expect("runs");
        let theirs = rejoined(&String::from_utf8_lossy(&theirs.stdout));
        let bytes = read(&found.path, &limits).expect("readable");
        let name = found.path.file_name().expect("name").to_string_lossy();
        let outcome = checked(&name, bytes, &limits);
        let ours = outcome.as_ref().map(page_texts).unwrap_or_default();
        let theirs: Vec<&str> = theirs.trim_end_matches('\u{c}').split('\u{c}').collect();
        let (mut n_same, mut n_theirs, mut n_ours) = (0, 0, 0);
        for (idx, page) in theirs.iter().enumerate() {
            let (theirs, ours) = (words(page), words(ours.get(idx).map_or("", |page| page)));
            n_same +=
                theirs.iter().map(|(word, n)| n.min(ours.get(word).unwrap_or(&0))).sum::<usize>();
            n_theirs += theirs.values().sum::<usize>();
            n_ours += ours.values().sum::<usize>();
        }
        let share = if n_theirs == 0 { 1.0 } else { n_same as f64 / n_theirs as f64 };
        println!("{share:.4} of {n_theirs} words ({n_ours} ours), {} pages: {name}", theirs.len());
        if let Err(failure) = outcome {
            println!("       {failure:?}");
        }
        (n_found, n_expected) = (n_found + n_same, n_expected + n_theirs);
    }
    let share = n_found as f64 / n_expected as f64;
    println!("{share:.4} of {n_expected} words in all");
    assert!(share >= SHARE_MIN, "only {share:.4} of pdftotext's words");
}

/// The text of each page.
fn page_texts(extracted: &Extracted) -> Vec<String> {
    let starts = extracted.marks.iter().filter(|mark| matches!(mark.kind, MarkKind::Page(_)));
    let starts: Vec<usize> = starts.map(|mark| mark.offset).collect();
    let ends = starts.iter().skip(1).copied().chain([extracted.text.len()]);
    starts.iter().zip(ends).map(|(&start, end)| extracted.text[start..end].to_owned()).collect()
}

/// Words cut at a line's end put together, as ours are.
fn rejoined(text: &str) -> String {
    let mut rejoined = String::new();
    for line in text.split_inclusive('\n') {
        let cut = rejoined.strip_suffix("-\n").is_some_and(|before: &str| {
            before.ends_with(char::is_lowercase) && line.starts_with(char::is_lowercase)
        });
        if cut {
            rejoined.truncate(rejoined.len() - 2);
        }
        rejoined.push_str(line);
    }
    rejoined
}

/// How often each word occurs: runs of letters and digits, in lower case, ligatures apart.
fn words(text: &str) -> BTreeMap<String, usize> {
    let text = text.replace('\u{fb01}', "fi").replace('\u{fb02}', "fl").to_lowercase();
    let mut words = BTreeMap::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *words.entry(word.to_owned()).or_default() += 1;
    }
    words
}
