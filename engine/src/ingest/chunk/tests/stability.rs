//! How far an edit reaches: the property that boundaries are chosen by content for.

use std::collections::HashSet;

use rayon::prelude::*;

use super::{Choices, cut, markdown, plain, texts};
use crate::ingest::extract::Extracted;

/// How many chunks have a text that was not there before, over many edits of one paragraph.
struct Reach {
    counts: Vec<usize>,
}

impl Reach {
    /// Edits each of `n_documents` random documents `n_edits` times, each time from the original.
    fn measure(
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
            let chunks = cut(&before, tokens);
            let before: HashSet<&str> = texts(&before, &chunks).into_iter().collect();
            let n_new = |_| {
                let mut edited = paragraphs.clone();
                edit(&mut edited, &mut choices);
                let after = wrap(&edited.join("\n\n"));
                let chunks = cut(&after, tokens);
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

#[test]
fn an_edited_paragraph_changes_few_chunks() {
    for (name, wrap) in [("plain", plain as fn(&str) -> Extracted), ("marked", markdown)] {
        for tokens in [256] {
            let reach = Reach::measure(4, 50, tokens, wrap);
            reach.report(&format!("{name}, {tokens} tokens"));
            assert!(reach.share_up_to(3) >= 0.99, "{name}, {tokens} tokens: {:?}", reach.counts);
        }
    }
}
