//! Random texts of every kind through the whole of the model that is compiled in.

use crate::{Embedder, Tokens};

/// First and last character of what texts are made of: scripts, symbols, control characters.
const KINDS: [(u32, u32); 24] = [
    (0x20, 0x7e),       // ASCII
    (0x61, 0x7a),       // small letters
    (0x30, 0x39),       // digits
    (0x00, 0x1f),       // control characters
    (0x7f, 0xa0),       // more of them
    (0xc0, 0x24f),      // Latin with marks
    (0x300, 0x36f),     // marks alone
    (0x370, 0x3ff),     // Greek
    (0x400, 0x4ff),     // Cyrillic
    (0x590, 0x5ff),     // Hebrew
    (0x600, 0x6ff),     // Arabic
    (0x900, 0x97f),     // Devanagari
    (0xe00, 0xe7f),     // Thai
    (0x10a0, 0x10ff),   // Georgian
    (0x1200, 0x137f),   // Ethiopic
    (0x2000, 0x206f),   // spaces, joiners, directions
    (0x3040, 0x30ff),   // kana
    (0x4e00, 0x9fff),   // Han
    (0xac00, 0xd7a3),   // Hangul
    (0xe000, 0xf8ff),   // private use
    (0xfe00, 0xffff),   // variation selectors, specials, the byte order mark
    (0x1f300, 0x1faff), // emoji
    (0xe0000, 0xe01ef), // tags
    (0x00, 0x10ffff),   // anything
];

/// What means something to a tokenizer, or to a prompt.
const WORDS: [&str; 12] = [
    "<bos>",
    "<eos>",
    "<pad>",
    "<unk>",
    "<unused0>",
    "<0x0A>",
    "▁",
    "\r\n",
    "title: none | text: ",
    "  ",
    "\t\t\t",
    "the",
];

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    /// A text of up to `most` characters; short ones are as frequent as long ones.
    fn text(&mut self, most: usize) -> String {
        let bits = self.below(most.ilog2() as usize + 2);
        let n_chars = self.below((1 << bits).min(most + 1));
        let kinds = [self.below(KINDS.len()), self.below(KINDS.len()), self.below(KINDS.len())];
        let mut text = String::new();
        let mut n_left = n_chars;
        while n_left > 0 {
            if self.below(40) == 0 {
                text.push_str(WORDS[self.below(WORDS.len())]);
            }
            // Runs of one kind, now and then of one character.
            let (first, last) = KINDS[kinds[self.below(3)]];
            let is_same = self.below(20) == 0;
            let mut c = '\u{0}';
            for i in 0..n_left.min(1 + self.below(30)) {
                if i == 0 || !is_same {
                    let code = first + self.below((last - first + 1) as usize) as u32;
                    c = char::from_u32(code).unwrap_or('\u{fffd}');
                }
                text.push(c);
                n_left -= 1;
            }
        }
        text
    }
}

/// 1,000 texts of up to 1,000 characters. All 10,000 of up to 20,000:
///
/// ```text
/// GEMMULE_SLOW=1 cargo test --release any_text_gives_a_unit_vector -- --nocapture
/// ```
#[test]
fn any_text_gives_a_unit_vector() {
    let is_slow = std::env::var_os("GEMMULE_SLOW").is_some();
    let (n_texts, most) = if is_slow { (10_000, 20_000) } else { (1_000, 1_000) };
    let embedder = Embedder::open("nano").unwrap();
    let config = &embedder.package().config;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut n_tokens, mut n_cut) = (0, 0);
    for first in (0..n_texts).step_by(50) {
        let texts: Vec<String> = (0..50).map(|_| random.text(most)).collect();
        let tokens: Vec<Tokens> =
            texts.iter().map(|text| embedder.tokenize_truncated("", text).unwrap()).collect();
        for (i, (text, tokens)) in texts.iter().zip(&tokens).enumerate() {
            let Tokens { ids, n_dropped } = tokens;
            let is_framed = ids.first() == Some(&config.bos) && ids.last() == Some(&config.eos);
            assert!(is_framed && ids.len() >= 2, "text {}: {text:?}", first + i);
            assert!(ids.len() == embedder.package().window || *n_dropped == 0);
            n_tokens += ids.len();
            n_cut += usize::from(*n_dropped > 0);
        }
        let vectors = embedder.embed(&tokens, |_, _| true).unwrap();
        for (i, (text, vector)) in texts.iter().zip(&vectors).enumerate() {
            let norm = vector.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            assert!((norm - 1.0).abs() < 1e-5, "text {}: norm {norm}: {text:?}", first + i);
        }
    }
    println!("{n_texts} texts, {n_cut} cut, {n_tokens} tokens");
}
