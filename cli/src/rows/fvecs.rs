//! The layout of the TEXMEX sets (SIFT1M and others): <http://corpus-texmex.irisa.fr>.

use std::io::{self, Read, Write};

use anyhow::{Context, ensure};

use super::MAX_WIDTH;

/// Rows that are read one by one.
pub(super) struct Reader<R> {
    bytes: R,
    n_read: usize,
    row: Vec<u8>,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(bytes: R) -> Reader<R> {
        Reader { bytes, n_read: 0, row: Vec::new() }
    }

    /// Reads the next row into `row`; false after the last.
    pub(super) fn next_row(&mut self, row: &mut Vec<f32>) -> anyhow::Result<bool> {
        row.clear();
        let row_idx = self.n_read;
        let mut width = Vec::new();
        self.bytes.by_ref().take(4).read_to_end(&mut width)?;
        if width.is_empty() {
            return Ok(false);
        }
        let width = <[u8; 4]>::try_from(width)
            .ok()
            .with_context(|| format!("row {row_idx} is not whole: the file ends in its width"))?;
        let width = i32::from_le_bytes(width);
        ensure!(
            (1..=MAX_WIDTH as i32).contains(&width),
            "row {row_idx} should have {width} numbers: no such width is read"
        );
        self.row.resize(width as usize * size_of::<f32>(), 0);
        self.bytes.read_exact(&mut self.row).with_context(|| {
            format!("row {row_idx} should have {width} numbers and is not whole")
        })?;
        self.n_read += 1;
        row.extend(self.row.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)));
        Ok(true)
    }
}

/// Writes a row.
pub(super) fn write_row(out: &mut impl Write, row: &[f32]) -> io::Result<()> {
    out.write_all(&(row.len() as i32).to_le_bytes())?;
    row.iter().try_for_each(|x| out.write_all(&x.to_le_bytes()))
}
