//! Text to words: what is indexed, what a query asks for, and where either stands in the text.
//!
//! - A word is a run of letters, digits and marks, in lower case, without accents (compatibility decomposition, then the
//!   marks of Latin, Greek, Cyrillic, Hebrew and Arabic are dropped; letters that do not decompose, such as `ß` and
//!   `ø`, have a table). There are no stop words.
//! - A word of the letters a to z is its English stem as well, if that differs: a query's word asks for the stem, a phrase
//!   or the start of a word for what is written.
//! - An identifier is a word and its parts as well: `snake_case`, `camelCase`, `HTTPServer`; so is a number, `3.14`.
//! - Scripts that put no spaces between words (Chinese, Japanese, Thai, ...) and Korean, which glues particles to them,
//!   give each character and each pair of neighbours. A query asks for the pairs, unless it is one character.
//!
//! What is decided here is part of the lexicon's version: see [`super::VERSION`].

use std::ops::Range;

use frostem::{Algorithm, Stemmer};
use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// A longer word is cut here, in texts and in queries alike.
const MAX_WORD_BYTES: usize = 128;

/// How a word came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A word, a part of an identifier, a pair of characters, or a character without neighbours.
    Plain,
    /// An identifier or number as a whole; its parts follow.
    Whole,
    /// A word as it is written, before its stem.
    Inflected,
    /// The stem of the word before.
    Stem,
    /// One character of several.
    Single,
}

/// A word of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) term: String,
    pub(crate) kind: Kind,
    /// Its place among the words; words in the same place are readings of the same text.
    pub(crate) position: u32,
    /// Where it stands in the text, in bytes.
    pub(crate) range: Range<usize>,
}

/// The words of a text, in order.
pub(crate) fn words(text: &str) -> Vec<Word> {
    let mut found = Vec::new();
    let mut position = 0;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if !is_word(c) {
            at += c.len_utf8();
        } else if is_unspaced(c) {
            let run = run(text, at, |c| is_word(c) && is_unspaced(c));
            characters(text, run.clone(), &mut position, &mut found);
            at = run.end;
        } else {
            let chunk = chunk(text, at);
            identifier(text, chunk.clone(), &mut position, &mut found);
            at = chunk.end;
        }
    }
    found
}

/// From `start` on, as long as `is_in` says so.
fn run(text: &str, start: usize, is_in: impl Fn(char) -> bool) -> Range<usize> {
    let rest = &text[start..];
    start..start + rest.find(|c| !is_in(c)).unwrap_or(rest.len())
}

/// A word with the connectors inside it: underscores, and points and commas between digits.
fn chunk(text: &str, start: usize) -> Range<usize> {
    let is_spaced = |c| is_word(c) && !is_unspaced(c);
    let mut end = run(text, start, is_spaced).end;
    loop {
        let connector = run(text, end, |c| c == '_');
        let after = text[connector.end..].chars().next();
        let next = if !connector.is_empty() && after.is_some_and(is_spaced) {
            connector.end
        } else if text[end..].starts_with(['.', ','])
            && text[..end].ends_with(|c: char| c.is_ascii_digit())
            && text[end + 1..].starts_with(|c: char| c.is_ascii_digit())
        {
            end + 1
        } else {
            return start..end;
        };
        end = run(text, next, is_spaced).end;
    }
}

/// A chunk's parts, before them the whole if there are several.
fn identifier(text: &str, chunk: Range<usize>, position: &mut u32, found: &mut Vec<Word>) {
    let parts = parts(text, chunk.clone());
    if parts.len() > 1 {
        push(text, chunk, Kind::Whole, *position, found);
    }
    for part in parts {
        push(text, part, Kind::Plain, *position, found);
        *position += 1;
    }
}

fn parts(text: &str, chunk: Range<usize>) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut start = chunk.start;
    let (mut before, mut previous) = ('_', '_');
    let mut previous_at = start;
    for (at, c) in text[chunk.clone()].char_indices().map(|(at, c)| (chunk.start + at, c)) {
        let is_capital = c.is_uppercase() && !previous.is_uppercase() && previous.is_alphanumeric();
        let starts = if is_connector(c) != is_connector(previous) || is_capital {
            Some(at)
        } else if c.is_lowercase() && previous.is_uppercase() && before.is_uppercase() {
            // The last capital of `HTTPServer` belongs to what follows.
            Some(previous_at)
        } else {
            None
        };
        if let Some(end) = starts.filter(|end| start < *end) {
            if !text[start..].starts_with(is_connector) {
                parts.push(start..end);
            }
            start = end;
        }
        (before, previous, previous_at) = (previous, c, at);
    }
    parts.push(start..chunk.end);
    parts
}

/// Each character of a run, and each pair.
fn characters(text: &str, run: Range<usize>, position: &mut u32, found: &mut Vec<Word>) {
    let starts: Vec<usize> =
        text[run.clone()].char_indices().map(|(at, _)| run.start + at).collect();
    let end = |idx: usize| starts.get(idx).copied().unwrap_or(run.end);
    let kind = if starts.len() == 1 { Kind::Plain } else { Kind::Single };
    for (idx, start) in starts.iter().enumerate() {
        push(text, *start..end(idx + 1), kind, *position, found);
        if idx + 1 < starts.len() {
            push(text, *start..end(idx + 2), Kind::Plain, *position, found);
        }
        *position += 1;
    }
}

