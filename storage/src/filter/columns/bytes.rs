//! Reading bytes that are not trusted, and writing them.

/// What is wrong with a section `META`.
pub(crate) type Problem = &'static str;

pub(super) const TOO_SHORT: Problem = "section META is too short";

/// The bytes not yet read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, n_bytes: usize) -> Result<&'a [u8], Problem> {
        let (taken, rest) = self.0.split_at_checked(n_bytes).ok_or(TOO_SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let (array, rest) = self.0.split_first_chunk().ok_or(TOO_SHORT)?;
        self.0 = rest;
        Ok(*array)
    }

    /// A list of `n` things of `N` bytes.
    pub(super) fn arrays<const N: usize>(&mut self, n: usize) -> Result<&'a [[u8; N]], Problem> {
        let bytes = self.take(n.checked_mul(N).ok_or(TOO_SHORT)?)?;
        Ok(bytes.as_chunks().0)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Problem> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Problem> {
        self.array().map(u32::from_le_bytes)
    }

    /// A length or an offset of eight bytes.
    pub(super) fn size(&mut self) -> Result<usize, Problem> {
        usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| TOO_SHORT)
    }

    /// A length of one to five bytes, seven bits in each, lowest first.
    pub(super) fn varint(&mut self) -> Result<usize, Problem> {
        let mut value = 0_usize;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.u8()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a length in section META does not end")
    }
}

/// Appends a length as [`Reader::varint`] reads it.
///
/// # Panics
/// If it is 2^35 or more: texts of metadata have at most 64 MiB.
pub(super) fn put_varint(bytes: &mut Vec<u8>, mut value: usize) {
    assert!(value >> 35 == 0, "a length of {value}");
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Part `idx` of bytes that were written one after the other, from where each ends.
pub(super) fn part<'a>(ends: &[[u8; 8]], bytes: &'a [u8], idx: usize) -> Result<&'a [u8], Problem> {
    let end_of = |idx: usize| {
        let end = ends.get(idx).ok_or(TOO_SHORT)?;
        usize::try_from(u64::from_le_bytes(*end)).map_err(|_| TOO_SHORT)
    };
    let start = idx.checked_sub(1).map_or(Ok(0), end_of)?;
    bytes.get(start..end_of(idx)?).ok_or("a part of section META lies outside of it")
}
