//! From bytes to characters.
//!
//! UTF-8 is taken as it is. Else a byte order mark decides, then NUL bytes in every other place (UTF-16
//! without a mark), then chardetng's guess. A text that is UTF-8 but for a few broken places stays UTF-8
//! with U+FFFD in those places: a guess would spoil every other character of it. What could not be
//! decoded is counted in `meta["undecodable"]`, what it was decoded from stands in `meta["encoding"]`.
//!
//! A byte order mark is no text: a file with one is decoded ([`Offsets::Text`]) so that nothing is
//! embedded with an invisible character in front.

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use serde_json::{Map, Value};

use super::{Failure, Offsets};

/// More control characters than one in so many bytes, and it is no text.
const BYTES_PER_CONTROL: usize = 100;

/// How many bytes the guess looks at.
const SAMPLE_BYTES: usize = 1 << 20;

/// A decoded text.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) text: String,
    pub(super) offsets: Offsets,
    /// `encoding` and `undecodable`, where there is something to say.
    pub(super) meta: Map<String, Value>,
}

/// Decodes a text file.
pub(super) fn decode(bytes: Vec<u8>) -> Result<Decoded, Failure> {
    if let Some((encoding, mark_bytes)) = Encoding::for_bom(&bytes) {
        return Ok(decode_as(encoding, &bytes[mark_bytes..], true));
    }
    if bytes.contains(&0) {
        return match utf_16_without_mark(&bytes) {
            Some(encoding) => Ok(decode_as(encoding, &bytes, false)),
            None => Err(binary()),
        };
    }
    let bytes = match String::from_utf8(bytes) {
        Ok(text) if is_noise(text.as_bytes()) => return Err(binary()),
        Ok(text) => return Ok(Decoded { text, offsets: Offsets::Source, meta: Map::new() }),
        Err(error) => error.into_bytes(),
    };
    if is_noise(&bytes) {
        return Err(binary());
    }
    Ok(decode_as(guess(&bytes), &bytes, false))
}

/// Decodes with an encoding that is known.
pub(super) fn decode_as(encoding: &'static Encoding, bytes: &[u8], marked: bool) -> Decoded {
    let (text, had_errors) = encoding.decode_without_bom_handling(bytes);
    let mut meta = Map::new();
    let name = match marked {
        true => format!("{} with byte order mark", encoding.name()),
        false => encoding.name().to_owned(),
    };
    meta.insert("encoding".to_owned(), Value::from(name));
    if had_errors {
        let n_undecodable = text.matches('\u{fffd}').count();
        meta.insert("undecodable".to_owned(), Value::from(n_undecodable));
    }
    Decoded { text: text.into_owned(), offsets: Offsets::Text, meta }
}

/// The likeliest encoding of bytes that are not UTF-8 throughout.
pub(super) fn guess(bytes: &[u8]) -> &'static Encoding {
    let (n_right, n_wrong) = utf_8_sequences(bytes);
    if n_right > n_wrong.saturating_mul(4) {
        return UTF_8;
    }
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(sample, true);
    detector.guess(None, Utf8Detection::Deny)
}

/// How many multi-byte UTF-8 sequences there are, and how many broken places.
fn utf_8_sequences(bytes: &[u8]) -> (usize, usize) {
    let (mut n_right, mut n_wrong) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        n_right += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        n_wrong += usize::from(!chunk.invalid().is_empty());
    }
    (n_right, n_wrong)
}

/// UTF-16 of mostly Latin text has a NUL in nearly every other byte, on one side only.
fn utf_16_without_mark(bytes: &[u8]) -> Option<&'static Encoding> {
    let sample = &bytes[..bytes.len().min(4096) & !1];
    if sample.is_empty() || bytes.len() % 2 == 1 {
        return None;
    }
    let nuls = |side: usize| sample.iter().skip(side).step_by(2).filter(|&&byte| byte == 0).count();
    let (even, odd, n_pairs) = (nuls(0), nuls(1), sample.len() / 2);
    let encoding = match () {
        () if odd * 10 >= n_pairs * 6 && even * 20 <= n_pairs => UTF_16LE,
        () if even * 10 >= n_pairs * 6 && odd * 20 <= n_pairs => UTF_16BE,
        () => return None,
    };
    let (text, had_errors) = encoding.decode_without_bom_handling(bytes);
    (!had_errors && !is_noise(text.as_bytes())).then_some(encoding)
}

/// Whether there are more control characters than any text has.
fn is_noise(bytes: &[u8]) -> bool {
    let n_controls = bytes
        .iter()
        .filter(|&&byte| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b))
        .count();
    n_controls > bytes.len() / BYTES_PER_CONTROL + 1
}

fn binary() -> Failure {
    Failure::Skipped("binary file".to_owned())
}
