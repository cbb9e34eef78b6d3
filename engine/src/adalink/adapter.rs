//! What tuning gives: a link before the model, a head behind it, or both.

use super::{Head, Link};
use crate::package::Matrix;
use crate::{Error, Result};

/// A change of how queries are embedded; documents stay as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adapter {
    /// On the rows of the query's tokens: `[hidden, rank]`.
    pub link: Option<Link>,
    /// On the query's vector, of full width.
    pub head: Option<Head>,
}

impl Adapter {
    /// The weighted sum of adapters with the same parts, its low-rank maps cut to the rank of the first.
    ///
    /// # Errors
    /// [`Error::Adapter`] if there is none, or their parts or widths differ.
    pub fn merge(adapters: &[(&Adapter, f32)]) -> Result<Adapter> {
        let refused = |problem: &str| Error::Adapter { problem: problem.to_owned() };
        let low_rank = |parts: Option<Vec<(&Link, f32)>>| -> Result<Option<Link>> {
            let parts = parts.ok_or_else(|| refused("those to be merged have other parts"))?;
            let Some(((first, _), rest)) = parts.split_first() else { return Ok(None) };
            match rest.iter().all(|(link, _)| link.width() == first.width()) {
                true => Ok(Some(Link::soup(&parts, first.rank()))),
                false => Err(refused("those to be merged are of other widths")),
            }
        };
        let Some((first, _)) = adapters.first() else { return Err(refused("there is none")) };
        let links = adapters.iter().filter(|_| first.link.is_some());
        let links = links.map(|(adapter, weight)| Some((adapter.link.as_ref()?, *weight)));
        let has_more = first.link.is_none() && adapters.iter().any(|(a, _)| a.link.is_some());
        let link = low_rank(if has_more { None } else { links.collect() })?;
        let head = match &first.head {
            None if adapters.iter().any(|(adapter, _)| adapter.head.is_some()) => {
                return Err(refused("those to be merged have other parts"));
            }
            None => None,
            Some(Head::LowRank(_)) => {
                let part = |(adapter, weight): &(&'_ Adapter, f32)| match adapter.head.as_ref()? {
                    Head::LowRank(link) => Some((link.clone(), *weight)),
                    Head::Full { .. } => None,
                };
                let parts: Option<Vec<(Link, f32)>> = adapters.iter().map(part).collect();
                let parts = parts.as_ref();
                let parts = parts.map(|parts| parts.iter().map(|(link, w)| (link, *w)).collect());
                low_rank(parts)?.map(Head::LowRank)
            }
            Some(Head::Full { matrix, .. }) => {
                let width = matrix.n_rows;
                let mut sum = Matrix::zeros(width, width);
                (0..width).for_each(|i| sum.values[i * width + i] = 1.0);
                for (adapter, weight) in adapters {
                    let Some(Head::Full { matrix, strength }) = &adapter.head else {
                        return Err(refused("those to be merged have other parts"));
                    };
                    if matrix.n_rows != width {
                        return Err(refused("those to be merged are of other widths"));
                    }
                    for (k, (to, x)) in sum.values.iter_mut().zip(&matrix.values).enumerate() {
                        let identity = f32::from(u8::from(k / width == k % width));
                        *to += weight * strength * (x - identity);
                    }
                }
                Some(Head::Full { matrix: sum, strength: 1.0 })
            }
        };
        Ok(Adapter { link, head })
    }

    /// Checks that it fits a model of these widths.
    ///
    /// # Errors
    /// [`Error::Adapter`], with both widths.
    pub fn check(&self, hidden: usize, full_width: usize) -> Result<()> {
        let link = self.link.as_ref().map(|link| ("link", link.width(), hidden));
        let head = self.head.as_ref().map(|head| ("head", head.width(), full_width));
        match link.into_iter().chain(head).find(|(_, found, expected)| found != expected) {
            None => Ok(()),
            Some((part, found, expected)) => Err(Error::Adapter {
                problem: format!("its {part} is {found} wide, the model {expected}"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference::random_link;
    use super::*;

    fn full(numbers: [f32; 4], strength: f32) -> Head {
        Head::Full { matrix: Matrix { values: numbers.to_vec(), n_rows: 2, n_cols: 2 }, strength }
    }

    #[test]
    fn the_sum_of_one_adapter_twice_is_what_it_does() {
        let (link, head) = (random_link(8, 2, 1), full([0.5, 1.0, -1.0, 2.0], 0.5));
        let heads = [None, Some(head), Some(Head::LowRank(random_link(6, 2, 2)))];
        for head in heads {
            let adapter = Adapter { link: Some(link.clone()), head };
            let merged = Adapter::merge(&[(&adapter, 0.25), (&adapter, 0.75)]).unwrap();
            let applied = |adapter: &Adapter| {
                let mut rows = vec![0.3, -0.2, 0.9, 0.1, 0.4, -0.7, 0.2, 0.5];
                adapter.link.as_ref().unwrap().apply(&mut rows);
                let mut vector = vec![0.8, 0.6, 0.0, 0.1, -0.3, 0.2];
                if let Some(head) = &adapter.head {
                    head.map(&mut vector);
                }
                [rows, vector].concat()
            };
            let (found, expected) = (applied(&merged), applied(&adapter));
            let close = found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(close, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn adapters_of_other_parts_or_widths_are_not_added_up() {
        let link = |width| Adapter { link: Some(random_link(width, 2, 1)), head: None };
        let head = |head| Adapter { link: None, head: Some(head) };
        let ridge = head(full([1.0, 0.0, 0.0, 1.0], 1.0));
        let cases = [
            vec![],
            vec![link(8), link(6)],
            vec![link(8), ridge.clone()],
            vec![ridge.clone(), link(8)],
            vec![ridge, head(Head::LowRank(random_link(2, 1, 1)))],
        ];
        for case in cases {
            let parts: Vec<(&Adapter, f32)> = case.iter().map(|adapter| (adapter, 1.0)).collect();
            assert!(Adapter::merge(&parts).is_err(), "{case:?}");
        }
    }
}
