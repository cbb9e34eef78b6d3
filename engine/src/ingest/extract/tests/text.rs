//! Kinds that are text already, encodings, and names.

use serde_json::json;

use super::*;

#[test]
fn markdown_keeps_its_bytes_and_marks_headings_and_blocks() {
    let source = "---\ntitle: \"On *sponges*\"\ntags: [sea, bud]\nauthors:\n  - Ann\n  - Bo\ndraft: false\n---\n\
        # One `two` *three*\n\nFirst\nparagraph.\n\n- item\n- loose\n\n  more\n\n```rust\nfn main() {}\n```\n\n\
        | a | b |\n|---|---|\n| 1 | 2 |\n\nSetext\n------\n\n> quoted\n";
    let extracted = extracted("a.md", source);
    assert_eq!(extracted.text, source);
    assert_eq!(extracted.kind, Kind::Markdown);
    assert_eq!(extracted.title.as_deref(), Some("On *sponges*"));
    assert_eq!(extracted.meta["tags"], json!(["sea", "bud"]));
    assert_eq!(extracted.meta["authors"], json!(["Ann", "Bo"]));
    assert_eq!(extracted.meta["draft"], json!(false));
    assert_eq!(
        outline(&extracted),
        [
            "h1 One two three",
            "First",
            "- item",
            "- loose",
            "more",
            "```rust",
            "| a | b |",
            "h2 Setext",
            "quoted",
        ]
    );
}

#[test]
fn toml_front_matter_and_a_line_across_the_page_are_told_apart() {
    let toml =
        extracted("a.md", "+++\ntitle = 'T # x'\nweight = 3 # order\n[extra]\na = 1\n+++\nText\n");
    assert_eq!(toml.title.as_deref(), Some("T # x"));
    assert_eq!(toml.meta["weight"], json!(3));
    assert_eq!(toml.meta["extra"], json!("a = 1"));
    let rule = extracted("a.md", "---\nJust text\n---\n\n# Head\n");
    assert!(rule.meta.is_empty(), "{:?}", rule.meta);
    assert_eq!(rule.title.as_deref(), Some("Head"));
    let nested =
        extracted("a.md", "---\na:\n  b: 1\nc: |\n  one\n  two\nd: 2020-01-02\n---\nText\n");
    assert_eq!(nested.meta["a"], json!("  b: 1"));
    assert_eq!(nested.meta["c"], json!("one\ntwo"));
    assert_eq!(nested.meta["d"], json!("2020-01-02"));
}

#[test]
fn rst_levels_follow_the_order_of_adornments() {
    let source = "PEP: 8\nTitle: Style\n  Guide\nAuthor: A\n\n=====\nTop\n=====\n\nText::\n\n    code\n\n\
        Next\n----\nDirect\n* item\n\nDeeper\n~~~~~~\n\nBack\n----\n\n----\n\nEnd\n";
    let extracted = extracted("pep.rst", source);
    assert_eq!(extracted.meta["PEP"], json!("8"));
    assert_eq!(extracted.title.as_deref(), Some("Style Guide"));
    assert_eq!(
        outline(&extracted),
        [
            "PEP: 8",
            "h1 Top",
            "Text::",
            "    code",
            "h2 Next",
            "Direct",
            "* item",
            "h3 Deeper",
            "h2 Back",
            "----",
            "End",
        ]
    );
}

#[test]
fn code_is_cut_at_items_and_knows_its_language() {
    let source = "use a;\n\nfn one() {\n    x;\n\n    y;\n}\n\n/// Doc\nfn two() {\n\n}\n";
    let rust = extracted("src/a.rs", source);
    assert_eq!(rust.meta["language"], json!("rust"));
    assert_eq!(outline(&rust), ["use a;", "fn one() {", "/// Doc"]);
    let toml = extracted("Cargo.toml", "[a]\nx = 1\n[b]\ny = 2\n");
    assert_eq!(outline(&toml), ["[a]", "[b]"]);
    for (name, first, language) in [
        ("Makefile", "all:\n\techo\n", "make"),
        ("run", "#!/usr/bin/env python3\nprint()\n", "python"),
        ("tool", "#!/bin/sh\ntrue\n", "shell"),
        ("a.YML", "a: 1\n", "yaml"),
    ] {
        assert_eq!(extracted(name, first).meta["language"], json!(language), "{name}");
    }
}

