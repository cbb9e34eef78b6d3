//! Bytes that begin on a cache line, as vector loads and AMX tiles like them best.

use std::io;

const LINE: usize = 64;

#[derive(Clone, Copy)]
#[repr(align(64))]
#[expect(dead_code, reason = "read through the slices below")]
struct Line([u8; LINE]);

/// A growing buffer of bytes, aligned to 64.
#[derive(Default)]
pub(crate) struct Lines {
    lines: Vec<Line>,
    n_bytes: usize,
}

impl Lines {
    /// Sets the length. What is new is zero or left over from before.
    pub(crate) fn resize(&mut self, n_bytes: usize) {
        let n_lines = n_bytes.div_ceil(LINE);
        if self.lines.len() < n_lines {
            self.lines.resize(n_lines, Line([0; LINE]));
        }
        self.n_bytes = n_bytes;
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: a line is 64 bytes without padding, and `n_bytes` lie in the lines that there are.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.n_bytes) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; every byte pattern is a line.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.n_bytes) }
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let at = self.n_bytes;
        self.resize(at + bytes.len());
        self.bytes_mut()[at..].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
