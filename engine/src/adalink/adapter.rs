//! What tuning gives: a link before the model, a head behind it, or both.

use super::{Head, Link};
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
