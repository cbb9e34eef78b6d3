//! What the streams of a PDF unfold to, measured before anything keeps it.
//!
//! A megabyte of deflate can unfold to a gigabyte, and PDF lets filters be stacked. The library that reads
//! the file unfolds a stream into memory, whole. So each stream is first unfolded here into nothing, with
//! the bytes counted, and a file beyond [`super::super::Limits::inflated_bytes`] is refused.
//!
//! Streams are found by their keyword, not through the file's tables, which a hostile file may bend.
//! Filters are read from the dictionary before the keyword; deflate is tried with and without a zlib
//! header, since readers try both, and behind ASCII filters. Filters that the dictionary does not name
//! itself (`/Filter 9 0 R`) may be any of them, so all are tried. The length of LZW streams is counted from
//! their codes. What no producer makes is refused rather than followed: deflate more than twice over, and
//! LZW or run lengths stacked with another compression.
//!
//! Pictures are not unfolded later, and honest ones are large: a stream that calls itself one counts for
//! a sixteenth. What this leaves out: streams of a file that is encrypted with an empty password cannot
//! be measured; they are bounded by the time limit alone.

use std::cell::Cell;
use std::io::{self, Read};

use flate2::read::{DeflateDecoder, ZlibDecoder};

use super::super::Failure;
use super::super::run::{Watch, size};

/// How far back from a stream its dictionary is looked for.
const DICTIONARY_BYTES: usize = 2048;

/// Bytes of a picture that count as one.
const PICTURE_SHARE: u64 = 16;

/// Refuses a file whose streams unfold to too much.
pub(super) fn check(bytes: &[u8], watch: &Watch) -> Result<(), Failure> {
    let left = Cell::new(watch.limits.inflated_bytes);
    let too_much = || {
        let limit = size(watch.limits.inflated_bytes);
        Failure::Failed(format!("refused: its streams unfold to more than {limit}"))
    };
    for (dictionary, data) in streams(bytes) {
        watch.check()?;
        let names = Names::of(dictionary);
        let spent = Cell::new(left.get());
        if names.is_picture {
            spent.set(left.get().saturating_mul(PICTURE_SHARE));
        }
        let before = spent.get();
        if names.n_deflate > 2 || (names.other_compression && names.n_deflate > 0) {
            return Err(Failure::Failed("refused: a stream is compressed twice over".to_owned()));
        }
        if measure(data, &names, &spent).is_err() {
            return Err(too_much());
        }
        let mut n_unfolded = before - spent.get();
        if names.is_picture {
            n_unfolded /= PICTURE_SHARE;
        }
        left.set(left.get().checked_sub(n_unfolded).ok_or_else(too_much)?);
    }
    Ok(())
}

/// Every place that looks like a stream: the bytes before it, and those from its start on.
fn streams(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let keyword = b"stream";
    memchr::memmem::find_iter(bytes, keyword).filter_map(move |at| {
        let before = &bytes[at.saturating_sub(DICTIONARY_BYTES)..at];
        if before.ends_with(b"end") {
            return None;
        }
        let start = memchr::memmem::rfind(before, b"obj").unwrap_or(0);
        let data = bytes[at + keyword.len()..].trim_ascii_start();
        Some((&before[start..], data))
    })
}

/// What a stream's dictionary names.
struct Names {
    n_deflate: usize,
    other_compression: bool,
    ascii_85: bool,
    ascii_hex: bool,
    lzw: bool,
    /// It has a filter, but not one that we know by its name.
    indirect: bool,
    is_picture: bool,
}

impl Names {
    fn of(dictionary: &[u8]) -> Names {
        let dictionary = plain_names(dictionary);
        let count = |name: &[u8]| {
            let ends = |at: &usize| {
                !dictionary.get(at + name.len()).is_some_and(u8::is_ascii_alphanumeric)
            };
            memchr::memmem::find_iter(&dictionary, name).filter(ends).count()
        };
        let has = |long: &[u8], short: &[u8]| count(long) + count(short) > 0;
        let n_deflate = count(b"/FlateDecode") + count(b"/Fl");
        let (ascii_85, ascii_hex) =
            (has(b"/ASCII85Decode", b"/A85"), has(b"/ASCIIHexDecode", b"/AHx"));
        let (lzw, runs) = (has(b"/LZWDecode", b"/LZW"), has(b"/RunLengthDecode", b"/RL"));
        let pictures = has(b"/DCTDecode", b"/DCT")
            || has(b"/CCITTFaxDecode", b"/CCF")
            || has(b"/JPXDecode", b"/JBIG2Decode");
        let known = n_deflate > 0 || ascii_85 || ascii_hex || lzw || runs || pictures;
        Names {
            n_deflate,
            other_compression: lzw || runs,
            ascii_85,
            ascii_hex,
            lzw,
            indirect: has(b"/Filter", b"/F") && !known,
            is_picture: count(b"/Image") > 0 && !has(b"/ObjStm", b"/XRef"),
        }
    }
}

/// Names may be written with `#46` for `F`.
fn plain_names(dictionary: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(dictionary.len());
    let mut at = 0;
    while let Some(&byte) = dictionary.get(at) {
        let code = dictionary.get(at + 1..at + 3).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(code) if byte == b'#' => {
                plain.push(code);
                at += 3;
            }
            _ => {
                plain.push(byte);
                at += 1;
            }
        }
    }
    plain
}

