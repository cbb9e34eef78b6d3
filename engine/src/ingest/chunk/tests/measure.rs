//! Sizes and speed on real documents, where they are at hand.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{checked, cut, markdown};

/// The Markdown files below a folder, in the order of their paths.
fn markdown_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            markdown_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

#[test]
fn real_documents_are_covered_and_their_chunks_are_well_filled() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/docs");
    let mut paths = Vec::new();
    markdown_files(&folder, &mut paths);
    if paths.is_empty() {
        println!("skipped: no documents at {}", folder.display());
        return;
    }
    let texts: Vec<_> = paths
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .filter(|text| !text.trim().is_empty())
        .map(|text| markdown(&text))
        .collect();
    let bytes: usize = texts.iter().map(|text| text.text.len()).sum();
    for tokens in [128, 256, 512] {
        let begin = Instant::now();
        let chunks: Vec<_> = texts.iter().flat_map(|text| cut(text, tokens)).collect();
        let seconds = begin.elapsed().as_secs_f64();
        let sizes: Vec<usize> = chunks.iter().map(|chunk| chunk.n_tokens).collect();
        let mean = sizes.iter().sum::<usize>() as f64 / sizes.len() as f64;
        let tiny = sizes.iter().filter(|&&size| size < tokens / 8).count();
        println!(
            "{} documents, {bytes} bytes, {tokens} tokens: {} chunks, fill {:.3}, {tiny} under an \
             eighth, {:.2} MB/s",
            texts.len(),
            chunks.len(),
            mean / tokens as f64,
            bytes as f64 / 1e6 / seconds
        );
        assert!(mean > 0.3 * tokens as f64, "mean of {mean} tokens of {tokens}");
    }
    texts.iter().step_by(7).for_each(|text| drop(checked(text, 256)));
}
