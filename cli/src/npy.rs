//! NumPy's file of one matrix, version 1.0: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::io::{self, Write};

/// The data begins at a multiple of this.
const ALIGNMENT: usize = 64;

/// Writes rows of equal width as little-endian float32. `rows`: `[n, dims]`, also where n is 0.
pub(crate) fn write(out: &mut impl Write, rows: &[Vec<f32>], dims: usize) -> io::Result<()> {
    const MAGIC: &[u8; 8] = b"\x93NUMPY\x01\x00";
    let shape = format!("({}, {dims})", rows.len());
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    let unpadded = MAGIC.len() + size_of::<u16>() + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(ALIGNMENT) - unpadded));
    header.push('\n');
    out.write_all(MAGIC)?;
    out.write_all(&(header.len() as u16).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    for row in rows {
        assert_eq!(row.len(), dims, "a matrix has rows of equal width");
        let bytes: Vec<u8> = row.iter().flat_map(|x| x.to_le_bytes()).collect();
        out.write_all(&bytes)?;
    }
    Ok(())
}
