//! PDF files, written here object by object.

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::json;

use super::*;

/// A PDF of these objects, numbered from 1; the first is the catalog. `trailer` is added to the trailer.
pub(super) fn pdf(objects: &[Vec<u8>], trailer: &str) -> Vec<u8> {
    let mut bytes = b"%PDF-1.5\n".to_vec();
    let mut offsets = Vec::new();
    for (object, number) in objects.iter().zip(1..) {
        offsets.push(bytes.len());
        bytes.extend(format!("{number} 0 obj\n").bytes());
        bytes.extend(object);
        bytes.extend(b"\nendobj\n");
    }
    let table = bytes.len();
    let size = objects.len() + 1;
    bytes.extend(format!("xref\n0 {size}\n0000000000 65535 f \n").bytes());
    for offset in offsets {
        bytes.extend(format!("{offset:010} 00000 n \n").bytes());
    }
    let trailer =
        format!("trailer <</Size {size} /Root 1 0 R {trailer}>>\nstartxref\n{table}\n%%EOF\n");
    bytes.extend(trailer.bytes());
    bytes
}

fn stream(dictionary: &str, data: &[u8]) -> Vec<u8> {
    let mut object = format!("<<{dictionary} /Length {}>>\nstream\n", data.len()).into_bytes();
    object.extend(data);
    object.extend(b"\nendstream");
    object
}

fn deflated(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).expect("memory");
    encoder.finish().expect("memory")
}

/// One page for each content stream, in Helvetica; `more` objects follow from number 3 on.
fn pages(contents: Vec<Vec<u8>>, resources: &str, more: Vec<Vec<u8>>, trailer: &str) -> Vec<u8> {
    let first = 3 + more.len();
    let kids: Vec<String> =
        (0..contents.len()).map(|idx| format!("{} 0 R", first + 2 * idx)).collect();
    let mut objects = vec![
        b"<</Type /Catalog /Pages 2 0 R>>".to_vec(),
        format!("<</Type /Pages /Count {} /Kids [{}]>>", contents.len(), kids.join(" "))
            .into_bytes(),
    ];
    objects.extend(more);
    for (idx, content) in contents.into_iter().enumerate() {
        let page = format!(
            "<</Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents {} 0 R /Resources \
             <</Font <</F <</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>>> {resources}>>>>",
            first + 2 * idx + 1,
        );
        objects.push(page.into_bytes());
        objects.push(content);
    }
    pdf(&objects, trailer)
}

const PAGE_1: &str = "BT /F 12 Tf 50 700 Td (A gemmule is a) Tj 0 -14 Td (dor-) Tj 0 -14 Td \
    (mant bud.) Tj 0 -40 Td [(Sec) -20 (ond) -500 (para)] TJ ET \
    BT /F 12 Tf 300 500 Td (Bold) Tj ET BT /F 12 Tf 300.2 500 Td (Bold) Tj ET";
const PAGE_3: &str = "q 0 1 -1 0 300 100 cm BT /F 9 Tf (turned ) Tj (page) Tj ET Q";

pub(super) fn three_pages() -> Vec<u8> {
    let contents = vec![
        stream("/Filter /FlateDecode", &deflated(PAGE_1.as_bytes())),
        stream("", b""),
        stream("", PAGE_3.as_bytes()),
    ];
    let information = b"<</Title <FEFF004200FC0064> /Author (Ann)>>".to_vec();
    pages(contents, "", vec![information], "/Info 3 0 R")
}

#[test]
fn pages_have_words_lines_and_paragraphs() {
    let extracted = extracted("a.pdf", three_pages());
    assert_eq!(
        extracted.text,
        "A gemmule is a\ndormant bud.\n\nSecond para\n\nBold\n\nturned page"
    );
    assert_eq!(
        outline(&extracted),
        ["page 1", "A gemmule is a", "Second para", "Bold", "page 2", "page 3", "turned page"]
    );
    assert_eq!(extracted.title.as_deref(), Some("B\u{fc}d"));
    assert_eq!(extracted.meta["author"], json!("Ann"));
    assert_eq!(extracted.meta["pages"], json!(3));
}

#[test]
fn pages_without_text_are_skipped_and_too_many_refused() {
    let blank = pages(vec![stream("", b"0 0 10 10 re f")], "", Vec::new(), "");
    assert_eq!(refused("a.pdf", blank).reason(), "no text on its 1 pages, perhaps a scan");
    let limits = Limits { pages: 2, ..Limits::default() };
    let failure = checked("a.pdf", three_pages(), &limits).expect_err("three pages");
    assert_eq!(failure, Failure::Skipped("too large: 3 pages, the limit is 2".to_owned()));
}

