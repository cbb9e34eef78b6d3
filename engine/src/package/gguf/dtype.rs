//! How a tensor's numbers are stored: the block formats of ggml that are read here.
//!
//! A row is cut into blocks of equal length; each block holds its own scale. Names and codes are
//! ggml's. The `IQ`, `TQ` and two- and three-bit formats are left out: nobody publishes this model
//! in them, and at three bits its vectors are no longer worth having.

/// The storage format of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// 32 values: an f16 scale, 32 signed bytes.
    Q8_0,
    /// 32 values: an f16 scale, 32 nibbles less 8.
    Q4_0,
    /// 32 values: an f16 scale and minimum, 32 nibbles.
    Q4_1,
    /// 32 values: as `Q4_0` with a fifth bit, less 16.
    Q5_0,
    /// 32 values: as `Q4_1` with a fifth bit.
    Q5_1,
    /// 256 values in 8 groups with 6-bit scales and minima, 4 bits a value.
    Q4K,
    /// 256 values in 8 groups with 6-bit scales and minima, 5 bits a value.
    Q5K,
    /// 256 values in 16 groups with 8-bit scales, 6 bits a value.
    Q6K,
}

struct Layout {
    dtype: Dtype,
    code: u32,
    name: &'static str,
    block_len: usize,
    block_bytes: usize,
}

const fn layout(
    dtype: Dtype,
    code: u32,
    name: &'static str,
    block_len: usize,
    block_bytes: usize,
) -> Layout {
    Layout { dtype, code, name, block_len, block_bytes }
}

/// In the order of [`Dtype`], so that a variant is its index here.
const LAYOUTS: [Layout; 11] = [
    layout(Dtype::F32, 0, "F32", 1, 4),
    layout(Dtype::F16, 1, "F16", 1, 2),
    layout(Dtype::Bf16, 30, "BF16", 1, 2),
    layout(Dtype::Q8_0, 8, "Q8_0", 32, 34),
    layout(Dtype::Q4_0, 2, "Q4_0", 32, 18),
    layout(Dtype::Q4_1, 3, "Q4_1", 32, 20),
    layout(Dtype::Q5_0, 6, "Q5_0", 32, 22),
    layout(Dtype::Q5_1, 7, "Q5_1", 32, 24),
    layout(Dtype::Q4K, 12, "Q4_K", 256, 144),
    layout(Dtype::Q5K, 13, "Q5_K", 256, 176),
    layout(Dtype::Q6K, 14, "Q6_K", 256, 210),
];

/// Codes that ggml knows and this reader does not, so that a refusal can name them.
const UNREAD: [(u32, &str); 24] = [
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
    (41, "Q1_0"),
    (42, "Q2_0"),
];

impl Dtype {
    /// Every format that is read.
    pub const ALL: [Dtype; 11] = {
        let mut all = [Dtype::F32; 11];
        let mut i = 0;
        while i < all.len() {
            all[i] = LAYOUTS[i].dtype;
            i += 1;
        }
        all
    };

    /// The format with ggml's code, or a name for the refusal.
    pub(super) fn from_code(code: u32) -> Result<Dtype, String> {
        if let Some(layout) = LAYOUTS.iter().find(|layout| layout.code == code) {
            return Ok(layout.dtype);
        }
        match UNREAD.iter().find(|(unread, _)| *unread == code) {
            Some((_, name)) => Err(format!("of type {name}")),
            None => Err(format!("of the unknown type {code}")),
        }
    }

    fn layout(self) -> &'static Layout {
        &LAYOUTS[self as usize]
    }

    /// ggml's code for it.
    pub fn code(self) -> u32 {
        self.layout().code
    }

    /// ggml's name for it.
    pub fn name(self) -> &'static str {
        self.layout().name
    }

    /// How many numbers share a block; a row is a multiple of it.
    pub fn block_len(self) -> usize {
        self.layout().block_len
    }

    /// The size of a block.
    pub fn block_bytes(self) -> usize {
        self.layout().block_bytes
    }

    /// The size of a row, or `None` if `row_len` is not a whole number of blocks (or overflows).
    pub fn row_bytes(self, row_len: usize) -> Option<usize> {
        let Layout { block_len, block_bytes, .. } = *self.layout();
        if row_len.is_multiple_of(block_len) {
            (row_len / block_len).checked_mul(block_bytes)
        } else {
            None
        }
    }

    /// This format, or the nearest finer one in which a row of this length can be written: a
    /// `Q6_K` row that is no multiple of 256 becomes `Q8_0`, a `Q8_0` or `Q4_0` row that is no
    /// multiple of 32 becomes `F16`.
    pub fn that_fits(self, row_len: usize) -> Dtype {
        let finer = match self {
            _ if row_len.is_multiple_of(self.block_len()) => return self,
            Dtype::Q4K => Dtype::Q5_0,
            Dtype::Q5K => Dtype::Q5_1,
            Dtype::Q6K => Dtype::Q8_0,
            _ => return Dtype::F16,
        };
        finer.that_fits(row_len)
    }
}
