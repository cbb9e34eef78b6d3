//! Training: from pairs of texts to a model package.

pub mod loss;

#[cfg(test)]
mod reference;
