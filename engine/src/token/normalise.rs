//! What happens to a text before it is cut: the steps of the vocabulary's normaliser.
//!
//! Each step is one pass from a buffer to a buffer. If byte positions are wanted, a second buffer
//! holds for each byte of the normalised text where in the original its character came from.
//!
//! NFKC is done in stretches: a character that composes with nothing before it begins a new one,
//! so most characters are copied after two table look-ups. The tables are those of the crate that
//! `tokenizers` uses, because a newer Unicode would give other ids. Its alignments decide the
//! positions as well.

use unicode_normalization_alignments::char::canonical_combining_class;
use unicode_normalization_alignments::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

use super::layout::u32_at;

/// One step of a normaliser.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Unicode's compatibility composition.
    Nfkc,
    /// The lower case of each character by itself: no final sigma.
    Lowercase,
    /// Every occurrence of a literal, from the left, becomes another.
    Replace {
        /// Never empty.
        pattern: String,
        content: String,
    },
}

impl Step {
    pub(super) fn write(steps: &[Step]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for step in steps {
            match step {
                Step::Nfkc => bytes.extend(1u32.to_le_bytes()),
                Step::Lowercase => bytes.extend(2u32.to_le_bytes()),
                Step::Replace { pattern, content } => {
                    for number in [3, pattern.len() as u32, content.len() as u32] {
                        bytes.extend(number.to_le_bytes());
                    }
                    bytes.extend(pattern.as_bytes());
                    bytes.extend(content.as_bytes());
                }
            }
        }
        bytes
    }

    /// None if the bytes are damaged.
    pub(super) fn read(mut bytes: &[u8]) -> Option<Vec<Step>> {
        let mut steps = Vec::new();
        while !bytes.is_empty() {
            let kind = u32_at(bytes, 0)?;
            let mut used = 4;
            steps.push(match kind {
                1 => Step::Nfkc,
                2 => Step::Lowercase,
                3 => {
                    let mut text = |len: u32, from: usize| {
                        used = from.checked_add(len as usize)?;
                        std::str::from_utf8(bytes.get(from..used)?).ok()
                    };
                    let pattern = text(u32_at(bytes, 1)?, 12)?.to_owned();
                    let content = text(u32_at(bytes, 2)?, 12 + pattern.len())?.to_owned();
                    (!pattern.is_empty()).then_some(Step::Replace { pattern, content })?
                }
                _ => return None,
            });
            bytes = bytes.get(used..)?;
        }
        Some(steps)
    }
}

/// A text on its way through the steps.
#[derive(Default)]
pub(super) struct Normalised {
    pub(super) text: String,
    /// By byte of `text`: where its character begins in the original. Empty unless wanted.
    starts: Vec<u32>,
    next: String,
    next_starts: Vec<u32>,
    with_starts: bool,
}

impl Normalised {
    /// Buffers; `with_starts` says whether [`Normalised::start`] will be asked for.
    pub(super) fn new(with_starts: bool) -> Normalised {
        Normalised { with_starts, ..Normalised::default() }
    }

    /// Takes `original`, which begins at byte `base` of the whole text, through all steps.
    pub(super) fn run(&mut self, steps: &[Step], original: &str, base: usize) {
        self.text.clear();
        self.text.push_str(original);
        self.starts.clear();
        if self.with_starts {
            for (start, c) in original.char_indices() {
                self.starts.extend(std::iter::repeat_n((base + start) as u32, c.len_utf8()));
            }
        }
        for step in steps {
            self.next.clear();
            self.next_starts.clear();
            match step {
                Step::Nfkc => self.nfkc(),
                Step::Lowercase => self.lowercase(),
                Step::Replace { pattern, content } => self.replace(pattern, content),
            }
            std::mem::swap(&mut self.text, &mut self.next);
            std::mem::swap(&mut self.starts, &mut self.next_starts);
        }
    }

    /// Where in the original the character began that byte `at` of the text came from.
    pub(super) fn start(&self, at: usize) -> u32 {
        self.starts.get(at).copied().unwrap_or(0)
    }

    /// Copies a part of `text`, which is this text, unchanged.
    fn copy(&mut self, text: &str, from: usize, to: usize) {
        self.next.push_str(&text[from..to]);
        if self.with_starts {
            self.next_starts.extend_from_slice(&self.starts[from..to]);
        }
    }

    /// Adds a character that came from the byte `at` of the text.
    fn push(&mut self, c: char, at: usize) {
        self.next.push(c);
        if self.with_starts {
            let start = self.start(at);
            self.next_starts.extend(std::iter::repeat_n(start, c.len_utf8()));
        }
    }

    fn replace(&mut self, pattern: &str, content: &str) {
        let text = std::mem::take(&mut self.text);
        let mut copied = 0;
        for (start, found) in text.match_indices(pattern) {
            let end = start + found.len();
            self.copy(&text, copied, start);
            self.next.push_str(content);
            if self.with_starts {
                // All of the new text is aligned with the last character of the old.
                let aligned = self.start(end - 1);
                self.next_starts.extend(std::iter::repeat_n(aligned, content.len()));
            }
            copied = end;
        }
        self.copy(&text, copied, text.len());
        self.text = text;
    }

    fn lowercase(&mut self) {
        let text = std::mem::take(&mut self.text);
        if text.is_ascii() {
            self.next.push_str(&text);
            self.next.make_ascii_lowercase();
            self.next_starts.extend_from_slice(&self.starts);
        } else {
            for (at, c) in text.char_indices() {
                if c.is_ascii() {
                    self.push(c.to_ascii_lowercase(), at);
                } else {
                    c.to_lowercase().for_each(|lower| self.push(lower, at));
                }
            }
        }
        self.text = text;
    }

    fn nfkc(&mut self) {
        let text = std::mem::take(&mut self.text);
        let mut copied = 0;
        // The stretch that is open, and whether it is one character that NFKC leaves alone.
        let (mut stretch, mut is_inert_alone) = (0, true);
        let ends = text.char_indices().map(|(at, c)| (at, is_inert(c))).chain([(text.len(), true)]);
        for (at, begins) in ends {
            if !begins {
                is_inert_alone = false;
                continue;
            }
            if !is_inert_alone {
                self.copy(&text, copied, stretch);
                self.compose(&text[stretch..at], stretch);
                copied = at;
            }
            (stretch, is_inert_alone) = (at, true);
        }
        self.copy(&text, copied, text.len());
        self.text = text;
    }

    /// NFKC of one stretch, which begins at byte `base` of the text.
    fn compose(&mut self, stretch: &str, base: usize) {
        // `change` counts as in `tokenizers`: 1 a new character, 0 one for one, -n one for n + 1.
        // A new one is aligned with the last that was used up.
        let mut used = 0;
        for (c, change) in stretch.nfkc() {
            if change > 0 {
                // Before anything was used up: the byte before the stretch.
                let at = (base + used).saturating_sub(1);
                self.push(c, at);
            } else {
                let at = (base + used).min(base + stretch.len() - 1);
                self.push(c, at);
                let n = change.unsigned_abs() + 1;
                used += stretch[used..].chars().take(n).map(char::len_utf8).sum::<usize>();
            }
        }
    }
}

/// Whether NFKC leaves a character as it is and never joins it to what stands before it.
fn is_inert(c: char) -> bool {
    c.is_ascii()
        || (canonical_combining_class(c) == 0
            && is_nfkc_quick(std::iter::once(c)) == IsNormalized::Yes)
}
