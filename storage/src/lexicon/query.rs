//! A query's syntax: `words "a phrase" prefix* +must -not`. What does not parse is words; nothing is an error.

use std::collections::HashMap;

use super::words::{Kind, Word, words};

/// Different words that a query keeps before their rows are counted.
const MAX_WORDS: usize = 1024;
/// Phrases, prefixes, and words that must or must not be there that a query keeps.
const MAX_CONDITIONS: usize = 64;

/// English words that a query is not about, sorted. Beside other words they are not looked for: nDCG@10 rises on each of
/// the sets that were tried, most (0.362 to 0.437) for questions about commands, where such words are rare.
#[rustfmt::skip]
const FUNCTION_WORDS: [&str; 122] = [
    "a", "about", "above", "after", "again", "against", "all", "am", "an", "and", "any", "are",
    "as", "at", "be", "because", "been", "before", "being", "below", "between", "both", "but",
    "by", "can", "did", "do", "does", "doing", "don", "down", "during", "each", "few", "for",
    "from", "further", "had", "has", "have", "having", "he", "her", "here", "hers", "him", "his",
    "how", "i", "if", "in", "into", "is", "it", "its", "just", "me", "more", "most", "my",
    "myself", "no", "nor", "not", "now", "of", "off", "on", "once", "only", "or", "other", "our",
    "ours", "ourselves", "out", "over", "own", "s", "same", "she", "should", "so", "some", "such",
    "t", "than", "that", "the", "their", "theirs", "them", "then", "there", "these", "they",
    "this", "those", "through", "to", "too", "under", "until", "up", "very", "was", "we", "were",
    "what", "when", "where", "which", "while", "who", "whom", "why", "will", "with", "you",
    "your", "yours", "yourself",
];

/// What a query asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Query {
    pub(crate) clauses: Vec<Clause>,
}

/// One of the things it asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Clause {
    pub(crate) occur: Occur,
    pub(crate) pattern: Pattern,
    /// How often the query says it.
    pub(crate) weight: f32,
}

/// Whether a row may, must or must not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Occur {
    May,
    Must,
    Not,
}

/// What text matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pattern {
    Word(String),
    /// Words at these distances from the first.
    Phrase(Vec<(u32, String)>),
    /// Any word that starts so.
    Prefix(String),
}

impl Query {
    pub(crate) fn parse(text: &str) -> Query {
        let mut parser = Parser::default();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            rest = parser.take_piece(rest).trim_start();
        }
        parser.ask_for_something();
        if parser.asks_nothing() {
            // Only what must not be there: the signs were not meant.
            parser = Parser::default();
            parser.add_words(text);
            parser.ask_for_something();
        }
        Query { clauses: parser.clauses }
    }
}

#[derive(Default)]
struct Parser {
    clauses: Vec<Clause>,
    places: HashMap<(Occur, Pattern), usize>,
    n_words: usize,
    /// Terms that are only looked for if the query asks for nothing else.
    function_words: Vec<String>,
}

impl Parser {
    /// Reads one piece from the start of `text` and returns what follows it.
    fn take_piece<'a>(&mut self, text: &'a str) -> &'a str {
        let (occur, unsigned) = match text.strip_prefix(['+', '-']) {
            Some(unsigned) if text.starts_with('+') => (Occur::Must, unsigned),
            Some(unsigned) => (Occur::Not, unsigned),
            None => (Occur::May, text),
        };
        let quoted = unsigned.strip_prefix('"').and_then(|quoted| quoted.split_once('"'));
        if let Some((phrase, rest)) = quoted {
            self.add_phrase(occur, phrase);
            return rest;
        }
        let end = unsigned.find(char::is_whitespace).unwrap_or(unsigned.len());
        let (piece, rest) = unsigned.split_at(end);
        let start = piece.strip_suffix('*').and_then(whole_word);
        match (start, occur) {
            (Some(start), _) => self.add(occur, Pattern::Prefix(start)),
            (None, Occur::May) => self.add_words(piece),
            (None, _) => match asked(piece).as_slice() {
                [word] => self.add(occur, Pattern::Word(word.term.clone())),
                _ => self.add_phrase(occur, piece),
            },
        }
        rest
    }

    fn asks_nothing(&self) -> bool {
        self.clauses.iter().all(|clause| clause.occur == Occur::Not)
    }

    /// Takes function words for what is asked if there is nothing else.
    fn ask_for_something(&mut self) {
        if self.asks_nothing() {
            for term in std::mem::take(&mut self.function_words) {
                self.add(Occur::May, Pattern::Word(term));
            }
        }
    }

    fn add_words(&mut self, text: &str) {
        for word in asked(text) {
            let written = text[word.range].to_lowercase();
            if FUNCTION_WORDS.binary_search(&written.as_str()).is_ok() {
                self.function_words.push(word.term);
            } else {
                self.add(Occur::May, Pattern::Word(word.term));
            }
        }
    }

    fn add_phrase(&mut self, occur: Occur, text: &str) {
        // Without wholes, so that the phrase `snake case` and the identifier `snake_case` find each other.
        let words: Vec<Word> = written(text).filter(|word| word.kind != Kind::Whole).collect();
        let Some(first) = words.first().map(|word| word.position) else { return };
        let mut terms: Vec<_> =
            words.into_iter().map(|word| (word.position - first, word.term)).collect();
        match terms.len() {
            1 => terms.into_iter().for_each(|(_, term)| self.add(occur, Pattern::Word(term))),
            _ => self.add(occur, Pattern::Phrase(terms.drain(..).take(MAX_WORDS).collect())),
        }
    }

    fn add(&mut self, occur: Occur, pattern: Pattern) {
        let is_word = occur == Occur::May && matches!(pattern, Pattern::Word(_));
        let n_conditions = self.clauses.len() - self.n_words;
        let is_full =
            if is_word { MAX_WORDS <= self.n_words } else { MAX_CONDITIONS <= n_conditions };
        let key = (occur, pattern);
        if let Some(at) = self.places.get(&key) {
            self.clauses[*at].weight += 1.0;
        } else if !is_full {
            self.clauses.push(Clause { occur, pattern: key.1.clone(), weight: 1.0 });
            self.places.insert(key, self.clauses.len() - 1);
            self.n_words += usize::from(is_word);
        }
    }
}

