//! The link's matrices.

use crate::package::Matrix;

/// A low-rank change of token rows: `x + strength * U (V^T x)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// `[hidden, rank]`
    pub u: Matrix,
    /// `[hidden, rank]`
    pub v: Matrix,
    /// 0 for no change, 1 for all of it.
    pub strength: f32,
}
