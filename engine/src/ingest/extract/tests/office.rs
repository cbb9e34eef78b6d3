//! Zipped kinds: docx, pptx, EPUB, made here.

use std::io::{Cursor, Write};

use serde_json::json;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

/// A zip archive of these parts.
pub(super) fn archive(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in parts {
        zip.start_file(*name, SimpleFileOptions::default()).expect("part");
        zip.write_all(text.as_bytes()).expect("text");
    }
    zip.finish().expect("archive").into_inner()
}

pub(super) fn docx() -> Vec<u8> {
    let style = |id: &str| format!("<w:pPr><w:pStyle w:val='{id}'/></w:pPr>");
    let text = |text: &str| format!("<w:r><w:t xml:space='preserve'>{text}</w:t></w:r>");
    let cell = |inner: &str| format!("<w:tc><w:p>{inner}</w:p></w:tc>");
    let document = format!(
        "<?xml version='1.0'?><w:document xmlns:w='w' xmlns:mc='mc'><w:body>\
         <w:p>{}{}</w:p><w:p>{}{}<w:r><w:tab/></w:r>{}</w:p>\
         <w:p><w:pPr><w:numPr/></w:pPr>{}</w:p>\
         <w:p><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>{}<w:r><w:instrText>PAGE</w:instrText></w:r></w:p>\
         <w:tbl><w:tr>{}{}</w:tr><w:tr>{}{}</w:tr></w:tbl>\
         <w:p><mc:AlternateContent><mc:Choice>{}</mc:Choice><mc:Fallback>{}</mc:Fallback></mc:AlternateContent></w:p>\
         </w:body></w:document>",
        style("berschrift1"),
        text("Buds &amp; sponges"),
        text("A gem"),
        text("mule"),
        text("sleeps"),
        text("item"),
        text("kept"),
        cell(&text("k")),
        cell(&text("v")),
        cell(&text("1")),
        cell(&(text("2") + "</w:p><w:p>" + &text("3"))),
        text("once"),
        text("once"),
    );
    let styles = "<w:styles xmlns:w='w'><w:style w:styleId='berschrift1'><w:name w:val='heading 1'/>\
        </w:style></w:styles>";
    let core =
        "<cp:p xmlns:cp='c' xmlns:dc='d'><dc:title> </dc:title><dc:creator>Ann</dc:creator></cp:p>";
    let notes = "<w:footnotes xmlns:w='w'><w:footnote><w:p><w:r><w:t>note</w:t></w:r></w:p></w:footnote></w:footnotes>";
    archive(&[
        ("word/document.xml", &document),
        ("word/styles.xml", styles),
        ("word/footnotes.xml", notes),
        ("docProps/core.xml", core),
    ])
}

pub(super) fn pptx() -> Vec<u8> {
    let slide = |title: &str, text: &str| {
        let shape = |kind: &str, text: &str| {
            format!("<p:sp><p:nvPr>{kind}</p:nvPr><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:sp>")
        };
        let (head, body) = (shape("<p:ph type='title'/>", title), shape("", text));
        let number = shape("<p:ph type='sldNum'/>", "7");
        format!("<p:sld xmlns:p='p' xmlns:a='a'>{head}{body}{number}</p:sld>")
    };
    let relation = |id: &str, target: &str| format!("<Relationship Id='{id}' Target='{target}'/>");
    let relations = |inner: String| format!("<Relationships>{inner}</Relationships>");
    archive(&[
        (
            "ppt/presentation.xml",
            "<p:presentation xmlns:p='p' xmlns:r='r'><p:sldIdLst><p:sldId id='256' r:id='b'/>\
             <p:sldId id='257' r:id='a'/></p:sldIdLst></p:presentation>",
        ),
        (
            "ppt/_rels/presentation.xml.rels",
            &relations(relation("a", "slides/slide1.xml") + &relation("b", "slides/slide2.xml")),
        ),
        ("ppt/slides/slide1.xml", &slide("Second", "two")),
        ("ppt/slides/slide2.xml", &slide("First", "one")),
        (
            "ppt/slides/_rels/slide2.xml.rels",
            &relations(relation("n", "../notesSlides/notesSlide1.xml")),
        ),
        (
            "ppt/notesSlides/notesSlide1.xml",
            "<p:notes xmlns:p='p' xmlns:a='a'><a:p><a:t>say</a:t></a:p></p:notes>",
        ),
    ])
}

