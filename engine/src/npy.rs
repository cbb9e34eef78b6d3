//! NumPy's file of one matrix: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.
//!
//! Written in version 1.0; read in all versions, float16, float32 and float64, little endian, row by row.

use std::io::{self, Read, Write};

use half::f16;

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The data begins at a multiple of this.
const ALIGNMENT: usize = 64;

/// A header is a few words; a longer one is no header.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// Writes rows of equal width as little-endian float32. `rows`: `[n, dims]`, also where n is 0.
///
/// # Errors
/// The writer's.
///
/// # Panics
/// If a row has another width.
pub fn write(out: &mut impl Write, rows: &[Vec<f32>], dims: usize) -> io::Result<()> {
    write_header(out, rows.len(), dims)?;
    for row in rows {
        assert_eq!(row.len(), dims, "a matrix has rows of equal width");
        write_row(out, row)?;
    }
    Ok(())
}

/// Writes what stands before `n_rows` rows of `dims` numbers.
///
/// # Errors
/// The writer's.
pub fn write_header(out: &mut impl Write, n_rows: usize, dims: usize) -> io::Result<()> {
    let shape = format!("({n_rows}, {dims})");
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    let unpadded = MAGIC.len() + 2 + size_of::<u16>() + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(ALIGNMENT) - unpadded));
    header.push('\n');
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&(header.len() as u16).to_le_bytes())?;
    out.write_all(header.as_bytes())
}

/// Writes a row; as many must follow as the header says, all of its width.
///
/// # Errors
/// The writer's.
pub fn write_row(out: &mut impl Write, row: &[f32]) -> io::Result<()> {
    let bytes: Vec<u8> = row.iter().flat_map(|x| x.to_le_bytes()).collect();
    out.write_all(&bytes)
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Float {
    F16,
    F32,
    F64,
}

impl Float {
    fn n_bytes(self) -> usize {
        match self {
            Float::F16 => 2,
            Float::F32 => 4,
            Float::F64 => 8,
        }
    }
}

/// A matrix that is read row by row.
pub struct Reader<R> {
    bytes: R,
    float: Float,
    n_rows: usize,
    width: usize,
    n_read: usize,
    row: Vec<u8>, // [width * bytes of a number]
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// `InvalidData`, with what is wrong, if it is no such file; else the reader's own.
    pub fn new(mut bytes: R) -> io::Result<Reader<R>> {
        let mut start = [0; 8];
        bytes
            .read_exact(&mut start)
            .map_err(|e| wrong_if_short(e, "it is too short for an npy file"))?;
        let [magic @ .., version, _] = start;
        if magic != *MAGIC {
            return Err(wrong("it does not begin as an npy file does"));
        }
        let header_bytes = match version {
            1 => {
                let mut n_bytes = [0; 2];
                bytes.read_exact(&mut n_bytes).map_err(cut_short)?;
                usize::from(u16::from_le_bytes(n_bytes))
            }
            2 | 3 => {
                let mut n_bytes = [0; 4];
                bytes.read_exact(&mut n_bytes).map_err(cut_short)?;
                u32::from_le_bytes(n_bytes) as usize
            }
            other => {
                let problem = format!("it has version {other} of the npy format; 1 to 3 are read");
                return Err(wrong(problem));
            }
        };
        if header_bytes > MAX_HEADER_BYTES {
            let most = MAX_HEADER_BYTES;
            let problem =
                format!("its header should have {header_bytes} bytes; {most} is the most");
            return Err(wrong(problem));
        }
        let mut header = vec![0; header_bytes];
        bytes.read_exact(&mut header).map_err(cut_short)?;
        let header = String::from_utf8(header).map_err(|_| wrong("its header is not text"))?;
        let (float, n_rows, width) = parse(&header)?;
        let row = vec![0; width * float.n_bytes()];
        Ok(Reader { bytes, float, n_rows, width, n_read: 0, row })
    }

    /// Rows that the header promises.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Numbers in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Reads the next row into `row`; false after the last.
    ///
    /// # Errors
    /// If the file ends before, or cannot be read.
    pub fn next_row(&mut self, row: &mut Vec<f32>) -> io::Result<bool> {
        row.clear();
        if self.n_read == self.n_rows {
            if self.bytes.read(&mut [0])? > 0 {
                let n_rows = self.n_rows;
                let problem =
                    format!("its header promises {n_rows} rows, and more bytes follow them");
                return Err(wrong(problem));
            }
            return Ok(false);
        }
        self.bytes.read_exact(&mut self.row).map_err(|e| {
            let (n_rows, n_read) = (self.n_rows, self.n_read);
            let problem = format!("its header promises {n_rows} rows, row {n_read} is not whole");
            wrong_if_short(e, problem)
        })?;
        self.n_read += 1;
        match self.float {
            Float::F16 => {
                row.extend(self.row.as_chunks().0.iter().map(|x| f16::from_le_bytes(*x).to_f32()))
            }
            Float::F32 => row.extend(self.row.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x))),
            Float::F64 => {
                row.extend(self.row.as_chunks().0.iter().map(|x| f64::from_le_bytes(*x) as f32))
            }
        }
        Ok(true)
    }
}

/// Reads the header's dictionary: the form of a number, rows, numbers in a row.
fn parse(header: &str) -> io::Result<(Float, usize, usize)> {
    let value = |key: &str| -> io::Result<&str> {
        let quoted = [format!("'{key}':"), format!("\"{key}\":")];
        let at = quoted.iter().find_map(|key| Some(header.find(key)? + key.len()));
        let at = at.ok_or_else(|| wrong(format!("its header has no '{key}'")))?;
        Ok(header[at..].trim_start())
    };
    let descr = value("descr")?;
    let descr = descr.trim_start_matches(['\'', '"']);
    let float = match descr.split(['\'', '"']).next().unwrap_or_default() {
        "<f2" => Float::F16,
        "<f4" => Float::F32,
        "<f8" => Float::F64,
        other => {
            let problem = format!("its numbers are '{other}'; <f2, <f4 and <f8 are read");
            return Err(wrong(problem));
        }
    };
    if !value("fortran_order")?.starts_with("False") {
        return Err(wrong("it is in Fortran order: save it with numpy.ascontiguousarray"));
    }
    let shape = value("shape")?;
    let inner = shape.strip_prefix('(').and_then(|shape| shape.split(')').next());
    let sides: Result<Vec<usize>, _> = inner
        .ok_or_else(|| wrong("the shape in its header has no brackets"))?
        .split(',')
        .map(str::trim)
        .filter(|side| !side.is_empty())
        .map(str::parse)
        .collect();
    match sides.map_err(|_| wrong("the shape in its header is not of whole numbers"))?[..] {
        [n_rows, width] if width > 0 && width <= 1 << 20 => Ok((float, n_rows, width)),
        [n_rows, width] => {
            Err(wrong(format!("its shape is ({n_rows}, {width}): no such width is read")))
        }
        ref other => Err(wrong(format!("it has {} axes; a matrix has 2", other.len()))),
    }
}

fn wrong(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.into())
}

/// A file that ends too soon is a damaged one; other errors are the system's.
fn wrong_if_short(error: io::Error, problem: impl Into<String>) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { wrong(problem) } else { error }
}

fn cut_short(error: io::Error) -> io::Error {
    wrong_if_short(error, "its header is cut short")
}
