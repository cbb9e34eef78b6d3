//! Patterns of LIKE: `%` stands for any characters, `_` for one.

/// One part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Character(char),
}

/// A pattern, ready to be compared with texts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pattern {
    /// As it was written.
    pub(crate) text: String,
    /// The character that takes the meaning from the one behind it.
    pub(crate) escape: Option<char>,
    /// Whether upper and lower case are the same.
    pub(crate) ignores_case: bool,
    parts: Vec<Part>,
    /// The texts around each `%`, if there is no `_`: then whole texts are looked for instead of characters.
    literals: Option<Vec<String>>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, if it ends with its escape character.
    pub(crate) fn new(
        text: String,
        escape: Option<char>,
        ignores_case: bool,
    ) -> Result<Pattern, &'static str> {
        let mut parts = Vec::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let literal = match character {
                _ if Some(character) == escape => {
                    characters.next().ok_or("the pattern ends with its escape character")?
                }
                '%' => {
                    parts.push(Part::Any);
                    continue;
                }
                '_' => {
                    parts.push(Part::One);
                    continue;
                }
                literal => literal,
            };
            if ignores_case {
                parts.extend(literal.to_lowercase().map(Part::Character));
            } else {
                parts.push(Part::Character(literal));
            }
        }
        let literals = literals(&parts);
        Ok(Pattern { text, escape, ignores_case, parts, literals })
    }

    /// What every text that matches begins with; empty if case is ignored.
    pub(crate) fn prefix(&self) -> String {
        let characters = self.parts.iter().map_while(|part| match part {
            Part::Character(character) if !self.ignores_case => Some(*character),
            _ => None,
        });
        characters.collect()
    }

    /// Whether a whole text is as the pattern says.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let lower: String;
        let text = match self.ignores_case {
            false => text,
            true if text.is_ascii() => {
                lower = text.to_ascii_lowercase();
                &lower
            }
            true => {
                lower = text.chars().flat_map(char::to_lowercase).collect();
                &lower
            }
        };
        match &self.literals {
            Some(literals) => matches_literals(literals, text),
            None => matches(&self.parts, text),
        }
    }
}

/// The texts before, between and behind the `%`; `None` if there is a `_`.
fn literals(parts: &[Part]) -> Option<Vec<String>> {
    let pieces = parts.split(|part| *part == Part::Any);
    let literal = |piece: &[Part]| {
        let characters = piece.iter().map(|part| match part {
            Part::Character(character) => Some(*character),
            Part::Any | Part::One => None,
        });
        characters.collect()
    };
    pieces.map(literal).collect()
}

/// Whether a text begins with the first literal, ends with the last, and has the others in between, in order.
fn matches_literals(literals: &[String], text: &str) -> bool {
    let [first, between @ .., last] = literals else {
        return literals.iter().all(|only| only == text);
    };
    let inner = text.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()));
    let found = between.iter().try_fold(inner, |rest, literal| {
        let rest = rest?;
        let at = rest.find(literal.as_str())?;
        Some(Some(&rest[at + literal.len()..]))
    });
    found.flatten().is_some()
}

/// Compares from the left; on a mismatch the last `%` takes one character more. Earlier ones need not be tried again.
fn matches(parts: &[Part], text: &str) -> bool {
    let (mut parts_left, mut text_left) = (parts, text);
    let mut retry: Option<(&[Part], &str)> = None;
    loop {
        let next = text_left.chars().next();
        match (parts_left.split_first(), next) {
            (Some((Part::Any, rest)), _) => {
                parts_left = rest;
                retry = Some((rest, text_left));
            }
            (Some((part, rest)), Some(character)) if fits(*part, character) => {
                parts_left = rest;
                text_left = &text_left[character.len_utf8()..];
            }
            (None, None) => return true,
            _ => {
                let Some((rest, from)) = retry else { return false };
                let Some(skipped) = from.chars().next() else { return false };
                let from = &from[skipped.len_utf8()..];
                (parts_left, text_left, retry) = (rest, from, Some((rest, from)));
            }
        }
    }
}

fn fits(part: Part, character: char) -> bool {
    match part {
        Part::Any => false,
        Part::One => true,
        Part::Character(expected) => character == expected,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn like(text: &str, pattern: &str) -> bool {
        Pattern::new(pattern.to_owned(), None, false).unwrap().matches(text)
    }

    /// The definition: the first part decides, then the rest.
    fn twin(parts: &[Part], text: &[char]) -> bool {
        match parts.split_first() {
            None => text.is_empty(),
            Some((Part::Any, rest)) => (0..=text.len()).any(|at| twin(rest, &text[at..])),
            Some((part, rest)) => {
                text.split_first().is_some_and(|(c, text)| fits(*part, *c) && twin(rest, text))
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn any_pattern_matches_as_its_definition_says(
            pattern in prop_oneof!["[ab%_\u{e9}]{0,8}", "[ab\u{e9}]{0,3}(%[ab\u{e9}]{0,2}){0,5}"],
            text in "[ab\u{e9}]{0,10}",
        ) {
            let pattern = Pattern::new(pattern, None, false).unwrap();
            let characters: Vec<char> = text.chars().collect();
            let expected = twin(&pattern.parts, &characters);
            prop_assert_eq!(pattern.matches(&text), expected);
            prop_assert_eq!(matches(&pattern.parts, &text), expected);
            prop_assert!(!expected || text.starts_with(&pattern.prefix()));
        }
    }

    #[test]
    fn wildcards_escapes_and_case() {
        assert!(like("docs/a.md", "docs/%") && like("docs/", "docs/%") && !like("Docs/", "docs/%"));
        assert!(like("\u{e9}t\u{e9}", "_t_") && !like("t", "_t_") && !like("a", ""));
        let escaped = Pattern::new(r"100\%\_\\".to_owned(), Some('\\'), false).unwrap();
        assert!(escaped.matches(r"100%_\") && !escaped.matches(r"100x_\"));
        assert!(Pattern::new("a!".to_owned(), Some('!'), false).is_err());
        let ignoring = Pattern::new("\u{c9}T%".to_owned(), None, true).unwrap();
        assert!(ignoring.matches("\u{e9}t\u{c9}") && ignoring.prefix().is_empty());
    }

    #[test]
    fn a_pattern_of_many_wildcards_takes_no_exponential_time() {
        assert!(!like(&"a".repeat(20_000), &format!("{}b", "%a".repeat(200))));
        assert!(!like(&"a".repeat(20_000), &format!("{}b", "%a_".repeat(200))));
    }
}
