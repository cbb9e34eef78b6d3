//! What the chunker promises, with nano's tokenizer unless said otherwise.

mod hostile;
mod measure;
mod stability;
mod structure;

use std::sync::OnceLock;

use serde_json::Map;

use super::{Chunk, ChunkOptions, chunk};
use crate::ingest::extract::{Extracted, Kind, Mark, MarkKind, Offsets};
use crate::package::{Package, Tokenizer};

/// nano's tokenizer.
fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    TOKENIZER.get_or_init(|| Package::nano().expect("nano is compiled in").0.tokenizer)
}

/// A text as an extractor would give it.
fn extracted(text: &str, marks: Vec<Mark>, kind: Kind) -> Extracted {
    Extracted {
        text: text.to_owned(),
        offsets: Offsets::Source,
        marks,
        title: None,
        meta: Map::new(),
        kind,
    }
}

/// Text without marks.
fn plain(text: &str) -> Extracted {
    extracted(text, Vec::new(), Kind::Plain)
}

/// Marks lines that begin with `#` as headings, and the other lines after blank ones as blocks.
fn markdown(text: &str) -> Extracted {
    let mut marks = Vec::new();
    let mut offset = 0;
    let mut blank_before = true;
    for line in text.split_inclusive('\n') {
        let level = line.bytes().take_while(|&b| b == b'#').count();
        if level > 0 {
            let text = line[level..].trim().to_owned();
            marks.push(Mark { offset, kind: MarkKind::Heading { level: level as u8, text } });
        }
        if blank_before && !line.trim().is_empty() {
            marks.push(Mark { offset, kind: MarkKind::Block });
        }
        blank_before = line.trim().is_empty() || level > 0;
        offset += line.len();
    }
    extracted(text, marks, Kind::Markdown)
}

/// Cuts a text into chunks of at most so many tokens.
fn cut(extracted: &Extracted, tokens: usize) -> Vec<Chunk> {
    cut_with(tokenizer(), extracted, tokens)
}

/// Cuts a text with another tokenizer.
fn cut_with(tokenizer: &Tokenizer, extracted: &Extracted, tokens: usize) -> Vec<Chunk> {
    chunk(extracted, tokenizer, &ChunkOptions { tokens }).expect("chunks")
}

/// Cuts, and proves what holds for every text: order, coverage, trimming, exact counts, the limit.
fn checked(extracted: &Extracted, tokens: usize) -> Vec<Chunk> {
    let chunks = cut(extracted, tokens);
    let text = extracted.text.as_str();
    let mut at = 0;
    for chunk in &chunks {
        assert!(chunk.range.start >= at && chunk.range.end > chunk.range.start, "{chunk:?}");
        assert_eq!(text[at..chunk.range.start].trim(), "", "text lost before {chunk:?}");
        let own = &text[chunk.range.clone()];
        assert!(!own.lines().next().unwrap_or("").trim().is_empty(), "blank first line: {own:?}");
        assert_eq!(own.trim_end(), own, "white space at the end: {own:?}");
        let exact = tokenizer().count(own).expect("tokens");
        assert_eq!(chunk.n_tokens, exact, "count of {own:?}");
        assert!(
            exact <= tokens.max(1) || own.trim().chars().count() == 1,
            "{exact} > {tokens}: {own:?}"
        );
        at = chunk.range.end;
    }
    assert_eq!(text[at..].trim(), "", "text lost at the end");
    chunks
}

/// The texts of chunks.
fn texts<'a>(extracted: &'a Extracted, chunks: &[Chunk]) -> Vec<&'a str> {
    chunks.iter().map(|chunk| &extracted.text[chunk.range.clone()]).collect()
}

/// A seeded source of choices: xorshift64.
struct Choices(u64);

impl Choices {
    fn new(seed: u64) -> Self {
        Choices(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    /// A sentence of 4 to 24 made-up words.
    fn sentence(&mut self) -> String {
        const SYLLABLES: [&str; 16] = [
            "ta", "ri", "mon", "sel", "ga", "per", "lo", "in", "es", "qu", "or", "bel", "un",
            "the", "of", "ed",
        ];
        let words: Vec<String> = (0..4 + self.below(21))
            .map(|_| (0..1 + self.below(3)).map(|_| SYLLABLES[self.below(16)]).collect())
            .collect();
        let sentence = words.join(" ");
        format!("{}{}.", sentence[..1].to_uppercase(), &sentence[1..])
    }

    /// A paragraph of 1 to 8 sentences.
    fn paragraph(&mut self) -> String {
        let sentences: Vec<String> = (0..1 + self.below(8)).map(|_| self.sentence()).collect();
        sentences.join(" ")
    }
}