pub(super) fn epub() -> Vec<u8> {
    archive(&[
        ("META-INF/container.xml", "<container><rootfile full-path='OPS/book.opf'/></container>"),
        (
            "OPS/book.opf",
            "<package xmlns:dc='d'><metadata><dc:title>Buds</dc:title><dc:creator>Ann</dc:creator></metadata>\
             <manifest><item id='c2' href='two.xhtml' media-type='application/xhtml+xml'/>\
             <item id='c1' href='text/one%20a.xhtml' media-type='application/xhtml+xml'/></manifest>\
             <spine><itemref idref='c1'/><itemref idref='c2'/></spine></package>",
        ),
        (
            "OPS/text/one a.xhtml",
            "<html><head><title/><script/></head><body><h1>One</h1><p>first</p></body></html>",
        ),
        ("OPS/two.xhtml", "<html><body><h1>Two</h1><p>second</p></body></html>"),
    ])
}

#[test]
fn docx_has_its_headings_lists_tables_and_notes() {
    let extracted = extracted("a.docx", docx());
    assert_eq!(
        extracted.text,
        "Buds & sponges\n\nA gemmule sleeps\n\n- item\n\nkept\n\nk | v\n\n1 | 2\n3\n\nonce\n\nnote"
    );
    assert_eq!(outline(&extracted)[..2], ["h1 Buds & sponges", "A gemmule sleeps"]);
    assert_eq!(extracted.title.as_deref(), Some("Buds & sponges"));
    assert_eq!(extracted.meta["author"], json!("Ann"));
}

#[test]
fn pptx_has_a_page_a_slide_in_the_order_of_the_show() {
    let extracted = extracted("a.pptx", pptx());
    assert_eq!(extracted.text, "First\n\none\n\nsay\n\nSecond\n\ntwo");
    assert_eq!(
        outline(&extracted),
        ["page 1", "h1 First", "one", "say", "page 2", "h1 Second", "two"]
    );
}

#[test]
fn epub_has_its_chapters_in_reading_order() {
    let extracted = extracted("a.epub", epub());
    assert_eq!(extracted.text, "One\n\nfirst\n\nTwo\n\nsecond");
    assert_eq!(extracted.title.as_deref(), Some("Buds"));
    assert_eq!(extracted.meta["author"], json!("Ann"));
}

#[test]
fn archives_that_unfold_too_far_are_refused_while_they_are_read() {
    let words = "<p>".to_owned() + &" ".repeat(3 << 20) + "</p>";
    let bomb = archive(&[("word/document.xml", &words)]);
    let limits = Limits { inflated_bytes: 1 << 20, ..Limits::default() };
    let failure = checked("a.docx", bomb, &limits).expect_err("a bomb");
    assert_eq!(failure, Failure::Failed("refused: it unfolds to more than 1024 KiB".to_owned()));
}

#[test]
fn locked_and_broken_archives_fail_with_a_reason() {
    let ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and more".to_vec();
    for (name, bytes, reason) in [
        ("a.docx", ole, "encrypted"),
        ("a.docx", b"not a zip".to_vec(), "broken archive"),
        ("a.docx", archive(&[("x", "y")]), "there is no word/document.xml"),
        ("a.pptx", archive(&[("x", "y")]), "there is no ppt/presentation.xml"),
        ("a.epub", archive(&[("x", "y")]), "does not name a package"),
    ] {
        let failure = refused(name, bytes);
        assert!(matches!(&failure, Failure::Failed(_)), "{failure:?}");
        assert!(failure.reason().contains(reason), "{failure:?}");
    }
}
