//! Where a query's words stand in a text, for snippets.

use std::ops::Range;

use super::query::{Occur, Pattern, Query};
use super::words::{Word, words};

/// The byte ranges of a text that match a query, in order, none touching another.
pub(super) fn marks(text: &str, query: &str) -> Vec<Range<usize>> {
    let query = Query::parse(query);
    let words = words(text);
    let mut found: Vec<Range<usize>> = Vec::new();
    for clause in query.clauses.iter().filter(|clause| clause.occur != Occur::Not) {
        match &clause.pattern {
            Pattern::Word(term) => found.extend(ranges(&words, |word| word.term == *term)),
            Pattern::Prefix(start) => {
                found.extend(ranges(&words, |word| word.term.starts_with(start.as_str())));
            }
            Pattern::Phrase(terms) => phrase(&words, terms, &mut found),
        }
    }
    found.sort_by_key(|range| (range.start, range.end));
    let mut joined: Vec<Range<usize>> = Vec::new();
    for range in found {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

fn ranges(words: &[Word], is_asked: impl Fn(&Word) -> bool) -> impl Iterator<Item = Range<usize>> {
    words.iter().filter(move |word| is_asked(word)).map(|word| word.range.clone())
}

fn phrase(words: &[Word], terms: &[(u32, String)], found: &mut Vec<Range<usize>>) {
    // Words ascend by position, a few to each.
    let at = |position: u32, term: &str| {
        let start = words.partition_point(|word| word.position < position);
        let mut here = words[start..].iter().take_while(|word| word.position == position);
        here.find(|word| word.term == term)
    };
    let Some((_, first)) = terms.first() else { return };
    for start in words.iter().filter(|word| word.term == *first) {
        let places = terms.iter().map(|(distance, term)| at(start.position + distance, term));
        if let Some(places) = places.collect::<Option<Vec<&Word>>>() {
            let end = places.iter().map(|word| word.range.end).max();
            found.push(start.range.start..end.unwrap_or(start.range.end));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matches_is_marked_where_it_stands() {
        for (text, query, expected) in [
            ("A Café, a cat", "cafe \u{301}cat", "[Café] [cat]"),
            ("small cat, a small black cat", "\"small cat\"", "[small cat]"),
            ("snake_case snakes", "snake", "[snake] [snakes]"),
            ("snake_case snakes", "snake*", "[snake_case] [snakes]"),
            ("snake_case or snake case", "\"snake case\"", "[snake_case] [snake case]"),
            ("readToEnd", "end -read", "[End]"),
            ("東京都と京都", "京都", "[京都] [京都]"),
            ("東京都と京都", "東京都", "[東京都] [京都]"),
            ("東京都と京都", "都", "[都] [都]"),
            ("nothing", "", ""),
            ("nothing", "...", ""),
        ] {
            let marked: Vec<String> =
                marks(text, query).into_iter().map(|at| format!("[{}]", &text[at])).collect();
            assert_eq!(marked.join(" "), expected.trim(), "{text} / {query}");
        }
    }
}
