//! Files of each kind, made here, and what comes of them.

use super::*;

mod hostile;
mod office;
mod pdf;
mod samples;
mod text;

/// Extracts with the default limits and checks what holds for every result.
pub(super) fn extracted(name: &str, bytes: impl Into<Vec<u8>>) -> Extracted {
    let outcome = checked(name, bytes.into(), &Limits::default());
    outcome.unwrap_or_else(|failure| panic!("{name}: {failure:?}"))
}

/// Why there was nothing to extract.
pub(super) fn refused(name: &str, bytes: impl Into<Vec<u8>>) -> Failure {
    let outcome = checked(name, bytes.into(), &Limits::default());
    outcome.err().unwrap_or_else(|| panic!("{name}: extracted after all"))
}

/// Extracts, and checks the promises that [`Extracted`] and [`Failure`] make.
pub(super) fn checked(name: &str, bytes: Vec<u8>, limits: &Limits) -> Result<Extracted, Failure> {
    let outcome = extract(Path::new(name), bytes.clone(), limits);
    match &outcome {
        Ok(extracted) => {
            let Extracted { text, marks, offsets, .. } = extracted;
            assert!(!text.trim().is_empty(), "{name}: blank text");
            if *offsets == Offsets::Source {
                assert!(text.as_bytes() == bytes, "{name}: the text is not the file");
            }
            assert!(marks.iter().all(|mark| text.is_char_boundary(mark.offset)), "{name}: mark");
            assert!(
                marks.is_sorted_by_key(|mark| (mark.offset, rank(&mark.kind))),
                "{name}: order"
            );
        }
        Err(failure) => {
            let reason = failure.reason();
            assert!(!reason.is_empty() && !reason.ends_with('.'), "{name}: {reason}");
        }
    }
    outcome
}

/// The marks as lines: `h2 Text`, `page 1`, or the first words of a block.
pub(super) fn outline(extracted: &Extracted) -> Vec<String> {
    let line = |mark: &Mark| match &mark.kind {
        MarkKind::Page(number) => format!("page {number}"),
        MarkKind::Heading { level, text } => format!("h{level} {text}"),
        MarkKind::Block => {
            let rest = extracted.text[mark.offset..].lines().next().unwrap_or_default();
            rest.chars().take(24).collect()
        }
    };
    extracted.marks.iter().map(line).collect()
}
