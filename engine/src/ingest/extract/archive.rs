//! The zip archives that docx, pptx and EPUB files are, and the XML in their parts.
//!
//! All parts together may unfold to [`super::Limits::inflated_bytes`], counted as they are read, whatever
//! the archive says about its sizes. Parts are read by name; nothing is ever written to a disk.

use std::io::{Cursor, Read};

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use zip::ZipArchive;
use zip::result::ZipError;

use super::run::{Watch, size};
use super::{Failure, encoding};

/// An archive and what it may still unfold to.
pub(super) struct Archive {
    zip: ZipArchive<Cursor<Vec<u8>>>,
    n_left: u64,
    limit: u64,
}

impl Archive {
    pub(super) fn open(bytes: Vec<u8>, watch: &Watch) -> Result<Archive, Failure> {
        let zip = ZipArchive::new(Cursor::new(bytes))
            .map_err(|error| Failure::Failed(format!("broken archive: {error}")))?;
        let limit = watch.limits.inflated_bytes;
        Ok(Archive { zip, n_left: limit, limit })
    }

    /// Whether there is a part of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.zip.index_for_name(name).is_some()
    }

    /// A part's bytes; `None` if there is no such part.
    pub(super) fn part(&mut self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let broken = |error: &dyn std::fmt::Display| {
            Failure::Failed(format!("broken archive: {name}: {error}"))
        };
        let file = match self.zip.by_name(name) {
            Ok(file) => file,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(error) if is_locked(&error) => {
                return Err(Failure::Failed("encrypted; remove the password".to_owned()));
            }
            Err(error) => return Err(broken(&error)),
        };
        let mut bytes = Vec::new();
        let most = self.n_left.saturating_add(1);
        file.take(most).read_to_end(&mut bytes).map_err(|error| broken(&error))?;
        match self.n_left.checked_sub(bytes.len() as u64) {
            Some(n_left) => self.n_left = n_left,
            None => {
                return Err(Failure::Failed(format!(
                    "refused: it unfolds to more than {}",
                    size(self.limit)
                )));
            }
        }
        Ok(Some(bytes))
    }

    /// A part's text.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Failure> {
        let Some(bytes) = self.part(name)? else { return Ok(None) };
        let decoded = encoding::decode(bytes)
            .map_err(|_| Failure::Failed(format!("broken archive: {name} is no text")))?;
        Ok(Some(decoded.text))
    }
}

fn is_locked(error: &ZipError) -> bool {
    match error {
        ZipError::InvalidPassword => true,
        ZipError::UnsupportedArchive(what) => *what == ZipError::PASSWORD_REQUIRED,
        _ => false,
    }
}

/// A piece of an XML text. Names are without their prefix.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    Start(&'a str, &'a BytesStart<'a>),
    End(&'a str),
    Text(&'a str),
}

/// Goes through an XML text. Forgiving: names of end tags are not compared.
pub(super) fn pieces(
    xml: &str,
    watch: &Watch,
    mut each: impl FnMut(Piece<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut reader = Reader::from_str(xml);
    let config = reader.config_mut();
    config.check_end_names = false;
    config.allow_unmatched_ends = true;
    config.allow_dangling_amp = true;
    loop {
        watch.check()?;
        let event = reader.read_event().map_err(|error| {
            let at = reader.error_position();
            Failure::Failed(format!("broken XML at byte {at}: {error}"))
        })?;
        match event {
            Event::Start(tag) => each(Piece::Start(tag.local_name().as_ref(), &tag))?,
            Event::Empty(tag) => {
                each(Piece::Start(tag.local_name().as_ref(), &tag))?;
                each(Piece::End(tag.local_name().as_ref()))?;
            }
            Event::End(tag) => each(Piece::End(tag.local_name().as_ref()))?,
            Event::Text(text) => each(Piece::Text(&text.xml10_content()))?,
            Event::CData(text) => each(Piece::Text(&text.xml10_content()))?,
            Event::GeneralRef(name) => each(Piece::Text(&resolve(&name)))?,
            Event::Eof => return Ok(()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

/// A reference's text; entities that a file defines for itself are not expanded but kept by name.
pub(super) fn resolve(name: &BytesRef<'_>) -> String {
    if let Ok(Some(c)) = name.resolve_char_ref() {
        return c.to_string();
    }
    match resolve_predefined_entity(name) {
        Some(text) => text.to_owned(),
        None => format!("&{};", &**name),
    }
}

/// An attribute's value by its name without prefix.
pub(super) fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = tag
        .attributes()
        .with_checks(false)
        .flatten()
        .find(|attribute| attribute.key.local_name().as_ref() == name)?;
    let value = attribute.normalized_value(XmlVersion::Implicit1_0);
    Some(value.map_or_else(|_| attribute.value.to_string(), |value| value.into_owned()))
}
