//! Texts that nobody would write, and that are found on every disk.

use unicode_segmentation::UnicodeSegmentation;

use super::{Choices, checked, extracted, plain};
use crate::ingest::extract::{Kind, Mark, MarkKind};

/// Whether every chunk begins and ends where a grapheme cluster does.
fn keeps_graphemes(text: &str, tokens: usize) -> bool {
    let mut begins = vec![false; text.len() + 1];
    text.grapheme_indices(true).for_each(|(at, _)| begins[at] = true);
    begins[text.len()] = true;
    checked(&plain(text), tokens).iter().all(|c| begins[c.range.start] && begins[c.range.end])
}

#[test]
fn two_mebibytes_on_one_line_are_cut() {
    let mut choices = Choices::new(1);
    let mut line = String::new();
    while line.len() < 2 << 20 {
        line.push_str(&choices.sentence());
        line.push(' ');
    }
    assert!(checked(&plain(&line), 256).len() > 1000);
}

#[test]
fn two_mebibytes_without_white_space_are_cut() {
    let mut choices = Choices::new(2);
    let random: String = (0..2 << 20).map(|_| (b'a' + choices.below(26) as u8) as char).collect();
    for text in ["a".repeat(2 << 20), "=".repeat(2 << 20), random] {
        assert!(checked(&plain(&text), 256).len() > 100);
    }
}

#[test]
fn repeated_text_fills_its_chunks() {
    for (text, least) in [("a b c d ".repeat(20_000), 250), ("x;\n".repeat(20_000), 240)] {
        let chunks = checked(&plain(&text), 256);
        let mean = chunks.iter().map(|chunk| chunk.n_tokens).sum::<usize>() / chunks.len();
        assert!(mean >= least, "mean of {mean} tokens");
    }
}

#[test]
fn white_space_without_end_is_left_out() {
    let spaces = " ".repeat(1 << 20);
    let lines = "\n".repeat(1 << 20);
    let text = format!("{spaces}a{lines}b{spaces}c{spaces}{lines}d e{lines}");
    let chunks = checked(&plain(&text), 256);
    assert!(chunks.len() <= 4, "{} chunks", chunks.len());
    assert!(chunks.iter().all(|chunk| chunk.range.len() < 1000));
}

#[test]
fn emoji_of_several_characters_stay_whole() {
    let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
    let flag = "\u{1f1eb}\u{1f1f7}";
    let thumb = "\u{1f44d}\u{1f3fd}";
    for text in [family.repeat(2000), flag.repeat(5001), thumb.repeat(3000)] {
        assert!(keeps_graphemes(&text, 128));
    }
    assert!(keeps_graphemes(&format!("{family} {flag}{thumb} ").repeat(1000), 128));
}

#[test]
fn combining_marks_stay_with_their_letter() {
    assert!(keeps_graphemes(&"e\u{301}o\u{308}\u{323}".repeat(5000), 128));
    assert!(keeps_graphemes(&"a \u{301}b ".repeat(5000), 64));
    assert!(keeps_graphemes(&"\u{0915}\u{094d}\u{0937}\u{093f} ".repeat(3000), 64));
}

#[test]
fn a_cluster_longer_than_a_chunk_is_cut_between_characters() {
    let stack = format!("before a{} after", "\u{301}\u{489}".repeat(50_000));
    assert!(checked(&plain(&stack), 128).len() > 100);
}

#[test]
fn a_character_of_many_tokens_is_a_chunk_of_its_own() {
    let text = "\u{fdfa}\u{fdfa} \u{10ffff}".repeat(20);
    for tokens in [1, 2, 3, 4, 7, 40] {
        checked(&plain(&text), tokens);
    }
}

#[test]
fn windows_line_ends_and_other_white_space_are_white_space() {
    let mut choices = Choices::new(5);
    let text: String = (0..300)
        .map(|_| {
            let white = ["\r\n", "\r\n\r\n", "\u{a0}", "\u{2028}", "\t\u{b}\u{c}", "\r"];
            format!("{}{}", choices.sentence(), white[choices.below(6)])
        })
        .collect();
    checked(&plain(&text), 128);
}

#[test]
fn any_characters_and_any_marks_are_covered() {
    const PIECES: [&str; 16] = [
        "a",
        "Word ",
        "\n",
        "\n\n",
        " ",
        "end. ",
        "\u{301}",
        "\u{200d}",
        "\u{1f468}",
        "\u{3002}",
        "\r\n",
        "    ",
        "<bos>",
        "title:",
        "\u{fdfa}",
        "\u{e9}tude ",
    ];
    for seed in 0..300 {
        let mut choices = Choices::new(seed);
        let n_pieces = 1 + choices.below(400);
        let text: String = (0..n_pieces).map(|_| PIECES[choices.below(16)]).collect();
        let mut marks = Vec::new();
        for (offset, _) in text.char_indices() {
            if choices.below(20) == 0 {
                let level = 1 + choices.below(6) as u8;
                let heading = MarkKind::Heading { level, text: format!("h{offset}") };
                let page = MarkKind::Page(offset as u32);
                let kind = [heading, MarkKind::Block, MarkKind::Block, page];
                marks.push(Mark { offset, kind: kind[choices.below(4)].clone() });
            }
        }
        let kinds = [Kind::Plain, Kind::Code, Kind::Markdown];
        let text = extracted(&text, marks, kinds[choices.below(3)]);
        for tokens in [1, 5, 16, 64] {
            let chunks = checked(&text, tokens);
            assert_eq!(chunks, checked(&text, tokens), "seed {seed}");
        }
    }
}