/// Unfolds a stream in every way that may apply; an error means there is nothing left to spend.
fn measure(data: &[u8], names: &Names, left: &Cell<u64>) -> Result<(), Exhausted> {
    if names.lzw || names.indirect {
        spend(left, lzw_bytes(data))?;
    }
    let n_layers = if names.indirect { 2 } else { names.n_deflate };
    let plain;
    let data = match (names.ascii_85, names.ascii_hex) {
        (true, _) => {
            plain = ascii_85(data);
            &plain
        }
        (_, true) => {
            plain = ascii_hex(data);
            &plain
        }
        _ => data,
    };
    for outer in HEADERS.into_iter().filter(|_| n_layers > 0) {
        drain(inflate(data, outer), left)?;
        for inner in HEADERS.into_iter().filter(|_| n_layers > 1) {
            let layer = Metered { inner: inflate(data, outer), left };
            drain(inflate(layer, inner), left)?;
        }
    }
    Ok(())
}

/// There is nothing left to spend.
struct Exhausted;

fn spend(left: &Cell<u64>, n_bytes: u64) -> Result<(), Exhausted> {
    left.set(left.get().checked_sub(n_bytes).ok_or(Exhausted)?);
    Ok(())
}

/// Whether deflated data begins with zlib's header.
#[derive(Clone, Copy)]
enum Header {
    Zlib,
    None,
}

const HEADERS: [Header; 2] = [Header::Zlib, Header::None];

fn inflate<'a>(data: impl Read + 'a, header: Header) -> Box<dyn Read + 'a> {
    match header {
        Header::Zlib => Box::new(ZlibDecoder::new(data)),
        Header::None => Box::new(DeflateDecoder::new(data)),
    }
}

/// Reads to the end, or to where the data breaks off: so far a reader keeps it.
fn drain(reader: impl Read, left: &Cell<u64>) -> Result<(), Exhausted> {
    match io::copy(&mut Metered { inner: reader, left }, &mut io::sink()) {
        Err(error) if is_exhausted(&error) => Err(Exhausted),
        _ => Ok(()),
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::QuotaExceeded
}

/// A reader that pays for each byte.
struct Metered<'a, R> {
    inner: R,
    left: &'a Cell<u64>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_read = self.inner.read(buffer)?;
        spend(self.left, n_read as u64)
            .map_err(|Exhausted| io::Error::from(io::ErrorKind::QuotaExceeded))?;
        Ok(n_read)
    }
}

/// The bytes behind ASCII-85, up to the first character that does not belong.
fn ascii_85(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut group, mut n_digits) = (0_u32, 0);
    for &byte in data {
        match byte {
            b'z' if n_digits == 0 => bytes.extend([0; 4]),
            b'!'..=b'u' => {
                group = group.wrapping_mul(85).wrapping_add(u32::from(byte - b'!'));
                n_digits += 1;
                if n_digits == 5 {
                    bytes.extend(group.to_be_bytes());
                    (group, n_digits) = (0, 0);
                }
            }
            _ if byte.is_ascii_whitespace() || byte == 0 => {}
            _ => break,
        }
    }
    if n_digits > 1 {
        let padded = (n_digits..5).fold(group, |group, _| group.wrapping_mul(85).wrapping_add(84));
        bytes.extend(&padded.to_be_bytes()[..n_digits - 1]);
    }
    bytes
}

/// The bytes behind hexadecimal digits, up to the first character that does not belong.
fn ascii_hex(data: &[u8]) -> Vec<u8> {
    let digits = data.iter().filter(|byte| !byte.is_ascii_whitespace());
    let digits: Vec<u8> =
        digits.map_while(|&byte| char::from(byte).to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0)).collect()
}

/// How many bytes an LZW stream unfolds to: each code's length follows from the code before it.
fn lzw_bytes(data: &[u8]) -> u64 {
    const CLEAR: usize = 256;
    const END: usize = 257;
    const CODES_MAX: usize = 4096;
    let mut lengths: Vec<u64> = vec![1; END + 1];
    let (mut n_bytes, mut last, mut bits, mut n_bits) = (0_u64, None, 0_u32, 0_u32);
    for &byte in data {
        bits = bits << 8 | u32::from(byte);
        n_bits += 8;
        // PDF's LZW widens its codes one code early unless told otherwise.
        let width = match lengths.len() + 1 {
            0..=511 => 9,
            512..=1023 => 10,
            1024..=2047 => 11,
            _ => 12,
        };
        if n_bits < width {
            continue;
        }
        n_bits -= width;
        let code = (bits >> n_bits) as usize & ((1 << width) - 1);
        match code {
            CLEAR => {
                lengths.truncate(END + 1);
                last = None;
            }
            END => break,
            _ => {
                let length = match (lengths.get(code), last) {
                    (Some(&length), _) => length,
                    (None, Some(last)) => last + 1,
                    (None, None) => break,
                };
                if let Some(last) = last
                    && lengths.len() < CODES_MAX
                {
                    lengths.push(last + 1);
                }
                n_bytes += length;
                last = Some(length);
            }
        }
    }
    n_bytes
}
