//! Links: changes of how queries are embedded, kept with the collection whose space they were made for.
//!
//! What is in a link is not known here. A collection may have many by name; one of them is active, or none, and
//! the one before it can be taken back. A link and the choice of it are one batch, so after a crash both are there
//! or neither is. The active link is in `MANIFEST` too, so that readers in other processes search as the writer does.

use std::sync::Arc;

use bincode::{Decode, Encode};

use crate::collection::Collection;
use crate::disk::{self, Need};
use crate::error::{Error, Result};
use crate::records::key::{self, Key, Tag};
use crate::records::record::{self, MAX_PAYLOAD_BYTES};
use crate::records::tree::{Batch, Tree};
use crate::space::Space;
use crate::store::{Store, Writer};
use crate::write::check_name;

/// A link. The order of the fields is that in its record.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Link {
    /// Its name in the collection, of letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The space that it was made for.
    pub space: Space,
    /// The rest, as whoever made it reads it.
    pub bytes: Vec<u8>,
}

/// Which links a collection has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Their names, sorted.
    pub names: Vec<String>,
    /// The one that queries go through.
    pub active: Option<String>,
    /// The one that was active before.
    pub previous: Option<String>,
}

/// The payload of the record that says which link is active, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Choice {
    active: Option<String>,
    previous: Option<String>,
}

impl Store {
    /// Keeps a link, in the place of one with its name, and makes it the active one.
    ///
    /// # Errors
    /// [`Error::NoCollection`], [`Error::Name`]; [`Error::LinkSpace`] if it was made for another space;
    /// [`Error::LinkTooLarge`]; errors of the disk. Then all is as before.
    pub fn install_link(&self, collection: &str, link: Link) -> Result<()> {
        check_name(&link.name)?;
        let (writer, collection) = self.to_change(collection)?;
        if !link.space.agrees_with(&collection.space()) {
            return Err(Error::LinkSpace {
                link: link.name,
                collection: collection.name.clone(),
                made_for: Box::new(link.space),
                found: Box::new(collection.space().as_ref().clone()),
            });
        }
        let payload = record::encode(&link);
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(Error::LinkTooLarge { link: link.name, n_bytes: payload.len() });
        }
        let key = Key::link(collection.number, &link.name);
        self.choose(&writer, &collection, Some(Arc::new(link)), &mut |batch| {
            // A link that was longer leaves no parts behind.
            for stored in self.tree().stored_keys(key..=key)? {
                batch.remove_stored(stored);
            }
            batch.put(&key, &payload);
            Ok(())
        })
    }

    /// Makes a link that the collection has the active one, or none of them.
    ///
    /// # Errors
    /// [`Error::NoCollection`]; [`Error::NoLink`]; [`Error::Corrupt`] if its record is damaged; errors of the disk.
    pub fn use_link(&self, collection: &str, name: Option<&str>) -> Result<()> {
        let (writer, collection) = self.to_change(collection)?;
        let link = name.map(|name| self.link(&collection.name, name)).transpose()?;
        self.choose(&writer, &collection, link.map(Arc::new), &mut |_| Ok(()))
    }

    /// A link by its name.
    ///
    /// # Errors
    /// As [`Store::use_link`].
    pub fn link(&self, collection: &str, name: &str) -> Result<Link> {
        let found = self.collection(collection)?;
        if let Some(link) = read(self.tree(), found.number, name)? {
            return Ok(link);
        }
        Err(Error::NoLink {
            link: crate::document::shorten(name),
            collection: found.name.clone(),
            known: self.links(collection)?.names,
        })
    }

    /// The links of a collection.
    ///
    /// # Errors
    /// [`Error::NoCollection`]; [`Error::Corrupt`] if a record is damaged; errors of the disk.
    pub fn links(&self, collection: &str) -> Result<Links> {
        let collection = self.collection(collection)?;
        let Choice { active, previous } = read_choice(self.tree(), collection.number)?;
        let mut names = Vec::new();
        let prefix = key::prefix(collection.number, Tag::Link);
        self.tree().scan(&prefix, &mut |key, payload| {
            names.push(record::decode::<Link>(key, &payload?)?.name);
            Ok(())
        })?;
        names.sort();
        Ok(Links { names, active, previous })
    }

    /// The active link of a collection; the same one is the same allocation.
    ///
    /// # Errors
    /// [`Error::NoCollection`].
    pub fn active_link(&self, collection: &str) -> Result<Option<Arc<Link>>> {
        Ok(self.collection(collection)?.link())
    }

    /// Writes a choice and what belongs to it in one batch, then makes it that of searches.
    fn choose(
        &self,
        writer: &Writer,
        collection: &Collection,
        link: Option<Arc<Link>>,
        with: &mut dyn FnMut(&mut Batch) -> Result<()>,
    ) -> Result<()> {
        let before = read_choice(self.tree(), collection.number)?;
        let active = link.as_ref().map(|link| link.name.clone());
        // Choosing what is active already keeps what was before it.
        let previous = if active == before.active { before.previous } else { before.active };
        let mut batch = Batch::default();
        with(&mut batch)?;
        let key = Key::ActiveLink { collection: collection.number };
        batch.put(&key, &record::encode(&Choice { active, previous }));
        disk::require(self.dir(), Need::Batch(batch.n_bytes()))?;
        self.tree().apply(batch)?;
        collection.set_link(link);
        self.publish(writer)
    }
}

