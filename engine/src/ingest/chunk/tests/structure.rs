//! Headings, pages, blocks and small texts.

use super::{Choices, checked, extracted, markdown, plain, texts};
use crate::ingest::extract::{Kind, Mark, MarkKind};

/// Enough sentences to be no small section at 64 tokens, and to fit into one chunk.
fn body(seed: u64) -> String {
    let mut choices = Choices::new(seed);
    let mut body = choices.sentence();
    while body.len() < 100 {
        body = format!("{body} {}", choices.sentence());
    }
    body
}

fn page(offset: usize, page: u32) -> Mark {
    Mark { offset, kind: MarkKind::Page(page) }
}

#[test]
fn a_text_that_fits_is_one_chunk_without_its_white_space() {
    let text = plain("\n\n  \n    let x = 1;\n    let y = 2;\n \n\n");
    let chunks = checked(&text, 256);
    assert_eq!(texts(&text, &chunks), ["    let x = 1;\n    let y = 2;"]);
    assert_eq!((chunks[0].page, &chunks[0].headings[..]), (None, &[][..]));
}

#[test]
fn one_token_is_one_chunk() {
    let text = plain("the");
    assert_eq!(checked(&text, 256).len(), 1);
    assert_eq!(checked(&text, 1).len(), 1);
    assert_eq!(checked(&text, 0)[0].n_tokens, 1);
}

#[test]
fn headings_start_chunks_and_nest() {
    let [a, b, c, d] = [1, 2, 3, 4].map(body);
    let text = format!("# One\n\n{a}\n\n## Two\n\n{b}\n\n### Three\n\n{c}\n\n## Four\n\n{d}\n");
    let text = markdown(&text);
    let chunks = checked(&text, 128);
    let paths: Vec<_> = chunks.iter().map(|chunk| chunk.headings.join("/")).collect();
    assert_eq!(paths, ["One", "One/Two", "One/Two/Three", "One/Four"]);
    assert_eq!(texts(&text, &chunks)[2], format!("### Three\n\n{c}"));
}

#[test]
fn a_level_that_was_skipped_ends_with_its_parent() {
    let [a, b, c] = [1, 2, 3].map(body);
    let text = markdown(&format!("### Deep\n\n{a}\n\n# Top\n\n{b}\n\n### Low\n\n{c}\n"));
    let chunks = checked(&text, 128);
    let paths: Vec<_> = chunks.iter().map(|chunk| chunk.headings.join("/")).collect();
    assert_eq!(paths, ["Deep", "Top", "Top/Low"]);
}

#[test]
fn a_heading_without_text_goes_with_the_section_after_it() {
    let body = body(1);
    let text = markdown(&format!("# One\n\n---\n\n## Two\n\n{body}\n"));
    let chunks = checked(&text, 128);
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0].headings, ["One", "Two"]);
}

#[test]
fn a_heading_without_text_at_the_end_goes_with_the_section_before_it() {
    let body = body(1);
    let text = markdown(&format!("# One\n\n{body}\n\n# Two\n"));
    let chunks = checked(&text, 128);
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0].headings, ["One"]);
    let only = markdown("# One\n\n## Two\n");
    assert_eq!(checked(&only, 128).len(), 1);
}

#[test]
fn small_siblings_share_a_chunk_and_the_path_they_have_in_common() {
    let items: String = (0..4).map(|n| format!("## Item {n}\n\nSmall.\n\n")).collect();
    let text = markdown(&format!("# List\n\nOf items.\n\n{items}"));
    let chunks = checked(&text, 128);
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0].headings, ["List"]);
}

#[test]
fn many_small_siblings_are_cut_between_sections_only() {
    let mut choices = Choices::new(7);
    let items: String =
        (0..200).map(|n| format!("## Item {n}\n\n{}\n\n", choices.sentence())).collect();
    let text = markdown(&format!("# List\n\n{items}"));
    let chunks = checked(&text, 256);
    assert!(chunks.len() < 80, "{} chunks", chunks.len());
    for own in texts(&text, &chunks) {
        assert!(own.starts_with('#'), "cut inside a section: {own:?}");
    }
}

