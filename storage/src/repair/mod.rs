//! What is done about damage: `fsck` checks every byte and repairs, `rebuild` works out damaged records, `salvage` makes a
//! segment anew from what is good in it.

#[cfg(test)]
mod damage;
pub(crate) mod fsck;
pub(crate) mod rebuild;
mod salvage;