fn read(tree: &Tree, number: u32, name: &str) -> Result<Option<Link>> {
    let key = Key::link(number, name);
    let Some(payload) = tree.get(&key)? else { return Ok(None) };
    let link: Link = record::decode(key, &payload)?;
    if link.name != name {
        return Err(Error::corrupt(key, format!("it is of link {:?}, not of {name:?}", link.name)));
    }
    Ok(Some(link))
}

fn read_choice(tree: &Tree, number: u32) -> Result<Choice> {
    let key = Key::ActiveLink { collection: number };
    tree.get(&key)?.map_or(Ok(Choice::default()), |payload| record::decode(key, &payload))
}

/// The active link as a database is opened. One that cannot be read is a warning: without it searches work.
pub(crate) fn active(
    tree: &Tree,
    number: u32,
    warnings: &mut Vec<String>,
) -> Result<Option<Arc<Link>>> {
    let found = read_choice(tree, number).and_then(|choice| {
        let Some(name) = choice.active else { return Ok(None) };
        let missing = || Error::corrupt(Key::link(number, &name), "it is missing");
        read(tree, number, &name)?.map(Some).ok_or_else(missing)
    });
    match found {
        Ok(link) => Ok(link.map(Arc::new)),
        Err(error) if error.is_corruption() => {
            warnings.push(format!(
                "{error}; queries go without a link: install it again, or choose another"
            ));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Records of links that cannot be read, and that of the choice if it names such a link.
pub(crate) fn damaged(tree: &Tree, number: u32) -> Result<Vec<(Key, String)>> {
    let mut damaged = Vec::new();
    tree.scan(&key::prefix(number, Tag::Link), &mut |key, payload| {
        if let Err(error) = payload.and_then(|payload| record::decode::<Link>(key, &payload)) {
            damaged.push((key, error.to_string()));
        }
        Ok(())
    })?;
    let mut warnings = Vec::new();
    if active(tree, number, &mut warnings)?.is_none() {
        let problems = warnings.into_iter();
        damaged.extend(problems.map(|problem| (Key::ActiveLink { collection: number }, problem)));
    }
    Ok(damaged)
}

#[cfg(test)]
mod tests {
    use index::mrl::Quant;

    use super::*;

    fn space() -> Space {
        Space {
            model: "m".to_owned(),
            fingerprint: "f".to_owned(),
            document_prompt: String::new(),
            link: None,
            full_width: 8,
            dims: 4,
            quant: Quant::default(),
        }
    }

    fn link(name: &str, byte: u8, n_bytes: usize) -> Link {
        Link { name: name.to_owned(), space: space(), bytes: vec![byte; n_bytes] }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("db")).unwrap();
        store.create("c", &space()).unwrap();
        (folder, store)
    }

    fn reopened(folder: &tempfile::TempDir, store: Store) -> Store {
        drop(store);
        Store::open(&folder.path().join("db")).unwrap()
    }

    fn names(store: &Store) -> (Option<String>, Option<String>) {
        let links = store.links("c").unwrap();
        assert_eq!(store.active_link("c").unwrap().map(|link| link.name.clone()), links.active);
        (links.active, links.previous)
    }

    fn some(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    #[test]
    fn a_link_is_kept_chosen_and_taken_back() {
        let (folder, store) = store();
        assert_eq!(store.links("c").unwrap(), Links::default());
        store.install_link("c", link("a", 1, 100)).unwrap();
        // Of many parts, then of one.
        store.install_link("c", link("b", 2, 100_000)).unwrap();
        store.install_link("c", link("b", 3, 10)).unwrap();
        let store = reopened(&folder, store);
        assert_eq!(names(&store), (some("b"), some("a")));
        assert_eq!(*store.active_link("c").unwrap().unwrap(), link("b", 3, 10));
        assert_eq!(store.links("c").unwrap().names, ["a", "b"]);
        store.use_link("c", Some("a")).unwrap();
        assert_eq!(names(&store), (some("a"), some("b")));
        store.use_link("c", None).unwrap();
        let store = reopened(&folder, store);
        assert_eq!(names(&store), (None, some("a")));
        assert_eq!(store.link("c", "b").unwrap(), link("b", 3, 10));
        assert!(store.check(false).unwrap().is_empty());
    }

    #[test]
    fn a_link_for_another_space_or_of_no_name_is_refused() {
        let (_folder, store) = store();
        let other = Space { fingerprint: "g".to_owned(), ..space() };
        let error = store.install_link("c", Link { space: other, ..link("a", 1, 1) }).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("link a was made for another space") && message.contains("tune"));
        assert!(matches!(store.install_link("c", link("", 1, 1)), Err(Error::Name { .. })));
        assert!(matches!(store.use_link("c", Some("x")), Err(Error::NoLink { .. })));
        assert_eq!(store.links("c").unwrap(), Links::default());
    }

    #[test]
    fn a_damaged_link_is_told_and_searches_go_without() {
        for is_choice in [false, true] {
            let (folder, store) = store();
            store.install_link("c", link("a", 1, 100)).unwrap();
            let number = store.collection("c").unwrap().number;
            let key = match is_choice {
                true => Key::ActiveLink { collection: number },
                false => Key::link(number, "a"),
            };
            store.tree().damage(&key, 0, |bytes| bytes[14] ^= 1);
            let store = reopened(&folder, store);
            assert!(store.active_link("c").unwrap().is_none());
            let warnings = store.status().unwrap().warnings;
            assert!(
                warnings.iter().any(|warning| warning.contains("without a link")),
                "{warnings:?}"
            );
            assert!(!store.check(true).unwrap().is_empty());
            let store = reopened(&folder, store);
            assert!(store.check(false).unwrap().is_empty());
            assert!(store.status().unwrap().warnings.is_empty());
        }
    }

    #[test]
    fn a_reader_follows_the_choice() {
        let (folder, store) = store();
        let reader = crate::Reader::open(&folder.path().join("db")).unwrap();
        assert!(reader.active_link("c").unwrap().is_none());
        store.install_link("c", link("a", 1, 100)).unwrap();
        assert!(reader.refresh().unwrap());
        assert_eq!(*reader.active_link("c").unwrap().unwrap(), link("a", 1, 100));
        store.use_link("c", None).unwrap();
        assert!(reader.refresh().unwrap() && reader.active_link("c").unwrap().is_none());
    }
}
