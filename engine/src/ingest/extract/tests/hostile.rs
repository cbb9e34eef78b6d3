//! Files that are cut short, changed at random, or noise: each ends, and ends well.

use std::time::{Duration, Instant};

use super::office::{docx, epub, pptx};
use super::pdf::three_pages;
use super::*;

/// Far more than any of these files needs, on any machine that runs tests.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

fn fixtures() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a.md", "---\ntitle: \"a\nlist: [1, '2\n---\n# \u{e9} *a* `b\n\n- x\n  - y\n\n|a|\n|-|\n".into()),
        ("a.rst", "A: b\n\n\u{e9}\u{e9}\n==\n\ntext::\n\n    code\n".into()),
        ("a.py", "import a\n\ndef \u{e9}():\n    pass\n".into()),
        ("a.json", r#"{"a": [1, {"b": "\ud800 \u{e9}"}], "c": null}"#.into()),
        ("a.ipynb", r##"{"cells": [{"cell_type": "markdown", "source": ["# \u{e9}"]}]}"##.into()),
        ("a.jsonl", "{\"a\": \"\u{e9}\"}\n{}\n".into()),
        ("a.csv", "a,\"\u{e9}\nb\"\nc,d\n".into()),
        ("a.xml", "<?xml version='1.0'?><a x='1'><title>&amp;\u{e9}</title><!-- c --><b/></a>".into()),
        (
            "a.html",
            "<!doctype html><title>\u{e9}</title><nav>n</nav><p>a<table><tr><td>b<td>c</table><pre>\n d</pre>"
                .into(),
        ),
        ("a.docx", docx()),
        ("a.pptx", pptx()),
        ("a.epub", epub()),
        ("a.pdf", three_pages()),
    ]
}

/// Numbers that look random: Marsaglia's xorshift.
struct Noise(u64);

impl Noise {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }
}

/// Runs one hostile file; what it comes to does not matter, that it comes to something does.
fn survives(name: &str, bytes: Vec<u8>) {
    let started = Instant::now();
    drop(checked(name, bytes, &Limits::default()));
    assert!(started.elapsed() < ENDS_WITHIN, "{name}: {:?}", started.elapsed());
}

#[test]
fn files_cut_short_anywhere_end_well() {
    for (name, bytes) in fixtures() {
        let step = (bytes.len() / 100).max(1);
        for end in (0..bytes.len()).step_by(step) {
            survives(name, bytes[..end].to_vec());
        }
    }
}

#[test]
fn files_changed_at_random_end_well() {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for (name, bytes) in fixtures() {
        for _ in 0..150 {
            let mut changed = bytes.clone();
            for _ in 0..1 + noise.below(8) {
                let at = noise.below(changed.len());
                match noise.below(3) {
                    0 => changed[at] = noise.byte(),
                    1 => drop(changed.remove(at)),
                    _ => changed.insert(at, noise.byte()),
                }
            }
            survives(name, changed);
        }
    }
}

#[test]
fn noise_under_any_name_ends_well() {
    let mut noise = Noise(42);
    for (name, bytes) in fixtures() {
        for len in [1, 2, 5, 100, 3000] {
            let random: Vec<u8> = (0..len).map(|_| noise.byte()).collect();
            let mut headed = bytes[..bytes.len().min(9)].to_vec();
            headed.extend(&random);
            survives(name, random);
            survives(name, headed);
        }
    }
}

#[test]
fn deep_nesting_ends_well() {
    let n_deep = 100_000;
    for (name, open) in [
        ("a.md", ">"),
        ("a.md", "["),
        ("a.md", "- "),
        ("a.md", "*a_"),
        ("a.html", "<div>"),
        ("a.html", "<table><tr><td>"),
        ("a.xml", "<a>"),
        ("a.json", "["),
        ("a.ipynb", "{\"cells\":["),
    ] {
        survives(name, open.repeat(n_deep).into_bytes());
    }
    let document = "<w:p><w:t>a".repeat(n_deep);
    survives("a.docx", office::archive(&[("word/document.xml", &document)]));
}

#[test]
fn a_reader_that_panics_or_takes_too_long_is_a_failure() {
    let limits = Limits { time: Duration::from_millis(50), ..Limits::default() };
    let watch = run::Watch::new(&limits);
    let failure = run::guarded(&watch, |watch| {
        loop {
            watch.check()?;
            std::thread::yield_now();
        }
    });
    assert_eq!(failure, Err(Failure::Failed("took longer than 0.05 s".to_owned())));
    let watch = run::Watch::new(&Limits::default());
    let failure = run::guarded(&watch, |_| {
        assert!(on_extracting_thread());
        panic!("on page {}", 3)
    });
    let reason = "broken in a way its reader did not expect: on page 3";
    assert_eq!(failure, Err(Failure::Failed(reason.to_owned())));
    assert!(!on_extracting_thread());
    let failure = run::guarded(&watch, |_| run::unwind_with(empty()));
    assert_eq!(failure, Err(empty()));
}
