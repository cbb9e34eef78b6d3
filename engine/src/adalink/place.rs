//! Where a link stands, before a model or behind it: what comes of it there, and what it is learnt from.

mod before;

use rayon::prelude::*;

use super::Link;
use super::target::gather;
use crate::Result;
use crate::package::Matrix;

pub use before::Before;

/// A batch's loss: takes a query's place in it and its vector, and adds the vector's gradient.
pub type LossOf<'a> = dyn Fn(usize, &[f32], &mut [f32]) + Sync + 'a;

/// Where a link stands: before a model, or behind it.
pub trait Place: Sync {
    /// The width of what the link is applied to.
    fn width(&self) -> usize;

    /// Vectors of queries, `[n, full_width]`, not scaled to unit length.
    fn vectors(&self, queries: &[usize], link: &Link) -> Result<Matrix>;

    /// Adds to each query's gradient what its link has from `loss`, which takes a query's place among
    /// `queries` and its vector, and adds the vector's gradient. Returns the vectors.
    fn learn(
        &self,
        queries: &[usize],
        links: &[Link],
        loss: &LossOf,
        gradients: &mut [Link],
    ) -> Result<Matrix>;

    /// How far the link moves what it is applied to.
    fn shift(&self, queries: &[usize], link: &Link) -> f64;
}

/// Behind the model, on its finished vectors.
pub(crate) struct Behind<'a> {
    /// `[n_queries, full_width]`, unit vectors.
    pub(crate) base: &'a Matrix,
}

impl Place for Behind<'_> {
    fn width(&self) -> usize {
        self.base.n_cols
    }

    fn vectors(&self, queries: &[usize], link: &Link) -> Result<Matrix> {
        let mut vectors = gather(self.base, queries);
        link.apply(&mut vectors.values);
        Ok(vectors)
    }

    fn learn(
        &self,
        queries: &[usize],
        links: &[Link],
        loss: &LossOf,
        gradients: &mut [Link],
    ) -> Result<Matrix> {
        let width = self.base.n_cols;
        let mut vectors = gather(self.base, queries);
        let rows = vectors.values.par_chunks_exact_mut(width);
        rows.zip(gradients).enumerate().for_each(|(i, (row, gradient))| {
            let base = row.to_vec();
            links[i].apply(row);
            let mut of_row = vec![0.0; width];
            loss(i, row, &mut of_row);
            links[i].add_gradient(&base, &of_row, gradient);
        });
        Ok(vectors)
    }

    fn shift(&self, queries: &[usize], link: &Link) -> f64 {
        link.shift(&gather(self.base, queries).values)
    }
}