#[test]
fn small_sections_of_different_parents_stay_apart() {
    let text = markdown("# A\n\nx\n\n## A1\n\ny\n\n# B\n\nz\n");
    let chunks = checked(&text, 128);
    let paths: Vec<_> = chunks.iter().map(|chunk| chunk.headings.join("/")).collect();
    assert_eq!(paths, ["A", "B"]);
}

#[test]
fn no_chunk_runs_over_a_page_and_the_heading_goes_on() {
    let [a, b, c] = [1, 2, 3].map(body);
    let text = format!("{a}\nTitle\n{b}\n{c} End.");
    let title = a.len() + 1;
    let second = text.len() - c.len() - 5;
    let heading = MarkKind::Heading { level: 1, text: "Title".to_owned() };
    let marks = vec![page(0, 1), Mark { offset: title, kind: heading }, page(second, 2)];
    let text = extracted(&text, marks, Kind::Pdf);
    let chunks = checked(&text, 128);
    let pages: Vec<_> = chunks.iter().map(|chunk| chunk.page).collect();
    assert_eq!(pages, [Some(1), Some(1), Some(2)]);
    assert_eq!(chunks[2].headings, ["Title"]);
}

#[test]
fn empty_and_tiny_pages_are_pages() {
    let marks = vec![page(0, 1), page(2, 2), page(2, 3), page(4, 4), page(6, 5)];
    let text = extracted("a\nb\n\n\nc", marks, Kind::Pdf);
    let pages: Vec<_> = checked(&text, 128).iter().map(|chunk| chunk.page).collect();
    assert_eq!(pages, [Some(1), Some(3), Some(5)]);
}

#[test]
fn a_heading_does_not_leave_its_page() {
    let body = body(1);
    let text = format!("Title\n{body}");
    let heading = MarkKind::Heading { level: 1, text: "Title".to_owned() };
    let marks = vec![page(0, 1), Mark { offset: 0, kind: heading }, page(6, 2)];
    let text = extracted(&text, marks, Kind::Pdf);
    let chunks = checked(&text, 128);
    assert_eq!(texts(&text, &chunks), ["Title", body.as_str()]);
    assert_eq!(chunks[1].headings, ["Title"]);
}

#[test]
fn long_text_is_cut_at_its_best_boundaries() {
    let mut choices = Choices::new(3);
    let paragraphs: Vec<String> = (0..100).map(|_| choices.paragraph()).collect();
    let text = plain(&paragraphs.join("\n\n"));
    for own in texts(&text, &checked(&text, 512)) {
        assert!(paragraphs.iter().any(|p| own.starts_with(p.as_str())), "starts inside: {own:?}");
    }
    let sentences: Vec<String> = (0..300).map(|_| choices.sentence()).collect();
    let text = plain(&sentences.join(" "));
    for own in texts(&text, &checked(&text, 256)) {
        assert!(own.ends_with('.'), "ends inside a sentence: {own:?}");
    }
}

#[test]
fn wrapped_prose_is_cut_between_sentences_and_code_between_lines() {
    let mut choices = Choices::new(4);
    let words: Vec<String> = (0..200).map(|_| choices.sentence()).collect();
    let words = words.join(" ");
    let words: Vec<&str> = words.split(' ').collect();
    let wrapped = words.chunks(9).map(|line| line.join(" ")).collect::<Vec<_>>().join("\n");
    let prose = plain(&wrapped);
    for own in texts(&prose, &checked(&prose, 256)) {
        assert!(own.ends_with('.'), "ends inside a sentence: {own:?}");
    }
    let code = extracted(&wrapped, Vec::new(), Kind::Code);
    for chunk in checked(&code, 256) {
        assert!(chunk.range.start == 0 || wrapped[..chunk.range.start].ends_with('\n'));
    }
}

#[test]
fn chinese_sentences_need_no_spaces() {
    let sentence = "\u{6211}\u{4eec}\u{5728}\u{8fd9}\u{91cc}\u{7b49}\u{4f60}\u{3002}";
    let text: String = (0..300).map(|n| format!("{n}{sentence}")).collect();
    let text = plain(&text);
    for own in texts(&text, &checked(&text, 128)) {
        assert!(own.ends_with('\u{3002}'), "ends inside a sentence: {own:?}");
    }
}