impl Clause {
    /// True for a word that may be there.
    pub(crate) fn is_plain_word(&self) -> bool {
        self.occur == Occur::May && matches!(self.pattern, Pattern::Word(_))
    }
}

/// The word that a text is, if it is one, identifiers included.
fn whole_word(text: &str) -> Option<String> {
    let is_all = |word: &Word| word.range == (0..text.len());
    written(text).find(is_all).map(|word| word.term)
}

/// The words that a query's text asks for: stems, and pairs of characters instead of the characters of the pairs.
fn asked(text: &str) -> Vec<Word> {
    let is_asked = |word: &Word| !matches!(word.kind, Kind::Single | Kind::Inflected);
    words(text).into_iter().filter(is_asked).collect()
}

/// The same as they are written.
fn written(text: &str) -> impl Iterator<Item = Word> {
    let is_written = |word: &Word| !matches!(word.kind, Kind::Single | Kind::Stem);
    words(text).into_iter().filter(is_written)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str) -> String {
        let clauses = Query::parse(text).clauses;
        let show = |clause: &Clause| {
            let sign = match clause.occur {
                Occur::May => "",
                Occur::Must => "+",
                Occur::Not => "-",
            };
            let weight =
                if clause.weight == 1.0 { String::new() } else { clause.weight.to_string() };
            match &clause.pattern {
                Pattern::Word(word) => format!("{sign}{word}{weight}"),
                Pattern::Prefix(word) => format!("{sign}{word}*{weight}"),
                Pattern::Phrase(words) => {
                    let words: Vec<_> =
                        words.iter().map(|(at, word)| format!("{at}{word}")).collect();
                    format!("{sign}({}){weight}", words.join(" "))
                }
            }
        };
        clauses.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_query_means_what_its_syntax_says_and_all_else_is_words() {
        for (text, expected) in [
            ("", ""),
            ("  \u{3000} !? \"\" + - * \"", ""),
            ("the Cats of the cat", "cat2"),
            ("To be or not to be", "to2 be2 or not"),
            ("the -cat", "-cat the"),
            ("+the cat", "+the cat"),
            ("\"Small cats\" dogs +cats \"cats\"", "(0small 1cats) dog +cat cats"),
            ("\"open cat", "open cat"),
            ("own* +must -not", "own* +must -not"),
            ("+snake_case -\"a b\" snake_case", "+(0snake 1case) -(0a 1b) snake_case snake case"),
            ("-one -two", "one two"),
            ("self-made c++ x+y", "self made c x y"),
            ("+\"one\"two", "+one two"),
            ("東京都 東 +東京都", "東京 京都 東 +(0東京 1京都)"),
            ("* ** a** snake_c* 東京*", "snake_c* 東京*"),
        ] {
            assert_eq!(show(text), expected, "{text}");
        }
    }

    #[test]
    fn a_query_of_any_length_is_bounded() {
        let many: String = (0..20_000).map(|n| format!("w{n} +m{n} \"a b{n}\" ")).collect();
        assert!(Query::parse(&many).clauses.len() <= MAX_WORDS + MAX_CONDITIONS);
    }
}