#[test]
fn a_file_that_needs_a_password_fails() {
    let key = "00".repeat(32);
    let encrypt =
        format!("<</Filter /Standard /V 1 /R 2 /P -4 /O <{key}> /U <{key}>>>").into_bytes();
    let contents = vec![stream("", PAGE_3.as_bytes())];
    let trailer = "/Encrypt 3 0 R /ID [<00> <00>]";
    let locked = pages(contents, "", vec![encrypt], trailer);
    assert_eq!(
        refused("a.pdf", locked),
        Failure::Failed("encrypted; remove the password".to_owned())
    );
}

#[test]
fn a_page_tree_in_a_circle_ends() {
    let objects = [
        b"<</Type /Catalog /Pages 2 0 R>>".to_vec(),
        b"<</Type /Pages /Count 9 /Kids [2 0 R 3 0 R]>>".to_vec(),
        b"<</Type /Pages /Count 9 /Kids [2 0 R 3 0 R]>>".to_vec(),
    ];
    let failure = refused("a.pdf", pdf(&objects, ""));
    assert!(
        matches!(&failure, Failure::Failed(reason) if reason.starts_with("broken")),
        "{failure:?}"
    );
}

#[test]
fn streams_that_unfold_too_far_are_refused_however_they_are_wrapped() {
    let zeros = vec![b' '; 4 << 20];
    let once = deflated(&zeros);
    let twice = deflated(&once);
    let hex: Vec<u8> = once.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect();
    let lzw = spaces_in_lzw();
    // A stored block whose first byte passes for zlib's, and then the bomb without a header.
    let mut bare = b"\x78\x01\x00\xfe\xff\x00".to_vec();
    bare.extend(&once[2..]);
    let limits = Limits { inflated_bytes: 1 << 20, ..Limits::default() };
    for (dictionary, data) in [
        ("/Filter /FlateDecode", &once),
        ("/Filter /F#6cateDecode", &once),
        ("/Filter 9 0 R", &once),
        ("/Type /ObjStm /N 1 /First 4 /Filter /FlateDecode", &once),
        ("/Filter /FlateDecode", &bare),
        ("/Filter [/FlateDecode /FlateDecode]", &twice),
        ("/Filter 9 0 R", &twice),
        ("/Filter 9 0 R", &lzw),
        ("/Filter [/ASCIIHexDecode /FlateDecode]", &hex),
        ("/Filter /LZWDecode", &lzw),
        ("/Filter [/LZWDecode /FlateDecode]", &lzw),
    ] {
        let bomb = pages(vec![stream(dictionary, data)], "", Vec::new(), "");
        let failure = checked("a.pdf", bomb, &limits).expect_err(dictionary);
        assert!(failure.reason().starts_with("refused"), "{dictionary}: {failure:?}");
    }
    let picture = stream("/Subtype /Image /Filter /FlateDecode", &once);
    let contents = vec![stream("", PAGE_3.as_bytes())];
    let honest = pages(contents, "", vec![picture], "");
    assert!(checked("a.pdf", honest, &limits).is_ok());
}

/// More than a mebibyte of one byte in LZW: each code is the newest one, a byte longer than the last.
fn spaces_in_lzw() -> Vec<u8> {
    let (mut bits, mut bytes) = (Vec::new(), Vec::new());
    let mut push = |code: usize, width: usize| {
        bits.extend((0..width).rev().map(|bit| code >> bit & 1 == 1));
    };
    push(256, 9);
    push(32, 9);
    for code in 258..4090 {
        // The table has grown to `code` entries; PDF widens one code early.
        let width = match code + 1 {
            0..=511 => 9,
            512..=1023 => 10,
            1024..=2047 => 11,
            _ => 12,
        };
        push(code, width);
    }
    for byte in bits.chunks(8) {
        bytes.push(
            byte.iter().enumerate().fold(0, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at)),
        );
    }
    bytes
}

#[test]
fn forms_that_call_each_other_without_end_run_out_of_time() {
    let n_forms = 40;
    let form = |idx: usize| {
        let next = (3 + idx + 1).min(2 + n_forms);
        let dictionary = format!(
            "/Type /XObject /Subtype /Form /BBox [0 0 600 800] /Resources <</XObject <</X {next} 0 R>>>>"
        );
        stream(&dictionary, b"/X Do /X Do /X Do /X Do")
    };
    let forms = (0..n_forms).map(form).collect();
    let bomb = pages(vec![stream("", b"/X Do")], "/XObject <</X 3 0 R>>", forms, "");
    let limits = Limits { time: Duration::from_millis(300), ..Limits::default() };
    let started = Instant::now();
    let failure = checked("a.pdf", bomb, &limits).expect_err("no end");
    assert_eq!(failure, Failure::Failed("took longer than 0.3 s".to_owned()));
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
