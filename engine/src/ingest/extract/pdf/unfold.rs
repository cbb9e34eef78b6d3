//! What the streams of a PDF unfold to, measured before anything keeps it.
//!
//! A megabyte of deflate can unfold to a gigabyte, and PDF lets filters be stacked. The library that reads
//! the file unfolds a stream into memory, whole. So each stream is first unfolded here into nothing, with
//! the bytes counted, and a file beyond [`super::super::Limits::inflated_bytes`] is refused.
//!
//! Streams are found by their keyword, not through the file's tables, which a hostile file may bend; each
//! is tried as zlib, as bare deflate, and behind ASCII filters, and what unfolds to zlib again is followed.
//! The length of LZW streams is counted from their codes. Two things are refused rather than followed:
//! LZW or run lengths stacked with another compression, which no producer makes.
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

/// How often deflate may be stacked on itself.
const LAYERS_MAX: usize = 8;

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
        if names.other_compression && names.deflate {
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
    deflate: bool,
    other_compression: bool,
    ascii_85: bool,
    ascii_hex: bool,
    lzw: bool,
    is_picture: bool,
}

impl Names {
    fn of(dictionary: &[u8]) -> Names {
        let dictionary = plain_names(dictionary);
        let has = |name: &[u8]| memchr::memmem::find(&dictionary, name).is_some();
        let lzw = has(b"LZW");
        Names {
            deflate: has(b"/Fl"),
            other_compression: lzw || has(b"/RunLength") || has(b"/RL"),
            ascii_85: has(b"/ASCII85Decode") || has(b"/A85"),
            ascii_hex: has(b"/ASCIIHexDecode") || has(b"/AHx"),
            lzw,
            is_picture: has(b"/Image") && !has(b"/ObjStm") && !has(b"/XRef"),
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
    if names.lzw {
        return spend(left, lzw_bytes(data));
    }
    if names.ascii_85 {
        let data = ascii_85(data);
        return inflate(Box::new(&*data), left, 0);
    }
    if names.ascii_hex {
        let data = ascii_hex(data);
        return inflate(Box::new(&*data), left, 0);
    }
    if is_zlib(data) {
        return inflate(Box::new(data), left, 0);
    }
    drain(DeflateDecoder::new(data), left).map(|_| ())
}

/// There is nothing left to spend.
struct Exhausted;

fn spend(left: &Cell<u64>, n_bytes: u64) -> Result<(), Exhausted> {
    left.set(left.get().checked_sub(n_bytes).ok_or(Exhausted)?);
    Ok(())
}

/// Whether two bytes are the header of a zlib stream.
fn is_zlib(head: &[u8]) -> bool {
    match *head {
        [method, flags, ..] => {
            method & 0x0f == 8 && u16::from_be_bytes([method, flags]).is_multiple_of(31)
        }
        _ => false,
    }
}

fn inflate<'a>(
    data: Box<dyn Read + 'a>,
    left: &'a Cell<u64>,
    n_layers: usize,
) -> Result<(), Exhausted> {
    let mut layer = Metered { inner: ZlibDecoder::new(data), left };
    let mut head = [0; 2];
    let n_head = read_some(&mut layer, &mut head)?;
    if n_layers < LAYERS_MAX && is_zlib(&head[..n_head]) {
        let whole = io::Cursor::new(head).chain(layer);
        return inflate(Box::new(whole), left, n_layers + 1);
    }
    match io::copy(&mut layer, &mut io::sink()) {
        Err(error) if is_exhausted(&error) => Err(Exhausted),
        // Where the data breaks off, so does what a reader can keep of it.
        _ => Ok(()),
    }
}

fn drain(reader: impl Read, left: &Cell<u64>) -> Result<u64, Exhausted> {
    match io::copy(&mut Metered { inner: reader, left }, &mut io::sink()) {
        Err(error) if is_exhausted(&error) => Err(Exhausted),
        outcome => Ok(outcome.unwrap_or(0)),
    }
}

/// Fills as much of `head` as there is.
fn read_some(reader: &mut impl Read, head: &mut [u8]) -> Result<usize, Exhausted> {
    let mut n_read = 0;
    while n_read < head.len() {
        match reader.read(&mut head[n_read..]) {
            Ok(0) => break,
            Ok(n) => n_read += n,
            Err(error) if is_exhausted(&error) => return Err(Exhausted),
            Err(_) => break,
        }
    }
    Ok(n_read)
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
