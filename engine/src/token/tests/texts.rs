//! Random texts that try what a tokenizer can get wrong.

use super::Tokenizer;

/// SplitMix64: a seed gives the same texts for ever.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn of<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }

    fn char_in(&mut self, first: u32, last: u32) -> char {
        let c = first + self.below((last - first + 1) as usize) as u32;
        char::from_u32(c).unwrap_or('\u{fffd}')
    }
}

/// First and last characters of what texts are made of.
const SCRIPTS: [(u32, u32); 28] = [
    (0x20, 0x7e),       // ASCII
    (0x00, 0x1f),       // controls
    (0x80, 0xff),       // Latin-1, no-break space and soft hyphen
    (0x100, 0x24f),     // Latin extended
    (0x300, 0x36f),     // combining marks
    (0x370, 0x3ff),     // Greek
    (0x400, 0x4ff),     // Cyrillic
    (0x590, 0x5ff),     // Hebrew with points
    (0x600, 0x6ff),     // Arabic with marks
    (0x900, 0x97f),     // Devanagari
    (0xe00, 0xe7f),     // Thai
    (0x10a0, 0x10ff),   // Georgian
    (0x1100, 0x11ff),   // Hangul letters, which compose
    (0x1e00, 0x1fff),   // Latin and Greek with several marks
    (0x2000, 0x206f),   // spaces and invisible characters
    (0x2070, 0x218f),   // superscripts, letterlike, number forms
    (0x2460, 0x259f),   // enclosed numbers, box drawing, the block ▁ itself
    (0x3040, 0x30ff),   // kana with voicing marks
    (0x3200, 0x33ff),   // squared words
    (0x4e00, 0x9fff),   // Han
    (0xac00, 0xd7a3),   // Hangul syllables
    (0xf900, 0xfaff),   // compatibility Han
    (0xfb00, 0xfdff),   // ligatures, Arabic forms; one becomes 18 characters
    (0xff00, 0xffef),   // full and half width
    (0x1d160, 0x1d7ff), // musical and mathematical letters
    (0x1f000, 0x1faff), // emoji
    (0x20000, 0x2a6df), // rarer Han
    (0x80, 0x10ffff),   // anything
];

const ODDITIES: [&str; 34] = [
    "İ",
    "ẞ",
    "ΑΣ",
    "ﬃ",
    "ﷺ",
    "①",
    "Å",
    "e\u{301}",
    "q\u{323}\u{307}",
    "한",
    "각",
    "か\u{3099}",
    "👩‍👩‍👧‍👦",
    "🏳️‍🌈",
    "🇩🇪",
    "▁",
    "▁▁",
    ">▁</",
    "> </",
    "> <",
    "<0x0A>",
    "<0x",
    "\u{feff}",
    "\u{200b}",
    "\r\n",
    "<bos>",
    "<eos>",
    "<bo",
    "<start_of_turn>",
    "<|\"|>",
    "task: search result | query:",
    "task: ",
    "title: none | text:",
    " | text:",
];

/// A text of some parts; which kinds of parts it has is drawn first, so that some texts are pure.
pub(super) fn random_text(random: &mut Random, vocabulary: &Tokenizer, prose: &str) -> String {
    let n_parts = match random.below(1000) {
        0 => random.below(4000),
        1..20 => random.below(300),
        _ => random.below(12),
    };
    let kinds = random.next();
    let script = SCRIPTS[random.below(SCRIPTS.len())];
    let mut text = String::new();
    for _ in 0..n_parts {
        let kind = random.below(8);
        if kinds >> kind & 1 == 0 {
            continue;
        }
        match kind {
            0 | 1 => {
                let id = random.below(vocabulary.largest_id() as usize + 1) as u32;
                let piece = vocabulary.piece(id).unwrap();
                // Mostly as a space, sometimes as the character that stands for it.
                let literal = random.below(20) == 0;
                text.push_str(&if literal { piece.to_owned() } else { piece.replace('▁', " ") });
            }
            2 => {
                for _ in 0..random.below(8) {
                    text.push(random.char_in(script.0, script.1));
                }
            }
            3 => {
                let (first, last) = SCRIPTS[random.below(SCRIPTS.len())];
                for _ in 0..1 + random.below(4) {
                    text.push(random.char_in(first, last));
                }
            }
            4 => {
                let run = random.of(&[" ", "\n", "\t", "\r\n", "▁", "=", "a", "-", "0", "\u{a0}"]);
                let most = if random.below(10) == 0 { 80 } else { 5 };
                text.push_str(&run.repeat(random.below(most)));
            }
            5 => text.push_str(random.of(&ODDITIES)),
            6 => {
                let words: Vec<char> = prose.chars().collect();
                let start = random.below(words.len());
                text.extend(words[start..].iter().take(random.below(60)));
            }
            _ => {
                let word: String =
                    (0..random.below(12)).map(|_| random.char_in(0x61, 0x7a)).collect();
                text.push_str(&word);
                text.push_str(random.of(&[" ", "", ", ", "'", "_"]));
            }
        }
    }
    text
}