#[test]
fn json_is_cut_at_its_members_even_when_it_is_invalid() {
    let object = extracted("a.json", r#"{"one": {"x": [1, 2]}, "two": "a, \" b", "three": []}"#);
    let starts = [r#""one": {"x": [1, 2]}, "tw"#, r#""two": "a, \" b", "three"#, r#""three": []}"#];
    let starts = starts.map(|start| start.chars().take(24).collect::<String>());
    assert_eq!(outline(&object), starts);
    let wrapped = extracted("a.json", r#"{"rows": [{"a": 1}, {"a": 2}]}"#);
    assert_eq!(wrapped.marks.len(), 2);
    let surrogate = extracted("a.json", r#"["\ud800", "b""#);
    assert_eq!(surrogate.marks.len(), 2);
    let lines = extracted("a.jsonl", "{\"a\":1}\n\n{\"a\":2}\n");
    assert_eq!(outline(&lines), [r#"{"a":1}"#, r#"{"a":2}"#]);
}

#[test]
fn table_rows_may_hold_line_ends_in_quotes() {
    let table = extracted("a.csv", "a,b\n1,\"x\ny\"\n2,z\n");
    assert_eq!(outline(&table), ["a,b", "1,\"x", "2,z"]);
    let unclosed = extracted("a.tsv", "a\tb\n1\t5\" long\n2\tz\n3\tz\n");
    assert_eq!(unclosed.marks.len(), 4);
}

#[test]
fn xml_is_cut_at_children_and_survives_a_break() {
    let feed = "<?xml version=\"1.0\"?>\n<rss><channel><title>News &amp; more</title>\
        <item>1</item><item>2</item></channel></rss>";
    let feed = extracted("feed.xml", feed);
    assert_eq!(feed.title.as_deref(), Some("News & more"));
    assert_eq!(feed.marks.len(), 5);
    let broken = extracted("a.xml", "<a><b>1</b><c>2</c><d>3</d><e>4</e><\n\nrest & more");
    assert!(broken.marks.len() >= 5, "{:?}", outline(&broken));
}

#[test]
fn notebooks_are_rendered_cell_by_cell() {
    let notebook = json!({
        "cells": [
            {"cell_type": "markdown", "source": ["# Title\n", "\n", "Words"]},
            {"cell_type": "code", "source": "print(1)", "outputs": [
                {"output_type": "stream", "text": ["1\n"]},
                {"output_type": "display_data", "data": {"image/png": "aaaa", "text/plain": "<Figure>"}},
            ]},
            {"cell_type": "code", "source": ""},
        ],
        "metadata": {"kernelspec": {"language": "python"}},
    });
    let extracted_cells = extracted("a.ipynb", notebook.to_string());
    assert_eq!(extracted_cells.text, "# Title\n\nWords\n\nprint(1)\n\n1\n\n<Figure>");
    assert_eq!(outline(&extracted_cells), ["h1 Title", "Words", "print(1)", "1", "<Figure>"]);
    assert_eq!(extracted_cells.title.as_deref(), Some("Title"));
    assert_eq!(extracted_cells.meta["language"], json!("python"));
    let broken = extracted("a.ipynb", "{\"cells\": [1, \"\\ud800\"");
    assert_eq!(broken.kind, Kind::Json);
}

#[test]
fn html_is_rendered_as_a_reader_sees_it() {
    let page = "<!DOCTYPE html><html lang=en><head><title>The &amp; title</title>\
        <meta name=description content='In short'><style>p{}</style><script>if (a<b) 'x'</script></head>\
        <body><nav><a>Home</a></nav><h1>Head <em>line</em></h1><p>One  two<br>three</p><p>Four\
        <ul><li>a<li>b</ul><pre>\n  x\n    y\n</pre><table><tr><th>k<th>v<tr><td><p>1</p></td><td>2</td></tr></table>\
        <h2>Sub</h2>tail &eacute;</body></html>";
    let html = extracted("a.html", page);
    assert_eq!(
        html.text,
        "Head line\n\nOne two\nthree\n\nFour\n\na\n\nb\n\n  x\n    y\n\nk | v\n\n1 | 2\n\nSub\n\ntail \u{e9}"
    );
    assert_eq!(html.title.as_deref(), Some("The & title"));
    assert_eq!(html.meta["description"], json!("In short"));
    assert_eq!(html.meta["lang"], json!("en"));
    let heads: Vec<String> =
        outline(&html).into_iter().filter(|line| line.starts_with('h')).collect();
    assert_eq!(heads, ["h1 Head line", "h2 Sub"]);
}

#[test]
fn html_loses_nothing_to_navigation_that_never_closes() {
    let unclosed = extracted("a.html", "<p>a</p><nav><p>b</p>");
    assert_eq!(unclosed.text, "a\n\nb");
    let only = extracted("a.html", "<nav><a>Home</a></nav>");
    assert_eq!(only.text, "Home");
}

#[test]
fn html_takes_its_charset() {
    let page = b"<meta charset=\"iso-8859-2\"><p>\xbe\xb9</p>".to_vec();
    let html = extracted("a.html", page);
    assert_eq!(html.text, "\u{17e}\u{161}");
    assert_eq!(html.meta["encoding"], json!("ISO-8859-2"));
}

#[test]
fn encodings_are_found_and_named() {
    let utf_16 = |text: &str, big: bool| -> Vec<u8> {
        let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        text.encode_utf16().flat_map(bytes).collect()
    };
    let marked = utf_16("\u{feff}Gr\u{fc}\u{df}e\n", false);
    let text = "Gr\u{fc}\u{df}e\n";
    for (bytes, encoding) in [
        (marked, "UTF-16LE with byte order mark"),
        (utf_16("\u{feff}Gr\u{fc}\u{df}e\n", true), "UTF-16BE with byte order mark"),
        (utf_16(text, false), "UTF-16LE"),
        (b"\xef\xbb\xbfGr\xc3\xbc\xc3\x9fe\n".to_vec(), "UTF-8 with byte order mark"),
        (b"Gr\xfc\xdfe\n".to_vec(), "windows-1252"),
    ] {
        let extracted = extracted("a.txt", bytes);
        assert_eq!(extracted.text, text, "{encoding}");
        assert_eq!(extracted.meta["encoding"], json!(encoding));
        assert_eq!(extracted.offsets, Offsets::Text);
    }
    let mut broken = "\u{fc}\u{df}\u{e9}\u{e8}\u{e0}\u{f6} words ".repeat(3).into_bytes();
    broken.extend(b"\xff end");
    let broken = extracted("a.txt", broken);
    assert_eq!(broken.meta["encoding"], json!("UTF-8"));
    assert_eq!(broken.meta["undecodable"], json!(1));
}

#[test]
fn what_is_no_text_is_skipped_with_a_reason() {
    let skipped = |reason: &str| Failure::Skipped(reason.to_owned());
    assert_eq!(refused("a.md", ""), skipped("empty"));
    assert_eq!(refused("a.pdf", ""), skipped("empty"));
    assert_eq!(refused("a.md", " \n\t "), skipped("empty"));
    assert_eq!(refused("a.md", "\u{feff}\n"), skipped("empty"));
    assert_eq!(refused("a.html", "<p> </p>"), skipped("empty"));
    assert_eq!(refused("a", "ab\0c"), skipped("binary file"));
    assert_eq!(refused("a.txt", (0..=255).collect::<Vec<u8>>()), skipped("binary file"));
    assert_eq!(refused("a.PNG", "x"), skipped("no reader for .png files"));
    assert_eq!(refused("a.tar.gz", "x"), skipped("no reader for .gz files"));
    let limits = Limits { text_bytes: 4, ..Limits::default() };
    let failure = checked("a.txt", b"12345".to_vec(), &limits).expect_err("too long");
    assert_eq!(failure, skipped("too large: its text is longer than 4 bytes"));
}

#[test]
fn reading_takes_regular_files_within_the_limit_only() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("a.txt");
    std::fs::write(&file, "12345").expect("file");
    assert_eq!(read(&file, &Limits::default()), Ok(b"12345".to_vec()));
    let limits = Limits { file_bytes: 4, ..Limits::default() };
    let too_large = Failure::Skipped("too large: 5 bytes, the limit is 4 bytes".to_owned());
    assert_eq!(read(&file, &limits), Err(too_large));
    let irregular = Failure::Skipped("not a regular file".to_owned());
    assert_eq!(read(folder.path(), &limits), Err(irregular.clone()));
    let gone = Failure::Failed("vanished before it was read".to_owned());
    assert_eq!(read(&folder.path().join("gone"), &limits), Err(gone));
    #[cfg(unix)]
    {
        let link = folder.path().join("link.txt");
        std::os::unix::fs::symlink(&file, &link).expect("link");
        assert_eq!(read(&link, &limits), Err(irregular.clone()));
        let pipe = folder.path().join("pipe.txt");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, fifo, mode, 0).expect("pipe");
        assert_eq!(read(&pipe, &limits), Err(irregular));
    }
}
