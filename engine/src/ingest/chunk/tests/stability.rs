//! How far an edit reaches: the property that boundaries are chosen by content for.

use std::collections::HashSet;

use rayon::prelude::*;

use super::{Choices, cut, cut_with, markdown, plain, texts, tokenizer};
use crate::ingest::extract::Extracted;
use crate::package::Tokenizer;

/// How many chunks have a text that was not there before, over many edits of one paragraph.
struct Reach {
    counts: Vec<usize>,
}

impl Reach {
    /// Edits each of `n_documents` random documents `n_edits` times, each time from the original.
    fn measure(
        tokenizer: &Tokenizer,
        n_documents: u64,
        n_edits: usize,
        tokens: usize,
        wrap: fn(&str) -> Extracted,
    ) -> Reach {
        let counts = (1..=n_documents).into_par_iter().flat_map_iter(|seed| {
            let mut choices = Choices::new(seed);
            let n_paragraphs = 300 + choices.below(301);
            let paragraphs: Vec<String> = (0..n_paragraphs).map(|_| choices.paragraph()).collect();
            let before = wrap(&paragraphs.join("\n\n"));
            let chunks = cut_with(tokenizer, &before, tokens);
            let before: HashSet<&str> = texts(&before, &chunks).into_iter().collect();
            let n_new = |_| {
                let mut edited = paragraphs.clone();
                edit(&mut edited, &mut choices);
                let after = wrap(&edited.join("\n\n"));
                let chunks = cut_with(tokenizer, &after, tokens);
                let new = texts(&after, &chunks).into_iter().filter(|text| !before.contains(text));
                new.count()
            };
            (0..n_edits).map(n_new).collect::<Vec<_>>()
        });
        Reach { counts: counts.collect() }
    }

    fn report(&self, name: &str) {
        let n = self.counts.len();
        let mean = self.counts.iter().sum::<usize>() as f64 / n as f64;
        let mut histogram = vec![0; self.counts.iter().max().unwrap_or(&0) + 1];
        self.counts.iter().for_each(|&count| histogram[count] += 1);
        println!("{name}: {n} edits, mean {mean:.3}, new chunks 0.. : {histogram:?}");
    }

    fn share_up_to(&self, limit: usize) -> f64 {
        let n = self.counts.iter().filter(|&&count| count <= limit).count();
        n as f64 / self.counts.len() as f64
    }
}

/// Inserts, deletes or changes one paragraph.
fn edit(paragraphs: &mut Vec<String>, choices: &mut Choices) {
    let paragraph = choices.below(paragraphs.len());
    match choices.below(4) {
        0 => paragraphs.insert(paragraph, choices.paragraph()),
        1 => drop(paragraphs.remove(paragraph)),
        2 => paragraphs[paragraph] = choices.paragraph(),
        _ => {
            let mut words: Vec<&str> = paragraphs[paragraph].split(' ').collect();
            let idx = choices.below(words.len().min(20));
            words[idx] = "changed";
            paragraphs[paragraph] = words.join(" ");
        }
    }
}

/// A tokenizer for which every word is a token: fast enough for thousands of documents.
fn word_tokenizer() -> Tokenizer {
    let json = br#"{"version": "1.0", "added_tokens": [], "truncation": null, "padding": null,
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null,
        "decoder": null, "model": {"type": "WordLevel", "vocab": {"?": 0}, "unk_token": "?"}}"#;
    Tokenizer::Library(Box::new(
        tokenizers::Tokenizer::from_bytes(json).expect("a tokenizer of words"),
    ))
}

#[test]
fn an_edited_paragraph_changes_few_chunks() {
    // 128 and 256 words are about 256 and 512 tokens of a real vocabulary.
    for (tokens, wrap) in [(128, plain as fn(&str) -> Extracted), (256, markdown)] {
        let reach = Reach::measure(&word_tokenizer(), 20, 25, tokens, wrap);
        reach.report(&format!("{tokens} words"));
        assert!(reach.share_up_to(3) >= 0.99, "{tokens} words: {:?}", reach.counts);
    }
}

#[test]
fn an_edited_paragraph_changes_few_chunks_of_nano() {
    let reach = Reach::measure(tokenizer(), 2, 20, 256, markdown);
    reach.report("256 tokens");
    // Too few edits to tell 0.98 from 0.99: this guards against counting from the start.
    assert!(reach.share_up_to(3) >= 0.95, "{:?}", reach.counts);
}

#[test]
fn a_word_at_the_start_of_a_long_text_changes_its_first_chunks_only() {
    let mut choices = Choices::new(99);
    let text: Vec<String> = (0..2000).map(|_| choices.sentence()).collect();
    let before = plain(&text.join(" "));
    let after = plain(&format!("Word. {}", before.text));
    let (old, new) = (cut(&before, 256), cut(&after, 256));
    let old: HashSet<&str> = texts(&before, &old).into_iter().collect();
    let new: Vec<bool> = texts(&after, &new).iter().map(|text| !old.contains(text)).collect();
    assert!(new[0] && !new[3..].contains(&true), "{new:?}");
}
