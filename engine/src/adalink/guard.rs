//! Queries that nobody asked tuning to help, and that it must not harm.
//!
//! They are made of the collection itself: the heading that a chunk stands under, its document's title, or its first
//! sentence, and the answer is that document. What is learnt from the queries of some users must leave what anyone finds by the
//! words of a document nearly as it is.

use std::collections::HashMap;

use super::query::{Positive, Query};

/// Fewer queries prove nothing: one that falls by a rank would decide.
pub const FEWEST_GUARDS: usize = 50;

/// Of more documents not all are asked for.
pub const MOST_GUARDS: usize = 300;

/// Words of such a query.
const WORDS: std::ops::RangeInclusive<usize> = 3..=24;

/// What more documents say than these is boilerplate.
const MOST_ALIKE: usize = 3;

/// A document that a query is made for: one of its chunks.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its id.
    pub document: &'a str,
    /// Its title.
    pub title: Option<&'a str>,
    /// The headings above the chunk, outermost first.
    pub headings: &'a [String],
    /// The chunk's text.
    pub text: &'a str,
}

/// A query for each source that something can be asked of.
pub fn guards<'a>(sources: impl Iterator<Item = Source<'a>>) -> Vec<Query> {
    let asked: Vec<(&str, &str)> =
        sources.filter_map(|source| Some((source.document, question(&source)?))).collect();
    let mut n_alike: HashMap<&str, usize> = HashMap::new();
    for (_, text) in &asked {
        *n_alike.entry(text).or_default() += 1;
    }
    let own = asked.iter().filter(|(_, text)| n_alike[text] <= MOST_ALIKE);
    let query = |(document, text): &(&str, &str)| Query {
        text: (*text).to_owned(),
        positives: vec![Positive { document: (*document).to_owned(), grade: 1, weight: 1.0 }],
        ..Query::default()
    };
    own.map(query).collect()
}

/// The innermost heading that is long enough to be asked, else the title, else the first sentence.
fn question<'a>(source: &Source<'a>) -> Option<&'a str> {
    let headings = source.headings.iter().rev().map(String::as_str);
    let sentence = first_sentence(source.text);
    let mut candidates = headings.chain(source.title).chain([sentence]).map(str::trim);
    candidates.find(|text| WORDS.contains(&text.split_whitespace().count()))
}

/// Up to the first full stop, question or exclamation mark that a space follows, or a line's end.
fn first_sentence(text: &str) -> &str {
    let text = text.trim_start();
    let line = text.lines().next().unwrap_or_default();
    let is_end = |(at, mark): &(usize, char)| {
        matches!(mark, '.' | '?' | '!') && line[at + mark.len_utf8()..].starts_with(' ')
    };
    match line.char_indices().find(is_end) {
        Some((at, mark)) => &line[..at + mark.len_utf8()],
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source<'a>(
        document: &'a str,
        title: Option<&'a str>,
        headings: &'a [String],
        text: &'a str,
    ) -> Source<'a> {
        Source { document, title, headings, text }
    }

    #[test]
    fn what_is_asked_is_a_heading_a_title_or_a_sentence_of_the_document() {
        let headings = ["Guide".to_owned(), "How memory is freed".to_owned(), "Notes".to_owned()];
        let long = "word ".repeat(25);
        let made = guards(
            [
                source("a", Some("The Ownership Book"), &headings, "Some text. And more."),
                source("b", Some("The Ownership Book of Rust"), &[], "Some text. And more."),
                source("c", Some("Rust"), &[], "\n Version 1.5 is fine! It is new."),
                source("d", None, &[], "Two words"),
                source("e", None, &[], &long),
            ]
            .into_iter(),
        );
        let made: Vec<(&str, &str)> =
            made.iter().map(|query| (&*query.text, &*query.positives[0].document)).collect();
        assert_eq!(
            made,
            [
                ("How memory is freed", "a"),
                ("The Ownership Book of Rust", "b"),
                ("Version 1.5 is fine!", "c")
            ]
        );
    }

    #[test]
    fn what_many_documents_say_is_not_asked() {
        let ids: Vec<String> = (0..8).map(|n| n.to_string()).collect();
        let text =
            |n: usize| if n < 4 { "All rights are reserved." } else { "See the other page." };
        let sources = ids.iter().enumerate().map(|(n, id)| source(id, None, &[], text(n)));
        assert_eq!(guards(sources.clone()).len(), 0);
        assert_eq!(guards(sources.skip(1)).len(), 3);
    }
}
