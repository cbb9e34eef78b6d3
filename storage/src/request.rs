//! What is asked of a collection.

/// A search.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The query, a unit vector. `[full_width]`
    pub vector: Vec<f32>,
    /// Hits wanted.
    pub k: usize,
    /// Whether every live row is compared, instead of those that graphs lead to.
    pub exact: bool,
}

impl Request {
    /// The `k` rows closest to a vector.
    pub fn new(vector: Vec<f32>, k: usize) -> Request {
        Request { vector, k, exact: false }
    }

    /// The same, compared with every live row.
    #[must_use]
    pub fn exact(self) -> Request {
        Request { exact: true, ..self }
    }
}
