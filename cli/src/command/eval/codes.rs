//! Vectors as their codes have them: what is lost by keeping less of each number.

use gemmule::storage::index::mrl;
use rayon::prelude::*;

use crate::args::Quant;
use crate::vector;

/// Cuts vectors to this width and replaces each by what its codes stand for. Documents, queries and
/// whatever is compared are coded alike.
///
/// `int8` has the codes of a segment: one scale a row, from its largest number, and unit length once
/// rounded. `binary` keeps of each number whether it lies above that of `mean`; such rows hold 1 and -1,
/// so that a product is a whole number, and equal products stay equal.
pub(super) fn coded(
    vectors: &[Vec<f32>],
    dims: usize,
    quant: Quant,
    mean: &[f32],
) -> Vec<Vec<f32>> {
    let code = |full: &Vec<f32>| {
        let cut = vector::cut(full, dims);
        match quant {
            Quant::F32 => cut,
            Quant::Int8 => {
                let codes: Vec<f32> =
                    mrl::quantise(&cut).codes.into_iter().map(f32::from).collect();
                mrl::cut(&codes, dims)
            }
            Quant::Binary => {
                let sign = |(x, mean): (&f32, &f32)| if x > mean { 1.0 } else { -1.0 };
                cut.iter().zip(mean).map(sign).collect()
            }
        }
    };
    vectors.par_iter().map(code).collect()
}

/// The mean of vectors of this width, which binary codes look from; zeros of no vectors.
pub(super) fn mean(vectors: &[Vec<f32>], dims: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; dims];
    for full in vectors {
        let cut = vector::cut(full, dims);
        sums.iter_mut().zip(cut).for_each(|(sum, x)| *sum += f64::from(x));
    }
    sums.into_iter().map(|sum| (sum / vectors.len().max(1) as f64) as f32).collect()
}

/// Coded vectors at unit length, as a learner wants them.
pub(super) fn unit(coded: &[Vec<f32>]) -> Vec<Vec<f32>> {
    coded.iter().map(|row| mrl::cut(row, row.len())).collect()
}
