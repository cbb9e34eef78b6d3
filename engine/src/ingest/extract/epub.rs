//! EPUB books, rendered: their chapters, which are XHTML pages, in reading order.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::archive::{Archive, Piece, attribute, pieces};
use super::html::{self, Dialect};
use super::markdown::first_title;
use super::pptx::resolve;
use super::rendering::Rendering;
use super::run::Watch;
use super::{Extracted, Failure, Kind, Offsets, encoding};

const CONTAINER: &str = "META-INF/container.xml";

pub(super) fn extract(bytes: Vec<u8>, watch: &Watch) -> Result<Extracted, Failure> {
    let mut archive = Archive::open(bytes, watch)?;
    let package_path = package_path(&mut archive, watch)?;
    let Some(xml) = archive.text(&package_path)? else {
        return Err(Failure::Failed(format!("broken: there is no {package_path} in it")));
    };
    let package = package(&xml, watch)?;
    let folder = package_path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut rendering = Rendering::default();
    for href in &package.chapters {
        let name = resolve(folder, &unescaped(href));
        let Some(bytes) = archive.part(&name)? else {
            return Err(Failure::Failed(format!("broken: its chapter {name} is not in it")));
        };
        match encoding::decode(bytes) {
            Ok(page) => drop(html::render(&page.text, Dialect::Xhtml, &mut rendering, watch)?),
            Err(_) if archive.has("META-INF/encryption.xml") => {
                return Err(Failure::Failed("encrypted; its rights are managed".to_owned()));
            }
            Err(_) => {
                return Err(Failure::Failed(format!("broken: its chapter {name} is no text")));
            }
        }
    }
    let (text, marks) = rendering.finish();
    Ok(Extracted {
        title: package.title.or_else(|| first_title(&marks)),
        text,
        offsets: Offsets::Text,
        marks,
        meta: package.meta,
        kind: Kind::Epub,
    })
}

/// The name of the part that lists all others.
fn package_path(archive: &mut Archive, watch: &Watch) -> Result<String, Failure> {
    let mut path = None;
    if let Some(xml) = archive.text(CONTAINER)? {
        pieces(&xml, watch, |piece| {
            if let Piece::Start("rootfile", tag) = piece {
                path = path.take().or_else(|| attribute(tag, "full-path"));
            }
            Ok(())
        })?;
    }
    path.ok_or_else(|| Failure::Failed(format!("broken: {CONTAINER} does not name a package")))
}

/// What a book's package says.
#[derive(Default)]
struct Package {
    title: Option<String>,
    meta: Map<String, Value>,
    chapters: Vec<String>,
}

fn package(xml: &str, watch: &Watch) -> Result<Package, Failure> {
    let mut package = Package::default();
    let mut pages: HashMap<String, String> = HashMap::new();
    let mut order: Vec<String> = Vec::new();
    let (mut open, mut value) = (String::new(), String::new());
    pieces(xml, watch, |piece| {
        match piece {
            Piece::Start("item", tag) => {
                let is_page =
                    attribute(tag, "media-type").is_some_and(|media| media.contains("html"));
                if let (true, Some(id), Some(href)) =
                    (is_page, attribute(tag, "id"), attribute(tag, "href"))
                {
                    pages.insert(id, href);
                }
            }
            Piece::Start("itemref", tag) => order.extend(attribute(tag, "idref")),
            Piece::Start(name, _) => {
                open = name.to_owned();
                value.clear();
            }
            Piece::Text(text) => value.push_str(text),
            Piece::End(name) if name == open => {
                let value = value.trim();
                let key = match name {
                    _ if value.is_empty() => return Ok(()),
                    "title" => {
                        package.title.get_or_insert_with(|| value.to_owned());
                        return Ok(());
                    }
                    "creator" => "author",
                    "language" => "lang",
                    "publisher" | "date" | "subject" | "description" => name,
                    _ => return Ok(()),
                };
                package.meta.entry(key).or_insert_with(|| Value::from(value));
            }
            Piece::End(_) => {}
        }
        Ok(())
    })?;
    package.chapters = order.iter().filter_map(|id| pages.remove(id)).collect();
    Ok(package)
}

/// A reference without its fragment, its `%20`s resolved.
fn unescaped(href: &str) -> String {
    let href = href.split('#').next().unwrap_or(href).as_bytes();
    let mut bytes = Vec::with_capacity(href.len());
    let mut at = 0;
    while let Some(&byte) = href.get(at) {
        let code = href.get(at + 1..at + 3).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(code) if byte == b'%' => {
                bytes.push(code);
                at += 3;
            }
            _ => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