fn push(text: &str, range: Range<usize>, kind: Kind, position: u32, found: &mut Vec<Word>) {
    let term = fold(&text[range.clone()]);
    if term.is_empty() {
        return;
    }
    let stem = stem(&term).filter(|_| kind == Kind::Plain);
    let kind = if stem.is_some() { Kind::Inflected } else { kind };
    found.push(Word { term, kind, position, range: range.clone() });
    if let Some(term) = stem {
        found.push(Word { term, kind: Kind::Stem, position, range });
    }
}

/// Lower case, without accents.
fn fold(word: &str) -> String {
    let mut folded = String::with_capacity(word.len());
    for c in word.chars() {
        if folded.len() >= MAX_WORD_BYTES {
            break;
        }
        match c {
            _ if c.is_ascii() => folded.push(c.to_ascii_lowercase()),
            'ß' | 'ẞ' => folded.push_str("ss"),
            'æ' | 'Æ' => folded.push_str("ae"),
            'œ' | 'Œ' => folded.push_str("oe"),
            'þ' | 'Þ' => folded.push_str("th"),
            'ø' | 'Ø' => folded.push('o'),
            'ł' | 'Ł' => folded.push('l'),
            'đ' | 'Đ' | 'ð' | 'Ð' => folded.push('d'),
            'ı' => folded.push('i'),
            'ς' => folded.push('σ'),
            // Their decompositions take syllables and voiced kana apart; those are other words, not accents.
            _ if is_unspaced(c) && !('\u{f900}'..='\u{ffef}').contains(&c) => folded.push(c),
            _ => decompose_compatible(c, |c| {
                if !is_dropped(c) {
                    folded.extend(c.to_lowercase());
                }
            }),
        }
    }
    folded
}

/// The stem of a folded word, if it has another one.
fn stem(term: &str) -> Option<String> {
    if !term.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return None;
    }
    let stem = Stemmer::new(Algorithm::English).stem(term);
    (stem != term && !stem.is_empty()).then(|| stem.into())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || is_dropped(c) || is_combining_mark(c)
}

fn is_connector(c: char) -> bool {
    matches!(c, '_' | '.' | ',')
}

/// Marks that only decorate a letter, and characters that are not seen.
fn is_dropped(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' // soft hyphen, joiners
        | '\u{300}'..='\u{36f}' | '\u{483}'..='\u{487}' // Latin, Greek, Cyrillic
        | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}'..='\u{5c7}' // Hebrew points
        | '\u{610}'..='\u{61a}' | '\u{640}' | '\u{64b}'..='\u{65f}' | '\u{670}' // Arabic vowels, stretching
        | '\u{6d6}'..='\u{6dc}' | '\u{6df}'..='\u{6e4}')
}

/// Characters of scripts without spaces between words, and of Korean.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' // Thai, Lao, Burmese, Khmer
        | '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7af}' // Hangul
        | '\u{3005}'..='\u{3007}' | '\u{3041}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' // Japanese
        | '\u{ff66}'..='\u{ff9f}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' // Han
        | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> String {
        let show = |word: &Word| format!("{}@{}", word.term, word.position);
        words(text).iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_are_folded_and_identifiers_are_found_by_their_parts() {
        for (text, expected) in [
            ("", ""),
            (" .,_ -- \u{1f980}", ""),
            ("The Cat's", "the@0 cat@1 s@2"),
            ("Ångström CAFÉ cafe\u{301} Straße", "angstrom@0 cafe@1 cafe@2 strasse@3 strass@3"),
            ("read_to_end", "read_to_end@0 read@0 to@1 end@2"),
            ("__init__ a", "init@0 a@1"),
            ("getHTTPServer2", "gethttpserver2@0 get@0 http@1 server2@2"),
            ("iPhone NATO utf8", "iphone@0 i@0 phone@1 nato@2 utf8@3"),
            ("pi 3.14, 1,024.", "pi@0 3.14@1 3@1 14@2 1,024@3 1@3 024@4"),
            ("Cats were running", "cats@0 cat@0 were@1 running@2 run@2"),
            ("std::fs a.b", "std@0 fs@1 a@2 b@3"),
            ("東京都", "東@0 東京@0 京@1 京都@1 都@2"),
            ("Rust語 x", "rust@0 語@1 x@2"),
            ("がぎ ｶﾅ", "が@0 がぎ@0 ぎ@1 カ@2 カナ@2 ナ@3"),
            ("한국어", "한@0 한국@0 국@1 국어@1 어@2"),
            ("हिन्दी में", "हिन्दी@0 में@1"),
            ("كِتَابٌ Ёлка", "كتاب@0 елка@1"),
            ("Ｆｕｌｌ ﬁt", "full@0 fit@1"),
        ] {
            assert_eq!(terms(text), expected, "{text}");
        }
    }

    #[test]
    fn ranges_are_where_words_stand() {
        for text in
            ["Größe: read_toEnd 3.5 東京都 x", "a\u{301}\u{200d}b _c_ D_", "\u{301}", "é_É_1.2"]
        {
            for word in words(text) {
                let written = fold(&text[word.range.clone()]);
                let is_stem = word.kind == Kind::Stem;
                assert!(word.term == written || is_stem && Some(word.term) == stem(&written));
            }
        }
        assert!(words(&"x".repeat(1 << 20))[0].term.len() <= MAX_WORD_BYTES);
    }

    #[test]
    fn every_character_is_taken_without_a_panic() {
        let all: String = (0..=0x10_ffff).filter_map(char::from_u32).collect();
        assert!(words(&all).len() > 100_000);
        for c in all.chars() {
            words(&format!("a{c}B{c}_1{c}2"));
        }
    }
}
